"""Compare our DRR engine with DiffDRR, nanodrr, itk-rtk and plastimatch: speed, memory and error.

Writes its section of docs/benchmarks.md.

Run from the repository:
    python -m benchmarks.drr setup --envs /tmp/drr_envs
    python -m benchmarks.drr run --envs /tmp/drr_envs --rounds 7 --output docs/benchmarks.md
    python -m benchmarks.drr run --envs /tmp/drr_envs --tools ours,grid_sample --sizes 128 --capability avx2

Method: Every tool has an environment and a worker process of its own with two threads. All get the same thorax phantom
as mu in 1/mm, so conversion from HU is not included: seed 0, a 320 mm cube, with the two outermost voxel layers air, so
that the tools' treatment of the border does not matter. Our view objects keep their tables between calls, outside the
time and the peak memory of a call; "ours:tensor" gets the geometry as a new tensor each time and builds them again.
"grid_sample" is PyTorch's interpolation of every slice at places from a table, which counts neither in time nor in
memory (slices x rows x columns x 8 bytes for each view). The cone beam has a source-detector distance of 1800 mm, a
source-isocentre distance of 1500 mm and a detector of 435.2 mm; the views are PA, lateral, and PA turned by 25 degrees
about z, then by 12 degrees about x. Two calls warm up, of which the first gives the image and the second the peak
memory. Then the tools take turns in rounds with rotating order; a turn repeats the call for at least 0.1 s and keeps
the median. Ratios are formed within a round; above 1 ours is faster.
Errors are relative RMSE against our float64 Joseph, which Siddon's and trilinear line integrals cannot equal: they are
different models of the same volume, and differ by up to about 1.5e-2. Forward + backward adds the gradient of sum(image
* weights) with respect to the volume, where the weights are the reference image. Its error is that of the gradient
inside the air layers; Siddon's is uneven where the spacing of the rays is about that of the voxels. For itk-rtk, which
has no gradient, it is the back projection of the weights by its Joseph filter. Peak memory is what a call adds to the
resident set (on CUDA, to the allocated memory). For plastimatch it is the whole process, whose wall time also includes
starting, reading and writing. "4 volumes x 2 views" is four copies of the volume in PA and lateral. The other tools
loop over volumes; DiffDRR and nanodrr are left out there above 128^3, where a round takes minutes.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch

from benchmarks.report import cpu_name, ratios, replace_section, spread
from cohort import thorax_phantom
from drr import Acquisition, ConeBeam, VolumeGrid, hu_to_mu, project

ROOT = Path(__file__).resolve().parent.parent
TITLE = "Projector"
"""Title of its section of the page."""

THREADS = 2
"""Threads of each tool."""

CUBE_MM, AIR_LAYERS = 320.0, 2
"""Side of the phantom in mm, and its outermost layers of voxels that are air."""

COPIES = 4
"""Copies of the phantom in the batch."""

SLOW = ("diffdrr", "nanodrr")
"""Tools that loop over volumes, at eight times the cost of a single view."""

SLOW_BATCH_SIZE = 128
"""Largest size at which the slow tools run the batch too."""

MODEL_LIMIT = 2e-2
"""Largest error that is a difference between models, and not a mistake in the geometry."""

TORCHIO = ("torchio==1.2.1", "einops==0.8.2", "scipy==1.17.1", "roma==1.8.0", "pandas==3.1.1")
ENVIRONMENTS: dict[str, list[list[str]]] = {
    # Without the packages of their plots and metrics: the full list of DiffDRR replaces torch by another build.
    "diffdrr": [["torch==2.13.0", *TORCHIO, "fastcore==2.2.39"], ["--no-deps", "diffdrr==0.6.1"]],
    "nanodrr": [
        ["torch==2.13.0", *TORCHIO, "jaxtyping==0.3.11", "platformdirs==4.14.8"],
        ["--no-deps", "nanodrr==0.1.7"],
    ],
    "rtk": [["itk-rtk==2.7.0", "numpy==2.4.6"]],
}
"""Arguments of the `pip install` calls that make each environment."""

TOOLS = ("ours", "ours:tensor", "grid_sample", "diffdrr:siddon", "diffdrr:trilinear", "nanodrr", "rtk", "plastimatch")
VIEWS = ("pa", "lateral", "oblique")
NO_CUDA = ("rtk", "plastimatch")
MODES = {"forward": "forward", "gradient": "forward + backward"}


class ToolError(Exception):
    """Reason why a tool gave no result, in a sentence."""


def setup(envs: str) -> None:
    """Create the environments of the other tools, and keep those that have the same versions.

    Args:
        envs: folder of the environments.
    """
    for name, calls in ENVIRONMENTS.items():
        folder = Path(envs) / name
        ready = folder / "ready.json"
        if ready.exists() and json.loads(ready.read_text()) == calls:
            print(f"{name}: kept")
            continue
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for call in calls:
            subprocess.run([folder / "bin" / "pip", "install", "--quiet", *call], check=True)
        ready.write_text(json.dumps(calls))
        print(f"{name}: made")
    if not shutil.which("plastimatch"):
        subprocess.run(["apt-get", "install", "--yes", "plastimatch"], check=True)
    print("plastimatch: installed")


class Worker:
    """The process of one tool, started by the first request and again after a crash."""

    def __init__(self, tool: str, envs: Path, log: Path) -> None:
        self.tool = tool
        self.log = log
        self.process: subprocess.Popen[str] | None = None
        name = tool.partition(":")[0]
        self.python = envs / name / "bin" / "python" if name in ENVIRONMENTS else Path(sys.executable)

    def _start(self) -> subprocess.Popen[str]:
        if not self.python.exists():
            raise ToolError(f"no environment at {self.python.parent.parent}: run setup")
        if self.tool.startswith("plastimatch") and not shutil.which("plastimatch"):
            raise ToolError("the program plastimatch is not installed: run setup")
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), str(THREADS)
        )
        environment = {**os.environ, **threads}
        command = [self.python, "-m", "benchmarks.drr_worker", self.tool]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        with self.log.open("a") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, **pipes)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send one request to `drr_worker.Worker` and return its answer."""
        if self.process is None or self.process.poll() is not None:
            self.process = self._start()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ToolError(f"its process ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ToolError(answer["error"])
        return answer

    def stop(self) -> None:
        """End the process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


def view(name: str, size: int) -> ConeBeam:
    """Return one of the three views.

    Args:
        name: pa, lateral or oblique.
        size: rows and columns of the detector.
    """
    numbers = {"sdd": 1800.0, "sod": 1500.0, "detector_size": 435.2, "detector_shape": (size, size)}
    if name == "lateral":
        return ConeBeam.lateral(detector_side="left", **numbers)
    frontal = ConeBeam.pa(**numbers)
    if name == "pa":
        return frontal
    turn, tilt = math.radians(25), math.radians(12)
    about_z = [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]
    rotation = np.array(about_x) @ np.array(about_z)
    parts = ("source", "detector_centre", "column_step", "row_step")
    return ConeBeam(**{part: rotation @ getattr(frontal, part) for part in parts}, detector_shape=(size, size))


def acquisition(names: Sequence[str], size: int) -> Acquisition:
    """Return how a volume of some voxels per side is projected to images of as many pixels per side.

    Args:
        names: names of the views, as in `view`.
        size: voxels and pixels per side.
    """
    return Acquisition(grid=VolumeGrid(size, CUBE_MM / size), geometry=[view(name, size) for name in names])


@dataclass
class Phantom:
    """The volume of one size with the float64 reference in each view."""

    size: int
    folder: Path
    _references: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def spacing(self) -> float:
        """Voxel spacing in mm."""
        return CUBE_MM / self.size

    @cached_property
    def mu(self) -> torch.Tensor:
        """(1, 1, D, H, W) in 1/mm."""
        shape = (self.size, self.size, self.size)
        mu = hu_to_mu(torch.from_numpy(thorax_phantom(0, shape, self.spacing).volume_hu)).reshape(1, 1, *shape)
        inside = (..., *[slice(AIR_LAYERS, -AIR_LAYERS)] * 3)
        framed = torch.zeros_like(mu)
        framed[inside] = mu[inside]
        return framed

    def reference(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Compute the image (rows, columns) of a view, and the gradient (D, H, W) of sum(image * weights)."""
        if name not in self._references:
            mu = self.mu.double().requires_grad_()
            scene = acquisition([name], self.size)
            image = project(mu, scene.grid, scene.views, backend="reference")[0, 0]
            (image * image.detach().float()).sum().backward()
            self._references[name] = image.detach().numpy(), mu.grad[0, 0].numpy()
        return self._references[name]

    def request(self, views: Sequence[str], copies: int, device: str) -> dict[str, Any]:
        """Write the arrays of a scene and return what a worker needs to load it."""
        volumes, weights = self.folder / f"volumes_{copies}.npy", self.folder / "weights.npy"
        np.save(volumes, self.mu[0].expand(copies, -1, -1, -1).numpy())
        np.save(weights, np.stack([self.reference(name)[0] for name in views]).astype(np.float32))
        numbers = acquisition(views, self.size).geometry_tensor(torch.float64).tolist()
        files = {"volumes": str(volumes), "weights": str(weights)}
        return {**files, "views": numbers, "spacing": self.spacing, "device": device}

    def error(self, path: Path, views: Sequence[str], mode: str) -> float:
        """Compute the relative RMSE of a worker's result."""
        result = np.load(path)
        if mode == "forward":
            expected = np.stack([self.reference(name)[0] for name in views])
        else:
            inside = (..., *[slice(AIR_LAYERS, -AIR_LAYERS)] * 3)
            expected = np.sum([self.reference(name)[1] for name in views], axis=0)[inside]
            result = result[inside]
        return float(np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected**2)))


@dataclass(frozen=True)
class Case:
    """One table."""

    device: str
    size: int
    mode: str
    views: tuple[str, ...]
    copies: int = 1

    @property
    def title(self) -> str:
        """Title on the page."""
        views = self.views[0] if self.copies == 1 else f"{self.copies} volumes x {len(self.views)} views"
        return f"{MODES[self.mode]}, {self.size}^3 to {self.size}^2, {views}, {self.device}"

    @property
    def bytes(self) -> int:
        """Size of the volumes and images in float32."""
        return 4 * self.copies * (self.size**3 + len(self.views) * self.size**2)


@dataclass
class Row:
    """Results of one tool in a table."""

    label: str
    views: tuple[str, ...]
    copies: int
    times: list[float] = field(default_factory=list)
    own_times: list[float] = field(default_factory=list)
    error: float = math.nan
    peak: int | None = None
    reason: str = ""


def measure(case: Case, phantom: Phantom, workers: dict[str, Worker], rounds: int) -> list[Row]:
    """Run one case; the first row is ours, and a tool without a result has a reason."""
    rows = {tool: Row(tool, case.views, case.copies) for tool in workers}
    jobs = [(workers[tool], row) for tool, row in rows.items()]
    if case.copies > 1:
        ours, row = jobs[0]
        jobs.insert(1, (ours, Row(f"{row.label}, one PA view", ("pa",), 1)))
    for worker, row in jobs:
        name = worker.tool.partition(":")[0]
        if case.device == "cuda" and name in NO_CUDA:
            row.reason = "it does not run on CUDA here"
        elif case.copies > 1 and case.size > SLOW_BATCH_SIZE and name in SLOW:
            row.reason = "it loops over volumes, minutes a round at this size"
        else:
            _try(row, lambda w=worker, r=row: _prepare(w, r, case, phantom))
    for turn in range(rounds):
        start = turn % len(jobs)
        for worker, row in jobs[start:] + jobs[:start]:
            _try(row, lambda w=worker, r=row: _time(w, r, case.mode))
    for worker, row in jobs:
        _try(row, lambda w=worker, r=row: w.ask("drop", scene=r.label))
    return [row for _, row in jobs]


def _try(row: Row, step: Callable[[], Any]) -> None:
    if row.reason:
        return
    try:
        step()
    except ToolError as error:
        row.reason = str(error)


def _prepare(worker: Worker, row: Row, case: Case, phantom: Phantom) -> None:
    result = phantom.folder / "result.npy"
    worker.ask("load", scene=row.label, **phantom.request(row.views, row.copies, case.device))
    worker.ask("save", scene=row.label, mode=case.mode, path=str(result))
    row.error = phantom.error(result, row.views, case.mode)
    row.peak = worker.ask("memory", scene=row.label, mode=case.mode)["bytes"]


def _time(worker: Worker, row: Row, mode: str) -> None:
    answer = worker.ask("time", scene=row.label, mode=mode)
    row.times.append(answer["ms"])
    if answer["own_ms"] is not None:
        row.own_times.append(answer["own_ms"])


def table(case: Case, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of a case.

    Args:
        case: the case.
        rows: results of `measure`, ours first.
    """
    ours = rows[0]
    yield f"#### {case.title}\n"
    yield "| tool | median ms | min-max ms | tool / ours | error | peak MiB | peak / (volumes + images) |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        if row.reason or not row.times:
            yield f"| {row.label} | not run here: {row.reason or 'no rounds'} | | | | | |"
            continue
        times = f"{statistics.median(row.times):.1f} | {min(row.times):.1f}-{max(row.times):.1f}"
        suspect = " (wrong geometry?)" if case.mode == "forward" and row.error > MODEL_LIMIT else ""
        size = case.bytes if (row.views, row.copies) == (case.views, case.copies) else None
        memory = f"{row.peak / 2**20:.1f} | {f'{row.peak / size:.2f}' if size else ''}"
        yield f"| {row.label} | {times} | {_compared(row.times, ours)} | {row.error:.1e}{suspect} | {memory} |"
        if row.own_times:
            own = f"{statistics.median(row.own_times):.1f} | {min(row.own_times):.1f}-{max(row.own_times):.1f}"
            yield f"| {row.label}, its own timer | {own} | {_compared(row.own_times, ours)} | | | |"
    if case.copies > 1 and ours.times and rows[1].times:
        images = case.copies * len(case.views)
        yield f"\nOurs takes {spread(ratios(ours.times, rows[1].times))} times one PA view for {images} images."
    yield ""


def _compared(times: Sequence[float], ours: Row) -> str:
    return spread(ratios(times, ours.times), ".2f") if ours.times else "-"


def losses(results: Sequence[tuple[Case, list[Row]]]) -> Iterator[str]:
    """Yield a line for each number in which another tool is better than ours.

    Args:
        results: every case with its rows, ours first.
    """
    for case, (ours, *others) in results:
        for row in others:
            if row.label.startswith("ours") or not row.times or not ours.times:
                continue
            for label, times in ((row.label, row.times), (f"{row.label} (its own timer)", row.own_times)):
                if times and statistics.median(ratios(times, ours.times)) < 1:
                    yield f"- {case.title}: {label} is faster, {_compared(times, ours)} of our time."
            if row.error < ours.error:
                errors = f"{row.error:.1e} against {ours.error:.1e}"
                yield f"- {case.title}: {row.label} is closer to float64 Joseph, {errors}."
            if row.peak < ours.peak:
                mib = f"{row.peak / 2**20:.1f} MiB against {ours.peak / 2**20:.1f}"
                yield f"- {case.title}: {row.label} needs less memory, {mib}."


def machine() -> Iterator[str]:
    """Yield the date, the machine and the versions."""
    yield f"- Date: {time.strftime('%Y-%m-%d')}"
    yield f"- Machine: {cpu_name()}, {os.cpu_count()} cores, {THREADS} threads per tool"
    yield f"- CUDA: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'not available here, not measured'}"
    pins = [
        f"{name} ({', '.join(p for call in calls for p in call if '==' in p)})" for name, calls in ENVIRONMENTS.items()
    ]
    if shutil.which("plastimatch"):
        pins.append(subprocess.run(["plastimatch", "--version"], capture_output=True, text=True).stdout.strip())
    yield f"- Versions: Python {sys.version.split()[0]}; ours (torch {torch.__version__}); {'; '.join(pins)}"


def _several(value: Any, allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the names in a comma-separated option, which fire may have split already."""
    names = tuple(str(v) for v in value) if isinstance(value, (tuple, list)) else tuple(str(value).split(","))
    for name in names:
        if name.partition(":")[0] not in allowed:
            raise SystemExit(f"{name!r} is unknown: choose from {', '.join(allowed)}")
    return names


def run(
    envs: str,
    output: str = "docs/benchmarks.md",
    rounds: int = 7,
    sizes: Any = (128, 256),
    views: Any = VIEWS,
    modes: Any = tuple(MODES),
    tools: Any = TOOLS,
    batch: bool = True,
    capability: str | None = None,
) -> None:
    """Measure and write the section. It is written again after each case, so that a stopped run leaves its results.

    Args:
        envs: folder of the environments that `setup` made.
        output: page that holds the section.
        rounds: turns of each tool.
        sizes: sides of the volume in voxels and of the detector in pixels, one or more.
        views: one or more of pa, lateral and oblique.
        modes: one or both of forward and gradient.
        tools: some of `TOOLS`, ours first; after a colon our backend or the renderer of the other tool.
        batch: whether to measure four volumes in two views too.
        capability: "avx2" keeps PyTorch's own kernels from AVX-512; its section is one of its own. FBGEMM, which
            sums rows for us, has no such switch.
    """
    if capability:
        os.environ["ATEN_CPU_CAPABILITY"] = capability
    title = f"{TITLE}, {capability} alone" if capability else TITLE
    torch.set_num_threads(THREADS)
    names_of_tools = _several(tools, [tool.partition(":")[0] for tool in TOOLS])
    if not names_of_tools[0].startswith("ours"):
        raise SystemExit("the first tool must be ours: the others are compared with it")
    kinds = [((name,), 1) for name in _several(views, VIEWS)] + ([(("pa", "lateral"), COPIES)] if batch else [])
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    results: list[tuple[Case, list[Row]]] = []
    page, folder = Path(output), Path(envs)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        workers = {tool: Worker(tool, folder, folder / "workers.log") for tool in names_of_tools}
        for size in map(int, sizes if isinstance(sizes, (tuple, list)) else (sizes,)):
            phantom = Phantom(size, Path(scratch))
            for device, mode, (names, copies) in itertools.product(devices, _several(modes, tuple(MODES)), kinds):
                case = Case(device, size, mode, names, copies)
                results.append((case, measure(case, phantom, workers, rounds)))
                print("\n".join(table(*results[-1])), flush=True)
                replace_section(page, title, _section(results, rounds))
        for worker in workers.values():
            worker.stop()


def _section(results: Sequence[tuple[Case, list[Row]]], rounds: int) -> Iterator[str]:
    assert __doc__ is not None
    yield from ("Written by `python -m benchmarks.drr run`.", "", *machine())
    yield from (f"- Rounds: {rounds}; load at the end {os.getloadavg()[0]:.1f}", "")
    yield from ("### Method", "", __doc__.partition("Method: ")[2], "### Results", "")
    for result in results:
        yield from table(*result)
    yield from ("### Losses", "", *(list(losses(results)) or ["None in this run."]))


if __name__ == "__main__":
    fire.Fire({"setup": setup, "run": run})
