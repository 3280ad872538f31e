"""Make one self-contained bundle of a model: its configs, weights, code and documents in one folder."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from conventions import InputError
from networks import PRIVATE_ENTRIES, WEIGHTS_SHA256, load, mean_path, read_weights, record_path
from storage import SAFETENSORS, check_new_folder, digest_of, write_folder_atomically, write_tensors

from .model_config import bundle_folder, config_for_model
from .namespace import NAMESPACE, rewrite, rewrite_config, write_packages

logger = logging.getLogger("x2ct.archive")

JOBS = ("train", "evaluate", "inference")
"""Configs of an archive."""

NOT_ONE_MODEL = ("finetune",)
"""Overlays that name files of one run and are left out of an archive."""

MEASURES = ("psnr_db", "ssim", "mae_hu")
"""Figures of an evaluation that metadata.json repeats."""

PAPER_SIZE = "128^3 voxels of 2.5 mm"
"""Size in the descriptions of the configs, which that of the model replaces."""

LARGE_MB = 25
"""Size above which the model zoo keeps a file elsewhere, listed in large_files.yml."""

_HEADER = """\
# Copyright (c) X2CT bundle contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""

_ROOT = Path(__file__).resolve().parent.parent

FilePath = str | os.PathLike[str]


def write_archive(
    destination: FilePath,
    checkpoint: FilePath,
    overlays: Sequence[str] | None = None,
    evaluation: FilePath | None = None,
) -> Path:
    """Write one folder that MONAI, MONAI Label and the model zoo use without overlays or this repository.

    It holds configs/ (train, evaluate and inference with everything of the model's record in them, metadata.json with
    its sizes), models/ (weights as model.pt and, for those who load no Python formats, as model.safetensors, their
    record, the mean training volume), docs/, LICENSE and the code as one package, x2ct. The same model gives the same
    bytes. The record loses the keys of the patients that the model has seen, which are
    nobody else's business; evaluate on your own patients with the model itself.

    Args:
        destination: folder to make; it must not exist, or be empty.
        checkpoint: the model file, with its record next to it.
        overlays: names of the overlays that the model was trained with, which make train.json; None takes them from the
            run.json next to the model.
        evaluation: the output_dir of an evaluation of this model, whose mean figures metadata.json repeats.

    Returns:
        The folder.

    Raises:
        InputError: where the folder holds something, the model is missing, damaged or of another form, an overlay is
            unknown, or the evaluation is missing or of another model.
    """
    folder, model = Path(destination), Path(checkpoint)
    check_new_folder(folder)
    _, record = load(model)
    if "acquisition" not in record or "hu_window" not in record:
        raise InputError(f"{record_path(model)}: describes no network from radiographs to CT; give the model of one")
    names = _overlays_of(model) if overlays is None else list(overlays)
    figures = {} if evaluation is None else _figures(Path(evaluation) / "summary.json", model)

    def fill(made: Path) -> None:
        _write_configs(made / "configs", record, names, figures)
        _write_models(made / "models", model, record)
        write_packages(_ROOT, made / NAMESPACE, _HEADER)
        _write_documents(made)
        _list_large_files(made)

    return write_folder_atomically(folder, fill)


def _overlays_of(model: Path) -> list[str]:
    """Return the overlays on train.json in the command that trained a model."""
    run = model.parent / "run.json"
    if not run.is_file():
        logger.warning(
            "%s: there is no run.json next to the model, so train.json gets no overlays; name them with --overlays",
            model,
        )
        return []
    command = json.loads(run.read_text(encoding="utf-8")).get("command", [])
    given = next((after for word, after in itertools.pairwise(command) if word == "--config_file"), "")
    files = [Path(name.strip(" []'\"")) for name in str(given).split(",")]
    return [file.stem for file in files[1:] if file.stem not in NOT_ONE_MODEL]


def _figures(summary: Path, model: Path) -> dict[str, float]:
    """Return the mean figures of an evaluation, as its volumes were written."""
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        measured = {name: content[name]["prediction"] for name in MEASURES}
        digest = content["model"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{summary}: is not the summary of an evaluation ({error!r}); run evaluating first") from error
    if digest != digest_of(model):
        raise InputError(f"{summary}: is the evaluation of another model than {model}; evaluate this one")
    return {**measured, "held_out_cases": len(content["held_out_cases"])}


def _write_configs(
    folder: Path, record: Mapping[str, Any], overlays: Sequence[str], figures: Mapping[str, float]
) -> None:
    folder.mkdir()
    configs = bundle_folder() / "configs"
    files = {name: configs / f"{name}.json" for name in overlays}
    unknown = [name for name, file in files.items() if not file.is_file()]
    if unknown:
        raise InputError(
            f"there is no overlay {unknown[0]!r} in {configs}: name those the model was trained with by --overlays"
        )
    for job in JOBS:
        parser = ConfigParser()
        parser.read_config([str(configs / f"{job}.json"), *(map(str, files.values()) if job == "train" else ())])
        content = rewrite_config({**parser.get(), "bundle_root": "."})
        content.pop("_meta_", None)
        _dump(folder / f"{job}.json", config_for_model(content, record))
    of_overlays = [configs / f"metadata_{name}.json" for name in overlays]
    parser = ConfigParser()
    parser.read_meta([str(file) for file in (configs / "metadata.json", *of_overlays) if file.is_file()])
    _dump(folder / "metadata.json", {**_metadata(parser.get("_meta_"), record), "eval_metrics": dict(figures)})
    shutil.copyfile(configs / "logging.conf", folder / "logging.conf")


def _metadata(content: dict[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Set the sizes of a model in the metadata."""
    acquisition = record["acquisition"]
    grid = acquisition["grid"]
    size = f"{grid['shape'][0]}^3 voxels of {grid['spacing'][0]:g} mm"
    content["description"] = content["description"].replace(PAPER_SIZE, size)
    formats = content["network_data_format"]
    views = acquisition["views"]
    names = {"pa": "PA radiograph", "lateral": "lateral radiograph"}
    formats["inputs"]["image"].update(
        num_channels=len(views),
        spatial_shape=list(acquisition["detector_shape"]),
        channel_def={str(number): names.get(view, f"radiograph {view}") for number, view in enumerate(views)},
    )
    for entry in ("outputs", "post_processed_outputs"):
        formats[entry]["pred"]["spatial_shape"] = list(acquisition["grid"]["shape"])
    return content


def _write_models(folder: Path, model: Path, record: Mapping[str, Any]) -> None:
    """Write the weights, twice, and their record, which names the hash of both files."""
    folder.mkdir()
    files = [folder / f"model{suffix}" for suffix in (".pt", SAFETENSORS)]
    for file in files:
        if file.suffix == model.suffix:
            shutil.copyfile(model, file)
        else:
            write_tensors(file, read_weights(model))
    if mean_path(model).is_file():
        shutil.copyfile(mean_path(model), mean_path(folder / "model.pt"))
    kept = {key: value for key, value in record.items() if key not in PRIVATE_ENTRIES}
    _dump(folder / "model.json", {**kept, WEIGHTS_SHA256: {file.suffix: digest_of(file) for file in files}})


def _write_documents(folder: Path) -> None:
    """Copy the licence and the documents of the bundle; their commands are run in the archive."""
    shutil.copyfile(bundle_folder() / "LICENSE", folder / "LICENSE")
    (folder / "docs").mkdir()
    for source in sorted((bundle_folder() / "docs").iterdir()):
        text = rewrite(source.read_text(encoding="utf-8")).replace("--bundle_root bundle", "--bundle_root .")
        for part in ("configs", "models"):
            text = text.replace(f"bundle/{part}/", f"{part}/")
        (folder / "docs" / source.name).write_text(text, encoding="utf-8")


def _dump(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in the form that the model zoo's hooks want."""
    file.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def _list_large_files(folder: Path) -> None:
    """List what the model zoo keeps elsewhere; its address is left empty."""
    large = [file for file in sorted((folder / "models").iterdir()) if file.stat().st_size > LARGE_MB * 10**6]
    if not large:
        return
    lines = ["large_files:"]
    for file in large:
        digest = digest_of(file)
        lines += [f'- path: "{file.relative_to(folder).as_posix()}"', '  url: ""', f'  hash_val: "{digest}"',
                  '  hash_type: "sha256"']  # fmt: skip
    (folder / "large_files.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
