"""Measure the cost of the consistency update next to that of a projection.

Writes its section of docs/benchmarks.md. Run from the repository: python -m benchmarks.consistency [--rounds 7]

Method: A phantom of 128^3 voxels, its blurred form as the prediction, PA and lateral DRRs of 128 x 128 pixels of preset
`chest`. Each round times one projection of both views (the project's fast ray caster) and one update with its defaults
(`given` and `monotone` tones), in turn, after one of each that is not counted; the ratio is that of the round. Memory
is the peak of the process's resident memory, which a projection determines but for a few volumes of 8 MiB, and of that
what came on top of what was in use before, the volume and the films among it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fire
import torch
from torch.nn.functional import avg_pool3d

from benchmarks.memory import forget_peak, peak_bytes
from benchmarks.report import cpu_name, ratios, replace_section, spread
from cohort import thorax_phantom
from conventions import hu_to_unit, report_input_errors, unit_to_hu
from drr import Acquisition, hu_to_mu, project
from networks import ConsistencyUpdate
from transforms import RayCastDRR

TITLE = "Consistency update"
"""Title of its section of the page."""

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"

ACQUISITION = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="centre")
"""128^3 voxels, 128 x 128 pixels."""


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the peak of resident memory in MiB, and its part on top of what was in use before."""
    before = forget_peak()
    work()
    return peak_bytes() / 2**20, (peak_bytes() - before) / 2**20


@torch.no_grad()
def measure(
    rounds: int = 7, page: str = str(Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md")
) -> None:
    """Measure, print and write the section.

    Args:
        rounds: rounds that are timed.
        page: the page.
    """
    volume_hu = torch.from_numpy(thorax_phantom(0).volume_hu)[None]
    image = RayCastDRR(ACQUISITION)(volume_hu).as_tensor()[None]
    predicted = avg_pool3d(hu_to_unit(volume_hu)[None], 5, 1, 2, count_include_pad=False)
    mu = hu_to_mu(unit_to_hu(predicted))
    work: dict[str, Callable[[], Any]] = {
        "projection": lambda: project(mu, ACQUISITION.grid, ACQUISITION.views),
        **{f"update, tones {tone}": _update_with(tone, predicted, image) for tone in ("given", "monotone")},
    }
    for do in work.values():
        do()
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(int(rounds)):
        for name, do in work.items():
            times[name].append(_timed(do))
    peaks = {name: _peak(do) for name, do in work.items()}
    lines = [
        f"`python -m benchmarks.consistency`, {cpu_name()}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, {rounds} rounds; medians, smallest and largest in brackets.",
        "",
        "| | ms | projections | peak MiB | of a projection's | on top MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in times.items():
        ms = spread([1000 * value for value in values], ".0f")
        lines.append(
            f"| {name} | {ms} | {spread(ratios(values, times['projection']), '.0f')} | {peaks[name][0]:.0f} | "
            f"{peaks[name][0] / peaks['projection'][0]:.2f} | {peaks[name][1]:.0f} |"
        )
    replace_section(page, TITLE, lines)
    print("\n".join(lines))


def _update_with(tone: str, predicted: torch.Tensor, image: torch.Tensor) -> Callable[[], Any]:
    update = ConsistencyUpdate(ACQUISITION, tone=tone)
    return lambda: update(predicted, image)


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(measure)
