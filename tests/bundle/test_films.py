"""Films in, CTs out: the documented command on one patient and on a folder."""

import csv
import gzip
import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from networks import build_network
from tests.bundle.conftest import ROOT, command
from tests.film_phantom import films
from tests.readers.radiographs.film_files import IDENTIFYING, stored, write


def write_film(path, pixels, invert=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.rint(255 * (1 - pixels if invert else pixels)).astype(np.uint8)
    Image.fromarray(grey[12:-5, 7:-20]).save(path)
    return path


def infer(tiny_run, folder, out, **options):
    return command(
        "inferring", "inference", folder, bundle_root=ROOT / "bundle", ckpt_dir=tiny_run.out / "models", output_dir=out,
        **options,
    )  # fmt: skip


def test_two_films_give_a_ct_what_was_decided_and_a_picture(tiny_run, tmp_path):
    pa, lateral = (write_film(tmp_path / name, film) for name, film in zip(("a.png", "b.tif"), films(0), strict=True))
    done = infer(
        tiny_run, tmp_path, tmp_path / "out", pa=pa, lateral=lateral, case="erika", explain=True, consistency="auto"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    image = nibabel.load(tmp_path / "out" / "erika.nii.gz")
    assert image.shape == (64, 64, 64)
    sidecar = json.loads((tmp_path / "out" / "erika.json").read_text())
    assert [film["view"] for film in sidecar["radiographs"]] == ["pa", "lateral"]
    subjects = {decision["subject"] for film in sidecar["radiographs"] for decision in film["decisions"]}
    assert {"polarity", "view", "spacing", "lungs", "scale"} <= subjects
    assert "erika, pa: assumed  spacing: unknown" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "erika.nii.gz", "erika.json", "erika.png", "erika_films.png", "erika_agreement.png", "erika.html",
    }  # fmt: skip
    agreement = sidecar["consistency"]  # as for films of which nothing is known
    assert (agreement["tone"], agreement["damping"]) == ("monotone", 1.0)
    assert f"differ from the CT's by {agreement['before'][0]:.2f} before the consistency update" in done.stdout


def test_an_inverted_film_is_warned_of_and_inverting_mends_it(tiny_run, tmp_path):
    plain = [write_film(tmp_path / f"p{i}.png", film) for i, film in enumerate(films(0))]
    negative = [write_film(tmp_path / f"n{i}.png", film, invert=True) for i, film in enumerate(films(0))]
    shown = {}
    for name, (pa, lateral), options in (("plain", plain, {}), ("mended", negative, {"invert": True})):
        options = {"pa": pa, "lateral": lateral, "style_transfer": "histogram", **options}  # which keeps what was shown
        done = infer(tiny_run, tmp_path, tmp_path / name, **options)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "bone looks darker" not in done.stdout
        files = [tmp_path / name / f"synthetic_ct_{view}_shown.png" for view in ("pa", "lateral")]
        shown[name] = np.stack([np.asarray(Image.open(file)) for file in files]) / 65535
    np.testing.assert_allclose(shown["mended"], shown["plain"], atol=0.03)
    done = infer(tiny_run, tmp_path, tmp_path / "warned", pa=negative[0], lateral=negative[1])
    assert "doubt    polarity: bone looks darker than lung; set invert" in done.stdout


@pytest.mark.slow
def test_one_bad_pair_of_many_costs_one_result(tiny_run, tmp_path):
    for number in range(5):
        for view, film in zip(("pa", "lateral"), films(number % 3), strict=True):
            write_film(tmp_path / "films" / f"case{number}_{view}.png", film)
    bad = tmp_path / "films" / "case3_lateral.png"
    bad.write_bytes(bad.read_bytes()[:2000])
    done = infer(tiny_run, tmp_path, tmp_path / "out", dataset_dir=tmp_path / "films")
    assert done.returncode == 3, done.stderr[-2000:]
    assert "Traceback" not in done.stderr + done.stdout
    assert "4 of 5 cases done, 1 could not be read" in done.stdout
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 4
    rows = list(csv.DictReader((tmp_path / "out" / "cases.csv").open()))
    assert [row["case"] for row in rows] == [f"case{number}" for number in range(5)]
    assert "case3_lateral.png" in rows[3]["problem"]
    assert rows[3]["result"] == ""
    assert rows[4]["result"] == "case4.nii.gz"
    assert not any(row["problem"] for row in rows if row["case"] != "case3")


def test_a_film_without_a_chest_ends_on_a_sentence_and_leaves_nothing(tiny_run, tmp_path):
    noise = np.random.default_rng(0).random((300, 300))
    pa = write_film(tmp_path / "noise.png", noise)
    lateral = write_film(tmp_path / "lateral.png", films(0)[1])
    done = infer(tiny_run, tmp_path, tmp_path / "out", pa=pa, lateral=lateral)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: {pa}: no chest can be recognised")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_nothing_of_a_filled_header_is_written_or_printed(tiny_run, tmp_path):
    """A pair told apart by its tags, in a folder; every byte that comes out is looked through."""
    (tmp_path / "films").mkdir()
    for number, (view, film) in enumerate(zip(("PA", "LL"), films(0), strict=True)):
        tags = {**IDENTIFYING, "ViewPosition": view, "PatientOrientation": ["L" if view == "PA" else "P", "F"]}
        write(tmp_path / "films" / f"IM{number}.dcm", stored(film), **tags)
    done = infer(tiny_run, tmp_path, tmp_path / "out", dataset_dir=tmp_path / "films")
    assert done.returncode == 0, done.stderr[-2000:]
    files = list((tmp_path / "out").iterdir())
    assert {file.name for file in files} >= {"study_001.nii.gz", "study_001.json", "study_001.png"}
    raw = b"".join(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files)
    told = (done.stdout + done.stderr).encode() + raw
    words = {word for value in IDENTIFYING.values() for word in value.replace("^", " ").split() if len(word) > 4} - {
        "upright"
    }
    assert words
    assert not [word for word in words if word.encode() in told]


def test_a_translator_is_given_by_its_file_and_warned_of(tiny_run, tmp_path):
    network = build_network("resnet_6blocks", channels=4, blocks=1)
    torch.save(network.state_dict(), tmp_path / "to_drr.pt")
    (tmp_path / "to_drr.json").write_text(json.dumps({"network": network.spec, "image_size": 32}))
    pa, lateral = (write_film(tmp_path / f"{i}.png", film) for i, film in enumerate(films(0)))
    options = {"pa": pa, "lateral": lateral, "style_transfer": "cyclegan"}
    done = infer(tiny_run, tmp_path, tmp_path / "out", style_checkpoint=tmp_path / "to_drr.pt", **options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "doubt    style: translated by a network, which can add findings" in done.stdout
    assert (tmp_path / "out" / "synthetic_ct_pa_shown.png").exists()
    done = infer(tiny_run, tmp_path, tmp_path / "none", **options)
    assert done.returncode == 1
    assert "real_to_drr.pt: there is no model yet; train one" in done.stderr.splitlines()[-1]
