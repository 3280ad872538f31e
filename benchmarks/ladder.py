"""Measure what each part of the reconstruction is worth: a ladder of models, each with and without the update.

Run from the repository, one after the other or in parts; a run that was stopped goes on where it was:
    python -m benchmarks.ladder train --data X2CT_DATA --output FOLDER [--rungs raylift,x2ct_cnn] [--cpu_seconds 3000]
    python -m benchmarks.ladder measure --data X2CT_DATA --output FOLDER

Method: Every rung is trained by the project's own command on the same CTs, with chest.json, --anchor lungs and
augmented.json, in bf16, on one thread and with a batch of two, for about the same CPU seconds: the number of steps is
the budget over the cost of a step that `RUNGS` states, and the seconds that were used are counted and given. The
learning rate is constant in the first half and falls linearly in the second. A rung may begin with the weights of
another (finetune.json), whose seconds and steps count for it. The CTs of `VALIDATION` are held out, five patients of
five collections; they also choose the epoch of each model, for all rungs alike. The X2CT networks and the plain U-Net
have the size 64^3 of the demo, where 3,000 CPU seconds are enough to learn something.

Volumes are measured on 128^3 voxels of 2.5 mm, to which those of 64^3 are enlarged by interpolation, and, averaged over
blocks of two, on 64^3. PSNR has the peak of 2500 HU and SSIM is 3-D; MAE is in HU, over the cube and over the body (the
largest part above -500 HU, closed); the lung volume is that of `readers.lung_mask`. "Updated" is `ConsistencyUpdate` on
128^3 with the DRRs of 128 x 128 pixels, its defaults and the true geometry. Figures are means over the patients, with
the smallest and the largest. The mean volume and the nearest training CT (by the mean squared difference of DRRs) learn
nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from scipy import ndimage
from torch.nn.functional import avg_pool3d, interpolate

from benchmarks.options import names
from benchmarks.report import replace_section
from benchmarks.rungs import RUNGS, Rung, parallel_geometry
from cohort.phantoms import write_phantoms
from conventions import InputError, hu_to_unit, report_input_errors, unit_to_hu
from drr import Acquisition, geometry_tensor, hu_to_mu, perturb_geometry, project, to_film
from metrics import mae, nearest_image, psnr, ssim
from networks import ConsistencyUpdate, load
from readers import lung_mask
from storage import write_json
from transforms import RayCastDRR, ReadVolume, ResampleToGrid

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "bundle" / "configs"
RESULTS = ROOT / "benchmarks" / "ladder.json"
"""What was measured, rung by rung; a rung that is measured again takes its own place."""

TITLE = "The ladder"
"""Title of its section of the page."""

VALIDATION = ("lidc_idri_0003", "lung_pet_ct_dx_a0001", "rider_pilot_0109", "nsclc_radiomics_lung1_001",
              "qin_lung_lsc_0028")  # fmt: skip
"""Names of the CTs that no rung is trained on."""

FOLDERS = ("ct", "ct_more", "restricted/ct")
"""Folders of CTs in the data."""

FULL = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="lungs")
"""What volumes are measured on: 128^3 voxels of 2.5 mm, 128^2 pixels."""

BODY_HU = -500
"""Threshold of the body."""


def train(data: str, output: str, rungs: Any = tuple(RUNGS), cpu_seconds: float = 3000.0) -> None:
    """Train rungs that are not yet trained; one that begins with the weights of another follows it.

    Args:
        data: folder with the CTs in `FOLDERS`.
        output: folder of the models, which holds a folder for each rung.
        rungs: names, separated by commas.
        cpu_seconds: budget of each rung.
    """
    chosen = names(rungs, tuple(RUNGS))
    cases = cases_of(Path(data))
    for name in chosen:
        _train_one(name, RUNGS[name], cases, Path(output).resolve() / name, float(cpu_seconds))


def cases_of(data: Path) -> dict[str, Path]:
    """Return the CTs of the data by name; a held-out CT that is missing is refused."""
    files = {
        path.name.removesuffix(".nii.gz"): path for part in FOLDERS for path in sorted((data / part).glob("*.nii.gz"))
    }
    missing = [name for name in VALIDATION if name not in files]
    if missing:
        raise InputError(f"{data}: lacks the CT {missing[0]}, which the ladder is measured on; give the whole data")
    return files


def _train_one(name: str, rung: Rung, cases: Mapping[str, Path], folder: Path, cpu_seconds: float) -> None:
    done = folder / "done.json"
    if done.exists():
        print(f"{name}: trained already, {done}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    training = [case for case in cases if case not in VALIDATION]
    manifest = folder / "manifest.json"
    repeats = max(1, round(rung.phantoms / len(training)))
    made = write_phantoms(folder / "phantoms", rung.phantoms, size=128) if rung.phantoms else []
    entries = [
        {"case": f"{case}__{number}" if number else case, "patient": case, "ct": os.path.relpath(path, folder),
         "fold": "validation" if case in VALIDATION else "train"}
        for case, path in (*cases.items(), *((file.name.removesuffix(".nii.gz"), file) for file in made))
        for number in range(repeats if case in training else 1)
    ]  # fmt: skip
    write_json(manifest, {"version": 1, "seed": 0, "cases": entries})
    spent, earlier_steps, begin = 0, 0, {}
    if rung.start is not None:
        first = folder.parent / rung.start
        if not (first / "done.json").exists():
            raise InputError(f"{name}: begins with the weights of {rung.start}; train that rung first")
        earlier = json.loads((first / "done.json").read_text())
        spent, earlier_steps = earlier["cpu_seconds"], earlier["steps"]
        begin = {"initial_model": first / "model.pt"}
    steps_per_epoch = -(-sum(entry["fold"] == "train" for entry in entries) // 2)
    epochs = max(2, round((cpu_seconds * rung.share - spent) / rung.cost / steps_per_epoch))
    parts = ["train", "chest", *rung.overlays, "augmented", *rung.after, *(["finetune"] if begin else [])]
    options = {
        "anchor": "lungs", "manifest": manifest, "ckpt_dir": folder, "output_dir": folder, "batch_size": 2,
        "precision": "bf16", "max_epochs": epochs, "val_interval": max(1, epochs // 12), "resume": "latest",
        **begin, **rung.options,
    }  # fmt: skip
    flags = [text for key, value in options.items() for text in (f"--{key}", _as_option(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file",
               str([str(CONFIGS / f"{part}.json") for part in parts]), *flags]  # fmt: skip
    settings = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MALLOC_MMAP_MAX_": "0",
                "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "268435456"}  # fmt: skip
    print(f"{name}: {epochs} epochs of {steps_per_epoch} steps ...", flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "log.txt").open("a") as log:
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if code != 0:
        raise InputError(f"{name}: training ended with an error; see {folder / 'log.txt'}")
    steps = epochs * steps_per_epoch + earlier_steps
    write_json(done, {"cpu_seconds": round(used) + spent, "steps": steps, "training_cts": len(training)})


def _as_option(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


@dataclass(frozen=True)
class Patient:
    """A held-out CT on the full grid.

    Args:
        name: name of the case.
        volume: (1, 1, 128, 128, 128) in unit values.
        image: its DRRs (1, 2, 128, 128).
    """

    name: str
    volume: torch.Tensor
    image: torch.Tensor


def read_patient(name: str, path: Path, acquisition: Acquisition = FULL) -> Patient:
    """Read a CT onto the grid of an acquisition, with its DRRs."""
    volume_hu = ResampleToGrid(acquisition)(ReadVolume()(path))
    image = RayCastDRR(acquisition)(volume_hu).as_tensor()[None]
    return Patient(name, hu_to_unit(volume_hu.as_tensor())[None], image)


def predict(network: torch.nn.Module, size: int, patient: Patient, image: torch.Tensor | None = None,
            geometry: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
    """Predict a volume on the full grid from DRRs of the full size, averaged to what the network reads."""
    image = patient.image if image is None else image
    factor = image.shape[-1] // size
    shown = torch.nn.functional.avg_pool2d(image, factor) if factor > 1 else image
    beams = geometry_tensor(FULL.views) if geometry is None else geometry
    if factor > 1:
        beams = torch.cat([beams[:, :, :2], beams[:, :, 2:] * factor], 2)
    if getattr(network, "given_parallel_rays", False):
        beams = parallel_geometry(shown.shape[-1])
    with torch.no_grad():
        volume = network(shown, geometry=beams).clip(0, 1)
    return interpolate(volume, patient.volume.shape[2:], mode="trilinear") if size != 128 else volume


def body(volume_hu: np.ndarray) -> np.ndarray:
    """Return the largest part above `BODY_HU`, with what it encloses in its axial slices."""
    parts, count = ndimage.label(volume_hu > BODY_HU)
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, np.arange(1, count + 1))
    return np.stack([ndimage.binary_fill_holes(plane) for plane in parts == 1 + int(np.argmax(sizes))])


def measures(volume: torch.Tensor, patient: Patient) -> dict[str, float]:
    """Measure a volume (1, 1, 128, 128, 128) in unit values against a patient's."""
    truth = patient.volume
    hu, truth_hu = unit_to_hu(volume), unit_to_hu(truth)
    inside = body(truth_hu[0, 0].numpy())
    lungs, true_lungs = (lung_mask(v[0, 0].numpy(), 2.5).sum() * 2.5**3 / 1000 for v in (hu, truth_hu))
    halved, truth_halved = avg_pool3d(volume, 2), avg_pool3d(truth, 2)
    return {
        "psnr_128": float(psnr(volume, truth, 1.0)),
        "ssim_128": float(ssim(volume, truth, 1.0)),
        "psnr_64": float(psnr(halved, truth_halved, 1.0)),
        "ssim_64": float(ssim(halved, truth_halved, 1.0)),
        "mae_hu": float(mae(hu, truth_hu)),
        "body_mae_hu": float((hu - truth_hu)[0, 0].abs()[torch.from_numpy(inside)].mean()),
        "lung_volume_ml": float(lungs - true_lungs),
    }


def probes(network: torch.nn.Module, size: int, patients: list[Patient]) -> dict[str, float]:
    """Measure the PSNR at 128^3 with input that is wrong, in dB less than with the right one, mean over patients."""
    truth = geometry_tensor(FULL.views)
    wrong: dict[str, list[float]] = {}
    for number, patient in enumerate(patients):
        right = float(psnr(predict(network, size, patient), patient.volume, 1.0))
        other = patients[(number + 1) % len(patients)].image
        inputs = {"another patient's": other, "mirrored": patient.image.flip(-1)}
        for degrees in (2.0, 5.0, 10.0):
            inputs[f"{degrees:g} degrees off"] = _rendered(patient, perturb_geometry(truth, angle=degrees))
        inputs["SDD 10 % off"] = _rendered(patient, perturb_geometry(truth, sdd=180.0, sod=165.0))
        for words, image in inputs.items():
            found = float(psnr(predict(network, size, patient, image), patient.volume, 1.0))
            wrong.setdefault(words, []).append(found - right)
    return {words: float(np.mean(values)) for words, values in wrong.items()}


def _rendered(patient: Patient, geometry: torch.Tensor) -> torch.Tensor:
    """Render a patient in another geometry, of which the network is not informed."""
    lines = project(hu_to_mu(unit_to_hu(patient.volume)), FULL.grid, geometry, detector_shape=(128, 128))
    return to_film(lines, "linear")


def controls(cases: Mapping[str, Path], patients: Sequence[Patient]) -> dict[str, list[torch.Tensor]]:
    """Return what learns nothing, for each patient: the mean of the training CTs, and the one with the nearest DRRs."""
    training = [read_patient(name, path) for name, path in cases.items() if name not in VALIDATION]
    mean = torch.stack([case.volume for case in training]).mean(0)
    images = torch.cat([case.image for case in training])
    nearest = [training[nearest_image(patient.image, images)].volume for patient in patients]
    return {"mean volume": [mean] * len(patients), "nearest training CT": nearest}


def measure(
    data: str, output: str, page: str = str(ROOT / "docs" / "benchmarks.md"), results_file: str = str(RESULTS)
) -> None:
    """Measure the rungs that are trained and not yet measured, and write the section of the page from all of them.

    What learns nothing is measured first, even if no rung is trained.

    Args:
        data: as in `train`.
        output: as in `train`.
        page: the page.
        results_file: JSON file of everything that was measured.
    """
    cases = cases_of(Path(data))
    folder = Path(output).resolve()
    trained = {name: rung for name, rung in RUNGS.items() if (folder / name / "done.json").exists()}
    patients = [read_patient(name, cases[name]) for name in VALIDATION]
    update = ConsistencyUpdate(FULL)
    file = Path(results_file)
    results = json.loads(file.read_text()) if file.exists() else {}
    if not results:  # what learns nothing is measured first
        for words, volumes in controls(cases, patients).items():
            results[words] = {
                "before": _measured(volumes, patients, None),
                "after": _measured(volumes, patients, update),
            }
        write_json(file, results)
    for name, rung in trained.items():
        digest = hashlib.sha256((folder / name / "model.pt").read_bytes()).hexdigest()
        if results.get(name, {}).get("sha256") != digest:
            results[name] = {**_measure_rung(name, rung, folder, cases, patients, update), "sha256": digest}
            print(f"{name}: {_line(results[name])}", flush=True)
            write_json(file, results)
    replace_section(page, TITLE, _section(results))


def _measured(
    volumes: Sequence[torch.Tensor], patients: Sequence[Patient], update: ConsistencyUpdate | None
) -> list[dict[str, float]]:
    found = []
    for volume, patient in zip(volumes, patients, strict=True):
        with torch.no_grad():
            found.append(measures(volume if update is None else update(volume, patient.image), patient))
    return found


def _measure_rung(
    name: str,
    rung: Rung,
    folder: Path,
    cases: Mapping[str, Path],
    patients: Sequence[Patient],
    update: ConsistencyUpdate,
) -> dict[str, Any]:
    network, record = load(folder / name / "model.pt")
    acquisition = Acquisition.from_record(record["acquisition"])
    size = acquisition.grid.shape[0]
    network.given_parallel_rays = rung.parallel
    if acquisition.anchor != FULL.anchor:
        full = FULL.replace(anchor=acquisition.anchor)
        patients, update = [read_patient(case, cases[case], full) for case in VALIDATION], ConsistencyUpdate(full)
    volumes = [predict(network, size, patient) for patient in patients]
    result = {
        "title": rung.title,
        **json.loads((folder / name / "done.json").read_text()),
        "before": _measured(volumes, patients, None),
        "after": _measured(volumes, patients, update),
        "probes": probes(network, size, list(patients)),
    }
    if "more_views" in rung.after:
        result["views"] = {str(count): _with_views(network, count, patients) for count in (1, 2, 3, 4)}
    return result


def _with_views(network: torch.nn.Module, count: int, patients: Sequence[Patient]) -> dict[str, float]:
    """Return the mean PSNR at 128^3 from the first of PA, lateral and two obliques, without and with the update."""
    names_of_views = ["pa", "lateral", "oblique_45", "oblique_-45"][:count]
    acquisition = FULL.replace(view_names=names_of_views)
    update, geometry = ConsistencyUpdate(acquisition), geometry_tensor(acquisition.views)
    values = []
    for patient in patients:
        image = RayCastDRR(acquisition)(unit_to_hu(patient.volume[0])).as_tensor()[None]
        with torch.no_grad():
            volume = network(image, geometry=geometry).clip(0, 1)
            both = (volume, update(volume, image))
        values.append([float(psnr(found, patient.volume, 1.0)) for found in both])
    before, after = np.mean(values, axis=0).tolist()
    return {"before": before, "after": after}


def _of(result: Mapping[str, Any], when: str, measure_name: str) -> np.ndarray:
    return np.array([case[measure_name] for case in result[when]])


def _line(result: Mapping[str, Any]) -> str:
    before, after = (_of(result, when, "psnr_128") for when in ("before", "after"))
    return f"{before.mean():.2f} dB, updated {after.mean():.2f} (gain {(after - before).min():+.2f} at least)"


def _section(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "`python -m benchmarks.ladder`, CPU, one thread a rung. Means over five patients, in brackets the smallest and "
        "the largest.",
        "",
        "| model | steps | CPU s | PSNR 128^3 | updated | gain by the update | SSIM | updated | PSNR 64^3 | updated "
        "| MAE HU | updated | body MAE HU | updated | lung volume error ml | updated |",
        "|---" * 16 + "|",
    ]
    for name, result in results.items():
        psnr_before, psnr_after = (_of(result, when, "psnr_128") for when in ("before", "after"))
        cells = [result.get("title", name), str(result.get("steps", "")), str(result.get("cpu_seconds", "")),
                 _spread(psnr_before), _spread(psnr_after), _spread(psnr_after - psnr_before)]  # fmt: skip
        for measure_name, form in (("ssim_128", ".3f"), ("psnr_64", ".2f"), ("mae_hu", ".0f"), ("body_mae_hu", ".0f")):
            cells += [f"{_of(result, when, measure_name).mean():{form}}" for when in ("before", "after")]
        cells += [f"{np.abs(_of(result, when, 'lung_volume_ml')).mean():.0f}" for when in ("before", "after")]
        lines.append(f"| {' | '.join(cells)} |")
    probed = {name: result["probes"] for name, result in results.items() if "probes" in result}
    if not probed:
        return lines
    kinds = list(next(iter(probed.values())))
    lines += ["", "Change of PSNR at 128^3 in dB with wrong radiographs, of which the network is not informed:", "",
              f"| model | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]  # fmt: skip
    for name, values in probed.items():
        lines.append(f"| {results[name]['title']} | {' | '.join(f'{values[kind]:+.2f}' for kind in kinds)} |")
    for result in results.values():
        if "views" in result:
            lines += ["", f"{result['title']}, PSNR at 128^3 by the number of views:", "",
                      "| views | network | updated |", "|---|---|---|"]  # fmt: skip
            lines += [f"| {count} | {v['before']:.2f} | {v['after']:.2f} |" for count, v in result["views"].items()]
    return lines


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} [{values.min():.2f}-{values.max():.2f}]"


if __name__ == "__main__":
    report_input_errors()
    fire.Fire({"train": train, "measure": measure})
