"""Measure what a prediction costs in each form of a generator: eager, compiled, TorchScript, ONNX Runtime, .pt2.

Writes its section of docs/deploy.md. Run from the repository:
    python -m benchmarks.deploy --checkpoint starter --threads 1 --rounds 5

Method: Each form has a process of its own, with the same number of threads, and the same random radiographs of one
case; the process stays alive, and in each round every form predicts one volume, in turn, so that whatever else runs on
the machine meets all of them. Ratios are formed within a round; above 1 the form is faster than eager. "ready" is the
time from the files (weights and record, or the file that was exported of them before) to the first volume, most of
which "compiled" spends compiling; imports are not counted. "before" is the resident memory with everything imported
and that first volume computed, "adds" is what the next prediction adds at its peak. The difference is the largest
absolute difference of a voxel from eager, as a share of the largest value.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fire
import numpy as np
import onnxruntime
import torch
from torch import Tensor

from benchmarks.memory import forget_peak, peak_bytes
from benchmarks.options import names
from benchmarks.report import cpu_name, ratios, replace_section, spread
from benchmarks.side import Side, attempt
from conventions import report_input_errors
from export import find_model
from networks import load
from networks.onnx_export import read_onnx, write_onnx
from networks.pt2_export import read_pt2, write_pt2

TITLE = "Time and memory of a prediction"
"""Title of its section of the page."""

FORMS = ("eager", "compiled", "torchscript", "onnx", "pt2")


@dataclass
class First:
    """First and second prediction of a new process."""

    volume: np.ndarray
    ready: float
    """Seconds from the weights or the file to the first volume."""
    before: int
    peak: int


@dataclass
class Row:
    """Results of one form, or the reason why there are none."""

    form: str
    first: First | None = None
    seconds: list[float] = field(default_factory=list)
    reason: str = ""


class Subject:
    """A form of a generator in a process of its own.

    Args:
        form: one of `FORMS`.
        checkpoint: file of the weights.
        folder: folder of the exported files.
        shape: (views, S, S) of the radiographs.
        threads: threads of torch and of ONNX Runtime.
    """

    def __init__(self, form: str, checkpoint: Path, folder: Path, shape: Sequence[int], threads: int) -> None:
        torch.set_num_threads(threads)
        self.image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
        makers: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
            "eager": lambda: load(checkpoint)[0],
            "compiled": lambda: torch.compile(load(checkpoint)[0], fullgraph=True),
            "torchscript": lambda: torch.jit.script(load(checkpoint)[0]),
            "onnx": lambda: read_onnx(folder / "model.onnx")[0],
            "pt2": lambda: read_pt2(folder / "model.pt2")[0],
        }
        self.make = makers[form]

    @torch.no_grad()
    def first(self) -> First:
        """Make the form and run it twice."""
        start = time.perf_counter()
        self.run = self.make()
        volume = self.run(self.image)
        ready = time.perf_counter() - start
        before = forget_peak()
        self.run(self.image)
        return First(volume.numpy(), ready, before, peak_bytes())

    @torch.no_grad()
    def turn(self) -> float:
        """Return the seconds of a prediction."""
        start = time.perf_counter()
        self.run(self.image)
        return time.perf_counter() - start


def measure(
    forms: Sequence[str], checkpoint: Path, folder: Path, shape: Sequence[int], threads: int, rounds: int
) -> list[Row]:
    """Run all forms of a model in turn.

    Args:
        forms: some of `FORMS`.
        checkpoint: file of the weights.
        folder: folder that holds model.onnx and model.pt2 of these weights.
        shape: (views, S, S) of the radiographs.
        threads: threads of each process.
        rounds: timed predictions of each form.
    """
    rows, sides = [Row(form) for form in forms], [Side() for _ in forms]
    try:
        for row, side in zip(rows, sides, strict=True):
            attempt(row, lambda s=side, r=row: s.load(Subject, r.form, checkpoint, folder, shape, threads))
            attempt(row, lambda s=side, r=row: setattr(r, "first", s.ask("first")))
            print(
                f"{row.form}: ready in {row.first.ready:.1f} s" if row.first else f"{row.form}: {row.reason}",
                flush=True,
            )
        for _ in range(rounds):
            for row, side in zip(rows, sides, strict=True):
                attempt(row, lambda s=side, r=row: r.seconds.append(s.ask("turn")))
    finally:
        for side in sides:
            side.stop()
    return rows


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table, whose ratios refer to the first row.

    Args:
        rows: what `measure` returned.
    """
    yield "| form | median s | min-max s | first / form | ready s | before MiB | adds MiB | difference |"
    yield "|---|---|---|---|---|---|---|---|"
    base = rows[0]
    for row in rows:
        if row.first is None or row.reason or not row.seconds or base.first is None:
            yield f"| {row.form} | not run here: {row.reason or 'no rounds'} | | | | | | |"
            continue
        highest = float(np.abs(base.first.volume).max())
        difference = float(np.abs(row.first.volume - base.first.volume).max()) / highest
        times = f"{statistics.median(row.seconds):.3g} | {min(row.seconds):.3g}-{max(row.seconds):.3g}"
        faster = spread(ratios(base.seconds, row.seconds), ".2f")
        memory = f"{row.first.before / 2**20:.0f} | {(row.first.peak - row.first.before) / 2**20:.0f}"
        yield f"| {row.form} | {times} | {faster} | {row.first.ready:.1f} | {memory} | {difference:.1e} |"


def _section(rows: Sequence[Row], name: str, threads: int, rounds: int, loads: Sequence[float]) -> Iterator[str]:
    assert __doc__ is not None
    yield from ("Written by `python -m benchmarks.deploy`.", "", f"- Date: {time.strftime('%Y-%m-%d')}")
    yield f"- Machine: {cpu_name()}, {os.cpu_count()} cores, {threads} thread(s) per form"
    yield f"- Versions: torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    yield f"- Model: {name}; rounds: {rounds}"
    before, after = loads
    yield f"- Load before the forms were made and after the last round: {before:.1f}, {after:.1f} (1 is one busy core)"
    yield from ("", "### Method", "", __doc__.partition("Method: ")[2].strip(), "", "### Results", "")
    yield from table(rows)


def run(
    checkpoint: str = "starter", output: str = "docs/deploy.md", rounds: int = 5, threads: int = 1, forms: Any = FORMS
) -> None:
    """Export the files of a model, measure all forms, and write the section.

    Args:
        checkpoint: the model file, or starter.
        output: page that holds the section.
        rounds: timed predictions of each form.
        threads: threads of each form.
        forms: some of eager, compiled, torchscript, onnx and pt2; ratios refer to the first.
    """
    asked = names(forms, FORMS)
    model = find_model(checkpoint)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes to come
    network, record = load(model)
    shape = (network.views, network.image_size, network.image_size)
    with tempfile.TemporaryDirectory() as folder:
        if "onnx" in asked:
            write_onnx(network, Path(folder) / "model.onnx", shape, {})
        if "pt2" in asked:
            write_pt2(network, Path(folder) / "model.pt2", shape, {})
        before = os.getloadavg()[0]
        rows = measure(asked, model, Path(folder), shape, threads, rounds)
    name = f"{model.name}, {record['network']['name']}, {network.image_size}^3"
    print("\n".join(table(rows)))
    replace_section(output, TITLE, _section(rows, name, threads, rounds, (before, os.getloadavg()[0])))


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(run)
