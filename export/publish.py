"""Complete the record of weights that are given away: what they were trained on, by what, and how good they are."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from conventions import InputError
from networks import ABOUT, WEIGHTS_SHA256, load, read_record, read_weights, record_path, write_record
from storage import digest_of, set_aside, write_tensors

FilePath = str | os.PathLike[str]

PHANTOM = "phantom_"
"""Beginning of the names of cases that `cohort phantom` made."""

FIGURES = ("psnr_db", "ssim", "mae_hu", "lung_total_ml_error", "cardiothoracic_ratio_error")
"""Measures of an evaluation that the record repeats for each patient, where it holds them."""

LIMITS = (
    "for research and trying the software; not a medical device, not for diagnosis or treatment",
    "the volume is a guess that fits two shadows: what lies along a ray is not determined by it",
    "lesions, small vessels and fractures are not to be expected in the volume, and their absence means nothing",
    "the figures were measured on radiographs computed from CTs, of the patients named and no others; none of them was "
    "measured on real films",
    "trained on adults who lie in a CT scanner, with both lungs in the field; no other patients or postures were tried",
)
"""Limits of weights from this project, as their record states them."""


def publish(
    source: FilePath,
    target: FilePath,
    manifest: FilePath,
    runs: Sequence[FilePath],
    datasets: FilePath,
    citations: FilePath | None = None,
    evaluation: FilePath | None = None,
) -> Path:
    """Write weights in half precision, and a record that states what people ask of published weights.

    The record gains `weights_sha256`, which `networks.load` checks, and `about`:

    - `source_sha256`: SHA-256 of the weights before they were halved;
    - `trained_on`: each CT with `case`, `collection`, `licence`, `doi` and `citation`; and the number of phantoms;
    - `runs`: each with `steps`, `epochs`, `hours`, `cpu_hours` (null where it was not noted), `hardware`, `commit` and
      `versions`; before it those of the weights that are replaced, where the first run began with them;
    - `validation`: for each case of an evaluation, the measures of `FIGURES` for every prediction and control, and what
      those measures are;
    - `limits`: what the weights cannot do (`LIMITS`).

    Args:
        source: weights that training wrote, with their record next to them.
        target: file to write. One that is there is renamed, unless it is the same file, whose record alone changes.
        manifest: manifest of the cohort they were trained on.
        runs: `run.json` of each run since the weights that are replaced, in their order, run on this machine; not read
            where the record of the target states its runs already and it alone changes.
        datasets: CSV with a line for each CT: `file`, `collection`, `licence` and `doi`.
        citations: text with a line for each collection that holds its DOI and how to cite it, as a Markdown table;
            None leaves citations to the DOI.
        evaluation: folder of an evaluation of these weights, before or after they were written; None leaves it out.

    Returns:
        The file of the weights.

    Raises:
        InputError: where a file is missing or is not what it should be, a CT is not in the list, or the evaluation is
            of other weights.
    """
    old, new = Path(source), Path(target)
    _, record = load(old)
    in_place = old.resolve() == new.resolve()
    known = record.get(ABOUT, {}).get("runs", []) if in_place else []
    about = {
        "source_sha256": record[ABOUT]["source_sha256"] if in_place and ABOUT in record else digest_of(old),
        "trained_on": _trained_on(Path(manifest), Path(datasets), citations),
        "runs": known or [*_earlier_runs(new, record, runs), *(_run(Path(run), record) for run in runs)],
        "limits": list(LIMITS),
    }
    if evaluation is not None:
        about["validation"] = _validation(Path(evaluation), {digest_of(file) for file in (old, new) if file.is_file()})
    if not in_place:
        weights = {name: _halved(value) for name, value in read_weights(old).items()}
        set_aside(new, record_path(new))
        write_tensors(new, weights)
    write_record(new, {**record, ABOUT: about, WEIGHTS_SHA256: {new.suffix: digest_of(new)}})
    load(new)  # as the next reader will
    return new


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def _trained_on(manifest: Path, datasets: Path, citations: FilePath | None) -> dict[str, Any]:
    """List the CTs of the training fold, each once, with where they come from."""
    content = _json(manifest / "manifest.json" if manifest.is_dir() else manifest, "is not a manifest")
    try:
        files = {Path(entry["ct"]).name for entry in content["cases"] if entry["fold"] == "train"}
        with datasets.open(newline="", encoding="utf-8") as table:
            known = {Path(line["file"]).name: line for line in csv.DictReader(table)}
    except (OSError, KeyError, TypeError) as error:
        raise InputError(f"{manifest}, {datasets}: lack what is needed ({error!r}); give both as documented") from error
    phantoms = {file for file in files if file.startswith(PHANTOM)}
    missing = sorted(files - phantoms - known.keys())
    if missing:
        raise InputError(f"{datasets}: holds no line for {missing[0]}, whose licence must be stated; add it")
    said = "" if citations is None else Path(citations).read_text(encoding="utf-8")
    cts = [
        {
            "case": file.removesuffix(".gz").removesuffix(".nii"),
            **{name: known[file][name] for name in ("collection", "licence", "doi")},
            "citation": _citation(said, known[file]["doi"]),
        }
        for file in sorted(files - phantoms)
    ]
    return {"cts": cts, "phantoms": len(phantoms)}


def _citation(text: str, doi: str) -> str:
    """Return the cell of a table that holds a DOI; the DOI itself where there is none."""
    for line in text.splitlines():
        for cell in reversed(line.split("|")):
            if doi and doi.lower() in cell.lower():
                return cell.strip()
    return f"doi {doi}"


def _earlier_runs(target: Path, record: Mapping[str, Any], runs: Sequence[FilePath]) -> list[dict[str, Any]]:
    """Return the runs in the record of the weights that these replace, where the first of these began with them."""
    if not record_path(target).is_file():
        return []
    replaced = read_record(target)
    about, digests = replaced.get(ABOUT, {}), replaced.get(WEIGHTS_SHA256, {})
    first = _json(Path(runs[0]), "is not the run.json of a training") if runs else {}
    began_with = (first.get("initial_model") or record.get("initial_model", {})).get("sha256")
    return list(about.get("runs", [])) if began_with in (*digests.values(), about.get("source_sha256")) else []


def _run(file: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a run of training from what it noted."""
    run = _json(file, "is not the run.json of a training")
    try:
        steps = run.get("steps")
        if steps is None:  # a run of before 2026-12
            steps = run["epochs"] * math.ceil(record["data"]["train_cases"] / _batch_size(run["command"]))
        return {
            "steps": steps,
            "epochs": run["epochs"],
            "hours": run["hours"],
            "cpu_hours": run.get("cpu_hours"),
            "hardware": f"{_processor()}, {os.cpu_count()} cores",
            "commit": run["commit"],
            "versions": run["versions"],
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{file}: is not the run.json of a training ({error!r}); give that of the model") from error


def _batch_size(command: Sequence[str]) -> int:
    return int(command[command.index("--batch_size") + 1])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1] if found else platform.processor() or "CPU of unknown name"


def _validation(folder: Path, digests: set[str]) -> dict[str, Any]:
    """Return the figures of each case of an evaluation."""
    content = _json(folder / "evaluation.json", "is not the record of an evaluation")
    try:
        if content["model"]["sha256"] not in digests:
            raise InputError(f"{folder}: is the evaluation of other weights; evaluate these")
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for row in content["values"]:
            if row["measure"] in FIGURES:
                table.setdefault(row["case"], {}).setdefault(row["compared"], {})[row["measure"]] = row["value"]
        measures = {name: content["measures"][name] for name in FIGURES if name in content["measures"]}
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder}: is not the output of evaluating ({error!r}); run it again") from error
    return {"cases": table, "measures": measures}


def _json(file: Path, refusal: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {refusal} ({error}); give the right file") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: {refusal}; give the right file")
    return content
