"""The weights that come with the project."""

import hashlib
from pathlib import Path

import pytest
import torch

from cohort import thorax_phantom
from conventions import hu_to_unit, unit_to_hu
from drr import Acquisition
from metrics import psnr
from networks import load
from transforms import RayCastDRR

STARTER = Path(__file__).resolve().parents[2] / "bundle" / "models" / "starter.pt"

HELD_OUT = {"lidc_idri_0003", "lung_pet_ct_dx_a0001", "rider_pilot_0109", "qin_lung_lsc_0028"}
"""CTs of the validation, which the weights have not seen."""


@pytest.fixture(scope="module")
def starter():
    network, record = load(STARTER)
    return network, Acquisition.from_record(record["acquisition"]), record


def test_it_is_small_and_of_half_precision():
    assert STARTER.stat().st_size < 15e6
    weights = torch.load(STARTER, weights_only=True)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}


def test_its_record_states_where_it_comes_from_and_its_hash(starter):
    """In the form that `python -m export weights` writes."""
    _, _, record = starter
    assert record["weights_sha256"] == {".pt": hashlib.sha256(STARTER.read_bytes()).hexdigest()}
    about = record["about"]
    assert {"source_sha256", "trained_on", "runs", "limits"} <= about.keys()
    cts = about["trained_on"]["cts"]
    assert len(cts) == 13
    assert not HELD_OUT & {ct["case"] for ct in cts}
    for ct in cts:
        assert ct.keys() == {"case", "collection", "licence", "doi", "citation"}
        assert ct["licence"] in ("CC BY 3.0", "CC BY 4.0")
        assert ct["doi"] in ct["citation"]
    assert about["trained_on"]["phantoms"] > 0
    for run in about["runs"]:
        assert run.keys() == {"steps", "epochs", "hours", "cpu_hours", "hardware", "commit", "versions"}
    assert any("not a medical device" in limit for limit in about["limits"])


def test_it_reads_its_films(starter):
    """On phantoms it has not seen: better with their own films than with another's, and than the mean of both."""
    network, acquisition, record = starter
    assert record["network"]["name"] == "raylift"
    grid = acquisition.grid
    volumes = [
        torch.from_numpy(thorax_phantom(seed, grid.shape, grid.spacing[0]).volume_hu)[None].float()
        for seed in (9001, 9002)
    ]
    films = [RayCastDRR(acquisition)(volume).as_tensor()[None] for volume in volumes]
    truths = [hu_to_unit(volume)[None] for volume in volumes]
    mean = (truths[0] + truths[1]) / 2
    with torch.no_grad():
        predicted = [network(film, geometry=acquisition.geometry_tensor()[None]).clip(0, 1) for film in films]
    for own, other, truth in ((0, 1, truths[0]), (1, 0, truths[1])):
        right = float(psnr(predicted[own], truth, 1.0))
        assert right > float(psnr(mean, truth, 1.0)) - 3  # half of that mean is the truth itself
        assert right > float(psnr(predicted[other], truth, 1.0)) + 2
        assert unit_to_hu(predicted[own]).isfinite().all()
