"""Postprocessing that makes predicted volumes agree with their films."""

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from conventions import View, hu_to_unit
from drr import Acquisition, VolumeGrid, hu_to_mu, project, to_film
from networks import ConsistencyUpdate
from readers import DecisionRecord, PlacedFilm, pack_films, unpack_films
from transforms import AgreeWithFilmsd, prediction_transforms

GRID = VolumeGrid(16, 20.0)
ACQUISITION = Acquisition(
    grid=GRID, geometry="chest", curve="water", film_style="linear", detector_shape=16, anchor="centre"
)


def item(computed=None):
    """Films of a block of water, and a predicted block of half its density."""
    volume_hu = torch.full((1, 1, 16, 16, 16), -1000.0)
    volume_hu[..., 4:12, 4:12, 4:12] = 0
    image = to_film(project(hu_to_mu(volume_hu), GRID, ACQUISITION.views), "linear")[0]
    predicted_hu = torch.where(volume_hu == 0, -500.0, -1000.0)[0]
    made = {
        "image": image,
        "pred": MetaTensor(hu_to_unit(predicted_hu), affine=GRID.affine()),
        "label": hu_to_unit(volume_hu[0]),
        "geometry": ACQUISITION.geometry_tensor(),
    }
    if computed is not None:
        films = [
            PlacedFilm(view, np.zeros((8, 8), np.float32), None, (0, 8, 0, 8), DecisionRecord(), computed)
            for view in View
        ]
        made.update(pack_films(films))
    return made


def test_the_volume_is_updated_and_the_one_before_is_kept():
    before = item()
    after = AgreeWithFilmsd("pred", ConsistencyUpdate(ACQUISITION))(before)
    assert torch.equal(after["without_update"], before["pred"])
    assert torch.equal(after["pred"].affine, before["pred"].affine)
    truth = before["label"]
    assert float((after["pred"] - truth).square().mean()) < 0.6 * float((before["pred"] - truth).square().mean())
    agreement = json.loads(after["consistency"])
    # A ray through the middle meets 160 mm of water, of which half is predicted: 0.5 * 160 * 0.0194 = 1.55.
    film, predicted, updated = after["line_integrals"]
    assert float(film[0, 8, 8] - predicted[0, 8, 8]) == pytest.approx(1.55, rel=0.05)
    seen = film.isfinite()  # rays that graze the volume take no part
    assert 0.3 < float(seen.float().mean()) < 1
    assert float((film - updated)[seen].abs().max()) < 0.3 * float((film - predicted)[seen].abs().max())
    assert agreement["before"][0] > 4 * agreement["after"][0]


@pytest.mark.parametrize(("computed", "tone"), [(None, "given"), (True, "given"), (False, "monotone")])
def test_only_drrs_are_taken_at_their_word(computed, tone):
    after = AgreeWithFilmsd("pred", ConsistencyUpdate(ACQUISITION))(item(computed))
    assert json.loads(after["consistency"])["tone"] == tone


def test_agreement_and_doubts_are_noted_film_by_film():
    after = AgreeWithFilmsd("pred", ConsistencyUpdate(ACQUISITION))(item(True))
    films = unpack_films(after)
    agreement = json.loads(after["consistency"])
    for film, before, doubts in zip(films, agreement["before"], agreement["doubts"], strict=True):
        said = [d.text for d in film.record.decisions if d.subject == "agreement" and d.kind == "found"]
        assert len(said) == 1
        assert f"differ from the CT's by {before:.2f}" in said[0]
        assert [d.text for d in film.record.doubts] == doubts
    assert films[0].record.doubts  # a volume of half the density is too far from its films


def test_predictions_become_hu_with_and_without_an_update():
    plain = prediction_transforms()(item())
    assert "without_update" not in plain
    assert float(plain["pred"].max()) == pytest.approx(-500, abs=1e-3)
    updated = prediction_transforms(update=ConsistencyUpdate(ACQUISITION))(item())
    assert float(updated["without_update"].max()) == pytest.approx(-500, abs=1e-3)
    assert float(updated["label"].max()) == pytest.approx(0, abs=1e-3)
    assert float(updated["pred"].max()) > -300


def test_what_lies_outside_the_field_of_a_film_takes_no_part():
    whole = item()
    spoiled = {**item(), "field": torch.ones(2, 16, 16, dtype=torch.bool)}
    spoiled["field"][:, :, :7] = False
    spoiled["image"] = torch.where(spoiled["field"], whole["image"], torch.zeros(()))
    right = {**whole, "field": spoiled["field"]}
    agree = AgreeWithFilmsd("pred", ConsistencyUpdate(ACQUISITION))
    assert torch.equal(agree(spoiled)["pred"], agree(right)["pred"])
    assert float((agree(spoiled)["pred"] - agree(whole)["pred"]).abs().max()) > 0.01
