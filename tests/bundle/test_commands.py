"""The documented commands, run as a user runs them."""

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import run

from conventions import input_error_in
from drr import VolumeGrid
from export import write_png16
from metrics import FILM_MEASURES, MASK_MEASURES, MEASURES, NODULE_MEASURES, PAPER_MEASURES
from networks import build_network


@pytest.mark.parametrize("verb", ["training", "evaluating", "inferring"])
def test_a_command_ends_well_from_an_empty_folder(tiny_run, verb):
    done = getattr(tiny_run, verb)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(tiny_run.cwd.iterdir()), "something was written to the working folder"


def test_training_leaves_a_bare_state_dict_and_its_record(tiny_run, tiny_options):
    weights = torch.load(tiny_run.out / "models" / "model.pt", weights_only=True)
    network = build_network("x2ct_biplanar", **tiny_options)
    network.load_state_dict(weights)
    record = json.loads((tiny_run.out / "models" / "model.json").read_text())
    assert record["network"] == network.spec
    assert record["acquisition"]["geometry"] == "x2ct"
    assert record["data"] == {"train_cases": 3, "validation_cases": 1}
    assert (tiny_run.out / "losses.png").exists()
    losses = (tiny_run.out / "losses.csv").read_text().splitlines()
    assert losses[0] == "epoch,loss,reconstruction,projection,adversarial,discriminator,validation"
    assert len(losses) == 3


def test_evaluating_leaves_figures_and_numbers(tiny_run):
    summary = json.loads((tiny_run.out / "summary.json").read_text())
    corrected = ("psnr_db", "ssim", "mae_hu")
    asked_for = {*NODULE_MEASURES, *FILM_MEASURES, *MASK_MEASURES}
    assert set(summary) == {*MEASURES, "held_out_cases", "model", "intervals"} - asked_for
    for measure in (*corrected, *PAPER_MEASURES):
        assert set(summary[measure]) == {"prediction", "mean_volume", "shuffled_input"}
        assert all(np.isfinite(list(summary[measure].values())))
    assert len(summary["held_out_cases"]) == 2
    mae = summary["mae_hu"]["prediction"]
    printed = tiny_run.evaluating.stdout
    assert any(line.split()[:2] == ["this", "network"] and f"{mae:.1f}" in line for line in printed.splitlines())
    for name in ("summary.json", "cases.csv", "cases", "radiographs"):
        assert f"{tiny_run.out / name} (" in printed
    assert len((tiny_run.out / "cases.csv").read_text().splitlines()) == 3
    for case in summary["held_out_cases"]:
        assert (tiny_run.out / "cases" / f"{case}.png").exists()
    # The authors' peak next to the data's; the network's volumes go through HU and are cut to whole HU on the way.
    for key, corrected_psnr in summary["psnr_db"].items():
        assert summary["paper_psnr_3d"][key] - corrected_psnr == pytest.approx(4.287, abs=5e-3)


def test_volumes_can_be_made_to_agree_with_their_radiographs(tiny_run, tiny_command, tiny_cohort, tmp_path, root):
    """The difference falls, even from a network of two epochs; nothing of the evaluation without the update changes."""
    out = tmp_path / "out"
    done = tiny_command(
        "evaluating", "evaluate", tmp_path, bundle_root=root / "bundle", ckpt_dir=tiny_run.out / "models",
        dataset_dir=tiny_cohort, output_dir=out, consistency="auto",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    plain, summary = (json.loads((folder / "summary.json").read_text()) for folder in (tiny_run.out, out))
    assert summary["psnr_db"]["without_update"] == plain["psnr_db"]["prediction"]
    assert summary["psnr_db"]["mean_volume"] == plain["psnr_db"]["mean_volume"]
    agreement = summary["consistency"]
    assert agreement["tone"] == "affine"  # the authors' film style keeps no absolute attenuation
    assert agreement["film_difference_after"] < agreement["film_difference_before"]
    for case in summary["held_out_cases"]:
        assert (out / "cases" / f"{case}_agreement.png").exists()


def test_pages_of_cases_are_written(tiny_run):
    cases = {path.name.removesuffix("_truth.nii.gz") for path in (tiny_run.out / "volumes").glob("*_truth.nii.gz")}
    assert {path.stem for path in (tiny_run.out / "pages").iterdir()} == cases
    assert len(cases) == 2
    assert "SHA-256" in (tiny_run.out / "inference" / "synthetic_ct.html").read_text()


def test_planted_nodules_and_the_nearest_case_are_measured_where_they_are_asked_for(
    root, tiny_run, tiny_cohort, tiny_command, tmp_path
):
    done = tiny_command(
        "evaluating", "evaluate", tmp_path, bundle_root=root / "bundle", ckpt_dir=tiny_run.out / "models",
        dataset_dir=tiny_cohort, output_dir=tmp_path, nodules=1, nearest=True, pages=0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    asked, usual = (json.loads((folder / "summary.json").read_text()) for folder in (tmp_path, tiny_run.out))
    assert set(asked) - set(usual) == set(NODULE_MEASURES)
    assert set(asked["psnr_db"]) - set(usual["psnr_db"]) == {"nearest_case"}
    assert asked["psnr_db"]["prediction"] == usual["psnr_db"]["prediction"]
    assert 0 < asked["nodule_5mm_shadow"]["prediction"] < asked["nodule_24mm_shadow"]["prediction"] < 1


def test_inferring_needs_the_radiographs_alone_and_gives_the_evaluated_volume(tiny_run, tiny_cohort):
    image = nibabel.load(tiny_run.out / "inference" / "synthetic_ct.nii.gz")
    np.testing.assert_allclose(image.affine, VolumeGrid((64, 64, 64), 5.0).affine())
    assert image.get_data_dtype() == np.int16
    sidecar = json.loads((tiny_run.out / "inference" / "synthetic_ct.json").read_text())
    assert sidecar["synthetic"] is True
    assert sidecar["model"]["acquisition"]["geometry"] == "x2ct"
    assert sidecar["model"]["data"] == {"train_cases": 3, "validation_cases": 1}
    weights = (tiny_run.out / "models" / "model.pt").read_bytes()
    assert sidecar["model"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert "patients" not in sidecar["model"]
    assert (tiny_run.out / "inference" / "synthetic_ct.png").exists()
    # The same case as evaluated: its MAE, computed from the written file and the phantom, is the one in cases.csv.
    case = sorted((tiny_run.out / "radiographs").glob("*_pa.png"))[0].name.removesuffix("_pa.png")
    truth = nibabel.load(tiny_cohort / f"{case}.nii.gz").get_fdata().clip(-1024, 1476)
    header, *rows = (line.split(",") for line in (tiny_run.out / "cases.csv").read_text().splitlines())
    row = next(row for row in rows if row[0] == case)
    mae = float(row[header.index("mae_hu/prediction")])
    assert np.abs(image.get_fdata() - truth).mean() == pytest.approx(mae, rel=2e-3)


def test_a_second_training_keeps_the_first_model(tiny_run, tiny_command, tiny_cohort, tmp_path, root):
    (tmp_path / "models").mkdir()
    first = (tiny_run.out / "models" / "model.pt").read_bytes()
    (tmp_path / "models" / "model.pt").write_bytes(first)
    done = tiny_command(
        "training",
        "train",
        root,
        manifest=tiny_cohort / "manifest.json",
        max_epochs=1,
        ckpt_dir=tmp_path / "models",
        output_dir=tmp_path,
        seed=1,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kept = list((tmp_path / "models").glob("model_2*.pt"))
    assert [p.read_bytes() for p in kept] == [first]
    assert f"as {kept[0].name}" in done.stdout


def test_an_error_is_one_sentence_without_a_traceback(tiny_run, tiny_command, tiny_cohort, tmp_path, root):
    done = tiny_command("evaluating", "evaluate", root, dataset_dir=tiny_cohort, ckpt_dir=tmp_path, output_dir=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.splitlines()[-1].startswith(f"Error: {tmp_path / 'model.pt'}: there is no model yet; train one")
    assert not list(tmp_path.iterdir())


def test_a_misspelt_option_is_named_before_anything_is_done(tiny_command, tiny_cohort, tmp_path, root):
    done = tiny_command("training", "train", root, dataset_dir=tiny_cohort, output_dir=tmp_path, max_epoch=1)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: the command: nothing reads the key 'max_epoch'; did you mean 'max_epochs'?"
    )
    assert not list(tmp_path.iterdir())


def break_input(kind: str, tiny_run, tiny_cohort, tmp_path: Path) -> tuple[str, dict[str, object]]:
    """(verb, options) of a run that must end on a sentence."""
    pa = sorted((tiny_run.out / "radiographs").glob("*_pa.png"))[0]
    lateral = pa.with_name(pa.name.replace("_pa.png", "_lateral.png"))
    inferring = {"pa": str(pa), "lateral": str(lateral), "ckpt_dir": str(tiny_run.out / "models")}
    evaluating = {"dataset_dir": str(tiny_cohort), "ckpt_dir": str(tiny_run.out / "models")}
    if kind == "no cohort":
        return "training", {"dataset_dir": str(tmp_path / "absent")}
    if kind == "nothing to train on":
        return "training", {}
    if kind == "nothing to evaluate on":
        return "evaluating", {"ckpt_dir": str(tiny_run.out / "models")}
    if kind == "nothing to infer from":
        return "inferring", {"ckpt_dir": str(tiny_run.out / "models")}
    if kind.startswith("an impossible size"):
        verb = kind.rpartition(" ")[2]
        options = {"training": {"dataset_dir": str(tiny_cohort)}, "evaluating": evaluating, "inferring": inferring}
        return verb, {**options[verb], "image_size": 200000}
    if kind == "empty cohort":
        return "training", {"dataset_dir": str(tmp_path)}
    if kind == "NaN voxels":
        broken = nibabel.load(tiny_cohort / "phantom_0000.nii.gz")
        voxels = broken.get_fdata()
        voxels[3, 3, 3] = np.nan
        for i in range(4):
            nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), broken.affine), tmp_path / f"ct{i}.nii.gz")
        folds = ["train", "train", "validation", "test"]
        cases = [{"case": f"{i}", "patient": f"{i}", "ct": f"ct{i}.nii.gz", "fold": f} for i, f in enumerate(folds)]
        (tmp_path / "manifest.json").write_text(json.dumps({"cases": cases}))
        return "training", {"dataset_dir": str(tmp_path)}
    if kind == "unknown network":
        return "evaluating", {**evaluating, "network_def::name": "x2ct_triplanar"}
    if kind == "another network":
        return "evaluating", {**evaluating, "network_def::activation": "relu"}
    if kind == "another geometry":
        return "inferring", {**inferring, "geometry": "chest"}
    if kind == "seen patients":
        return "evaluating", {**evaluating, "fold": "train"}
    if kind == "no such device":
        return "evaluating", {**evaluating, "device": "abacus"}
    if kind == "a file as a folder":
        (tmp_path / "file").write_text("")
        return "training", {"dataset_dir": str(tiny_cohort), "ckpt_dir": str(tmp_path / "file" / "models")}
    if kind == "unknown geometry":
        return "training", {"dataset_dir": str(tiny_cohort), "geometry": "xray"}
    if kind == "large batch":
        return "training", {"dataset_dir": str(tiny_cohort), "batch_size": 9}
    if kind == "no radiograph":
        return "inferring", {**inferring, "lateral": str(tmp_path / "absent.png")}
    if kind == "half a radiograph":
        write_png16(tmp_path / "half.png", np.zeros((64, 32)))
        return "inferring", {**inferring, "pa": str(tmp_path / "half.png")}
    raise AssertionError(kind)


SIZE = "a grid of 200000 x 200000 x 200000 voxels is larger than 1024 x 1024 x 1024"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no cohort", "there is no such cohort; give --dataset_dir"),
        ("nothing to train on", "no cohort was given: give --dataset_dir FOLDER, a folder of CTs, or --dataset_dir ph"),
        ("nothing to evaluate on", "no cohort was given: give --dataset_dir FOLDER"),
        ("nothing to infer from", "reads pa and lateral: give --pa FILE and --lateral FILE, or --dataset_dir FOLDER"),
        *((f"an impossible size for {verb}", SIZE) for verb in ("training", "evaluating", "inferring")),
        ("empty cohort", "holds no CT file"),
        ("NaN voxels", "1 voxels are not finite"),
        ("unknown network", "x2ct_triplanar"),
        ("another network", "was trained with network arguments activation 'linear', this run asks for 'relu'"),
        ("another geometry", "was trained with geometry 'x2ct' instead of 'chest'"),
        ("seen patients", "was trained or chosen on 3 of the 3 patients to be evaluated"),
        ("no such device", "device 'abacus' is not available on this machine"),
        ("a file as a folder", "cannot be written to, because of"),
        ("unknown geometry", "unknown geometry 'xray'"),
        ("large batch", "batch_size 9 is more than the 3 training cases; give a --batch_size of 3 at most"),
        ("no radiograph", "absent.png: there is no such file"),
        ("half a radiograph", "half.png: 64 x 32 pixels are not square"),
    ],
)
def test_bad_input_ends_on_a_sentence_and_writes_nothing(
    kind, words, tiny_run, tiny_cohort, tiny_overrides, demo_config, root, tmp_path
):
    verb, options = break_input(kind, tiny_run, tiny_cohort, tmp_path)
    config = {"training": "train", "evaluating": "evaluate", "inferring": "inference"}[verb]
    out = tmp_path / "out"
    options = {"ckpt_dir": str(out), **options, "output_dir": str(out), "bundle_root": str(root / "bundle")}
    with pytest.raises(Exception) as caught:  # noqa: PT011 (MONAI wraps it in whatever it likes)
        run(verb, config_file=demo_config(config), logging_file=False, **tiny_overrides, **options)
    message = input_error_in(caught.value)
    assert message is not None, caught.value
    assert words in message
    assert "\n" not in message
    assert not [path for path in out.rglob("*") if path.is_file()]
