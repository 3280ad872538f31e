"""Compare our generators and discriminator with the X2CT authors' code: time, memory, multiply-adds, difference.

Writes its section of docs/benchmarks.md. Run from the repository, with a checkout of github.com/kylekma/X2CT:
    python -m benchmarks.networks --official /path/to/X2CT --sizes 128 --batches 1,4 --rounds 5

Method: The authors' code is imported from a checkout, unchanged, and runs on the same torch with the same weights
(`networks.to_official`) and the same random input, in float32 (without TF32 on a GPU). Each case has two new processes,
ours and theirs, which stay alive and take turns: ours, theirs, ours, theirs. Ratios are formed within a round; above 1
ours is better. "forward" is in evaluation mode without gradients, with instance norms that use the statistics of the
image itself, as the authors test; "forward + backward" is in training mode, as they train, with the gradient of the
mean output with respect to all weights. The first call of a process is not timed. It gives the output, with the same
values dropped on both sides, and the memory: "before" is the resident memory with everything imported and the weights
loaded, "adds" is what the call adds at its peak (on a GPU both count allocated tensors). glibc's malloc is used with
its defaults; figures vary by about 5 % from run to run. The difference is the largest absolute difference of an output
voxel, and the difference in the norm of all gradients, in per cent; if outputs differ by more than 5e-3, no ratio is
given. Multiply-adds are those of convolutions and matrix products as torch counts them. The authors' biplanar generator
also computes a volume from each view, which is not used as shipped.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fire
import numpy as np

from benchmarks.memory import available_bytes
from benchmarks.network_worker import KINDS, Case, Counts, First, Subject
from benchmarks.official import checked_checkout, circumstances
from benchmarks.options import check_device, names, several
from benchmarks.report import ratios, replace_section, spread
from benchmarks.side import Side, attempt
from conventions import report_input_errors

TITLE = "Networks"
"""Title of its section of the page."""

MODES = {"forward": "forward", "gradient": "forward + backward"}

LARGEST_DIFFERENCE = 5e-3
"""Largest difference of two outputs due to rounding alone; their standard deviation is a few tenths."""

RESERVE = 2 * 2**30
"""Bytes of memory left to other programs, and to the other side between its calls."""


@dataclass
class Row:
    """Results of one side, or the reason why there are none."""

    label: str
    first: First | None = None
    counts: Counts | None = None
    seconds: list[float] = field(default_factory=list)
    reason: str = ""

    @property
    def added(self) -> int:
        """Bytes that the first call added at its peak."""
        assert self.first is not None
        return self.first.peak - self.first.before


def measure(case: Case, official: Path, rounds: int, needed: Sequence[float]) -> list[Row]:
    """Run one case.

    Args:
        case: the case.
        official: the authors' checkout.
        rounds: turns of each side.
        needed: bytes that a call of each side is expected to need on the CPU; 0 if that is not known.

    Returns:
        Our row and the authors'.
    """
    rows = [Row("ours"), Row("authors")]
    sides = [Side(), Side()]
    try:
        for side, row, checkout, expected in zip(sides, rows, (None, official), needed, strict=True):
            attempt(row, lambda s=side, r=row, c=checkout, e=expected: _prepare(s, r, case, c, e))
        for _ in range(rounds):
            for side, row in zip(sides, rows, strict=True):
                attempt(row, lambda s=side, r=row: r.seconds.append(s.ask("turn")))
    finally:
        for side in sides:
            side.stop()
    return rows


def _prepare(side: Side, row: Row, case: Case, official: Path | None, expected: float) -> None:
    side.load(Subject, case, official)
    row.counts = side.ask("counts")
    available = available_bytes() - RESERVE
    if case.device == "cpu" and expected > available:
        gib = f"{expected / 2**30:.1f} GiB, and {max(0, available) / 2**30:.1f} GiB are free"
        row.reason = f"judging by batch 1 it needs about {gib}"
        return
    row.first = side.ask("first")


def table(results: Sequence[tuple[Case, list[Row]]]) -> Iterator[str]:
    """Yield the lines of the table of one network at one size.

    Args:
        results: its cases, each with our row and the authors'.
    """
    case, rows = results[0]
    numbers = {row.label: f"{row.counts.parameters:,}" for row in rows if row.counts is not None}
    yield f"#### {case.network}, {case.size}^3, {case.device}\n"
    yield f"Parameters: {', '.join(f'{label} {number}' for label, number in numbers.items())}.\n"
    yield "| mode | batch | side | GMAC | median s | min-max s | authors / ours | before MiB | adds MiB | adds, authors / ours | difference |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for case, rows in results:
        yield from _lines(case, rows)
    yield ""


def _lines(case: Case, rows: Sequence[Row]) -> Iterator[str]:
    ours, theirs = rows
    time_ratio, memory_ratio, difference = "", "", ""
    if ours.first is not None and theirs.first is not None:
        difference, same = _difference(ours.first, theirs.first)
        if same and ours.seconds and theirs.seconds:
            time_ratio = spread(ratios(theirs.seconds, ours.seconds), ".2f")
        memory_ratio = f"{theirs.added / ours.added:.2f}" if same else ""
    for row in rows:
        start = f"| {MODES[case.mode]} | {case.batch} | {row.label} |"
        macs = f"{row.counts.multiply_adds / 1e9:.1f}" if row.counts is not None else ""
        if row.first is None or row.reason or not row.seconds:
            yield f"{start} {macs} | not run here: {row.reason or 'no rounds'} | | | | | | |"
            continue
        times = f"{statistics.median(row.seconds):.3g} | {min(row.seconds):.3g}-{max(row.seconds):.3g}"
        memory = f"{row.first.before / 2**20:.0f} | {row.added / 2**20:.0f}"
        if row is ours:
            yield f"{start} {macs} | {times} | | {memory} | | |"
        else:
            yield f"{start} {macs} | {times} | {time_ratio} | {memory} | {memory_ratio} | {difference} |"


def _difference(ours: First, theirs: First) -> tuple[str, bool]:
    """Return the cell with the difference of the two sides, and whether they may be compared."""
    if ours.output.shape != theirs.output.shape:
        return f"shapes {ours.output.shape} and {theirs.output.shape}: not comparable", False
    largest = float(np.abs(ours.output - theirs.output).max())
    if not largest <= LARGEST_DIFFERENCE:
        return f"{largest:.1e}: not comparable", False
    if not theirs.gradient_norm:
        return f"{largest:.1e}", True
    return f"{largest:.1e}; {100 * abs(ours.gradient_norm / theirs.gradient_norm - 1):.2g} %", True


def _section(results: Sequence[tuple[Case, list[Row]]], official: Path, rounds: int) -> Iterator[str]:
    assert __doc__ is not None
    yield from ("Written by `python -m benchmarks.networks`.", "")
    yield from circumstances(official, results[0][0].device, rounds)
    yield from ("", "### Method", "", __doc__.partition("Method: ")[2], "### Results", "")
    for _, group in itertools.groupby(results, lambda result: (result[0].network, result[0].size, result[0].device)):
        yield from table(list(group))


def run(
    official: str,
    output: str = "docs/benchmarks.md",
    rounds: int = 5,
    sizes: Any = 128,
    batches: Any = (1, 4),
    device: str = "cpu",
    networks: Any = tuple(KINDS),
    modes: Any = tuple(MODES),
) -> None:
    """Measure and write the section. It is written again after each case, so that a stopped run leaves its results.

    Args:
        official: checkout of https://github.com/kylekma/X2CT.
        output: page that holds the section.
        rounds: turns of each side.
        sizes: sides of radiographs and volumes, one or more.
        batches: batch sizes, one or more; 1 is always measured, since the memory of the others is estimated from it.
        device: cpu or cuda.
        networks: some of x2ct_biplanar, x2ct_single_view and patchgan_3d.
        modes: one or both of forward and gradient.
    """
    checkout = checked_checkout(official)
    check_device(device)
    for key in [key for key in os.environ if key.startswith("MALLOC_")]:
        del os.environ[key]  # the processes run with the default malloc
    results: list[tuple[Case, list[Row]]] = []
    numbers = sorted({1, *map(int, several(batches))})
    for network, size, mode in itertools.product(
        names(networks, tuple(KINDS)), map(int, several(sizes)), names(modes, tuple(MODES))
    ):
        single = [0, 0]
        for batch in numbers:
            case = Case(device, network, size, mode, batch)
            rows = measure(case, checkout, rounds, [batch * added for added in single])
            results.append((case, rows))
            print("\n".join(table(results[-1:])), flush=True)
            replace_section(output, TITLE, _section(results, checkout, rounds))
            if batch == 1:
                single = [row.added if row.first is not None else 0 for row in rows]


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(run)
