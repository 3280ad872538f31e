"""One model as one self-contained bundle: what MONAI loads from it, what it predicts, and what it leaves out."""

import filecmp
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import export.archive
from conventions import InputError
from drr import Acquisition, VolumeGrid
from export import write_archive
from networks import build_network, load, make_record, write_record

LOAD = """
import json, sys, torch
from monai.bundle import load
network = load("archive", bundle_dir=sys.argv[1], workflow_type="inference", device="cpu")
weights = torch.load(sys.argv[2], weights_only=True)
same = all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
print("RESULT", type(network).__module__, same, len(weights) == len(network.state_dict()))
"""


def save(folder, network, acquisition):
    folder.mkdir()
    torch.save(network.state_dict(), folder / "model.pt")
    record = make_record(network, acquisition, (-1024, 1476), {"patients": ["0123456789abcdef"]})
    write_record(folder / "model.pt", record)
    return folder / "model.pt"


def single_view():
    size = 64
    network = build_network("x2ct_single_view", image_size=size, stem_channels=4, growth_rate=4,
                            dense_layers=[1, 1, 1, 1, 1], decoder_channels=[8] * 6, activation="linear")  # fmt: skip
    acquisition = Acquisition(geometry="chest", view_names=["pa"], curve="water", film_style="linear", anchor="lungs",
                              grid=VolumeGrid(size, 5.0), detector_shape=size)  # fmt: skip
    return network, acquisition


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def archive(tiny_run, tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("made") / "archive", tiny_run.out / "models" / "model.pt")


def test_it_is_whole(archive):
    expected = {
        "LICENSE", "configs/train.json", "configs/evaluate.json", "configs/inference.json", "configs/metadata.json",
        "configs/logging.conf", "models/model.pt", "models/model.safetensors", "models/model.json",
        "models/model_mean.pt", "docs/README.md", "docs/data_license.txt", "x2ct/__init__.py",
        "x2ct/networks/checkpoint.py",
    }  # fmt: skip
    assert expected <= files(archive)
    assert not any("__pycache__" in name or name.endswith("large_files.yml") for name in files(archive))


def test_the_same_model_gives_the_same_bytes(archive, tiny_run, tmp_path):
    again = write_archive(tmp_path / "archive", tiny_run.out / "models" / "model.pt")
    assert files(again) == files(archive)
    same, different, odd = filecmp.cmpfiles(archive, again, files(archive), shallow=False)
    assert (different, odd) == ([], [])
    assert len(same) > 100


def test_the_figures_of_an_evaluation(tiny_run, tmp_path):
    model = tiny_run.out / "models" / "model.pt"
    made = write_archive(tmp_path / "archive", model, evaluation=tiny_run.out)
    found = json.loads((made / "configs" / "metadata.json").read_text())["eval_metrics"]
    summary = json.loads((tiny_run.out / "summary.json").read_text())
    assert found == {
        **{name: summary[name]["prediction"] for name in ("psnr_db", "ssim", "mae_hu")},
        "held_out_cases": 2,
    }
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text(json.dumps({**summary, "model": {"sha256": "0"}}))
    with pytest.raises(InputError, match=r"other/summary.json: is the evaluation of another model than .*model.pt"):
        write_archive(tmp_path / "b", model, evaluation=tmp_path / "other")
    with pytest.raises(InputError, match=r"summary.json: is not the summary of an evaluation"):
        write_archive(tmp_path / "b", model, evaluation=tmp_path)
    assert not (tmp_path / "b").exists()


def test_the_record_loses_the_keys_of_patients(archive, tiny_run):
    made = json.loads((tiny_run.out / "models" / "model.json").read_text())
    found = json.loads((archive / "models" / "model.json").read_text())
    assert made.pop("patients")
    files = {kind: archive / "models" / f"model{kind}" for kind in (".pt", ".safetensors")}
    assert found.pop("weights_sha256") == {k: hashlib.sha256(f.read_bytes()).hexdigest() for k, f in files.items()}
    assert found == made


def test_the_configs_are_those_of_the_model(archive):
    """The overlay of the demo, chest.json left out there, without an overlay."""
    for job in ("train", "evaluate", "inference"):
        parser = ConfigParser()
        parser.read_config(str(archive / "configs" / f"{job}.json"))
        assert parser.get("image_size") == 64
        assert parser.get("network_def")["decoder_channels"] == [8] * 6
        assert parser.get("geometry") == "x2ct"
    train = json.loads((archive / "configs" / "train.json").read_text())
    assert train["learning_rate"] == 0.001  # demo.json
    metadata = json.loads((archive / "configs" / "metadata.json").read_text())
    assert "64^3 voxels of 5 mm" in metadata["description"]
    formats = metadata["network_data_format"]
    assert formats["inputs"]["image"]["spatial_shape"] == [64, 64]
    assert formats["outputs"]["pred"]["spatial_shape"] == [64, 64, 64]


def test_load_returns_the_trained_network(archive, tiny_run):
    weights = tiny_run.out / "models" / "model.pt"
    done = subprocess.run([sys.executable, "-P", "-c", LOAD, archive.parent, weights], cwd=archive,
                          capture_output=True, text=True)  # fmt: skip
    assert "RESULT x2ct.networks.x2ct True True" in done.stdout, done.stderr[-2000:]


def test_it_predicts_what_the_repository_predicts(archive, tiny_run, bundle_verb_of_any_size, tmp_path):
    pa = sorted((tiny_run.out / "radiographs").glob("*_pa.png"))[0]
    done = bundle_verb_of_any_size(
        "run", "inferring", "--config_file", str(archive / "configs" / "inference.json"), cwd=tmp_path,
        bundle_root=archive, pa=pa, lateral=pa.with_name(pa.name.replace("_pa.png", "_lateral.png")),
        output_dir=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ours = nibabel.load(tmp_path / "synthetic_ct.nii.gz")
    theirs = nibabel.load(tiny_run.out / "inference" / "synthetic_ct.nii.gz")
    np.testing.assert_array_equal(ours.dataobj, theirs.dataobj)
    np.testing.assert_array_equal(ours.affine, theirs.affine)


def test_a_forgotten_folder_is_one_sentence(archive, tmp_path):
    done = subprocess.run([sys.executable, "-P", "-m", "monai.bundle", "run", "inferring", "--config_file",
                           archive / "configs" / "inference.json", "--pa", "none.png", "--lateral", "none.png"],
                          cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "none.png" in done.stderr or "--bundle_root" in done.stderr


def test_a_model_of_one_view(tmp_path, bundle_verb_of_any_size):
    model = save(tmp_path / "model", *single_view())
    archive = write_archive(tmp_path / "archive", model, ["chest", "single_view"])
    weights = torch.load(model, weights_only=True)
    for suffix in (".pt", ".safetensors"):  # both are checked by their hash
        twin = load(archive / "models" / f"model{suffix}")[0].state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in twin.items())
    metadata = json.loads((archive / "configs" / "metadata.json").read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["channel_def"]) == (1, {"0": "PA radiograph"})
    assert metadata["name"] == "X2CT-GAN chest CT reconstruction, single view"
    evaluate = json.loads((archive / "configs" / "evaluate.json").read_text())
    assert (evaluate["geometry"], evaluate["anchor"], evaluate["views"]) == ("chest", "lungs", ["pa"])
    done = bundle_verb_of_any_size(
        "verify_net_in_out", "network_def", cwd=tmp_path, bundle_root=archive, device="cpu",
        meta_file=archive / "configs" / "metadata.json", config_file=archive / "configs" / "inference.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_network_that_reads_larger_radiographs(tmp_path):
    network = build_network("cnn2d", image_size=128, activation="linear")
    acquisition = Acquisition(view_names=["pa"], grid=VolumeGrid(64, 5.0), detector_shape=128)
    archive = write_archive(tmp_path / "archive", save(tmp_path / "model", network, acquisition), ["cnn2d"])
    inference = json.loads((archive / "configs" / "inference.json").read_text())
    assert inference["acquisition"]["detector_shape"] == [128, 128]
    assert (inference["image_size"], inference["network_def"]["image_size"]) == (64, 128)


def test_a_large_model_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(export.archive, "LARGE_MB", 0.01)
    model = save(tmp_path / "model", *single_view())
    archive = write_archive(tmp_path / "archive", model, [])
    entry, twin = ConfigParser.load_config_file(str(archive / "large_files.yml"))["large_files"]
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert twin["path"] == "models/model.safetensors"
    assert entry == {"path": "models/model.pt", "url": "", "hash_val": digest, "hash_type": "sha256"}


def test_bad_input_is_refused_and_leaves_nothing(tmp_path):
    model = save(tmp_path / "model", *single_view())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"full: exists already; give a folder that does not"):
        write_archive(tmp_path / "full", model)
    with pytest.raises(InputError, match=r"there is no overlay 'chset' in .*--overlays"):
        write_archive(tmp_path / "archive", model, ["chset"])
    with pytest.raises(InputError, match=r"none\.pt: there is no model yet"):
        write_archive(tmp_path / "archive", tmp_path / "none.pt")
    translator = tmp_path / "translator"
    translator.mkdir()
    network = build_network("patchgan_3d")
    torch.save(network.state_dict(), translator / "model.pt")
    write_record(translator / "model.pt", make_record(network))
    with pytest.raises(InputError, match=r"model\.json: describes no network from radiographs to CT"):
        write_archive(tmp_path / "archive", translator / "model.pt")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "full", "translator"}


def test_a_command_without_run_record_says_which_overlays_are_missing(tmp_path, caplog):
    model = save(tmp_path / "model", *single_view())
    write_archive(Path(tmp_path / "archive"), model)
    assert "there is no run.json next to the model" in caplog.text
