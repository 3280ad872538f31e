"""Compare our training step of X2CT-GAN with the authors': time, peak memory, losses, shares of an epoch's time.

Writes its section of docs/benchmarks.md. Run from the repository, with a checkout of github.com/kylekma/X2CT:
    python -m benchmarks.training_step --official /path/to/X2CT --size 128 --rounds 5

Method: A step updates the generator and the discriminator in float32 (without TF32 on a GPU) on one volume, a phantom
with its radiographs. Ours is the trainer of bundle/configs/train.json as the config builds it, without its handlers,
its schedules, and the running average of weights, which the authors do not have and which has a row of its own. Theirs
is their model class (`MultiViewCTGAN`), imported unchanged from a checkout, with the options of their experiment
d2_multiview2500.yml. Both have the same weights (`networks.to_official`), the same Adam and the same seed, so that they
drop the same values. Each has a new process; both stay alive and take turns: ours, theirs, ours, theirs. Ratios are
formed within a round; above 1 ours is better. The first step warms up and gives the weighted losses; if one differs by
more than 1e-3 of its value, no ratio is given. "before" is the resident memory with everything imported, the networks
built and the batch loaded; "peak" is the maximum of the first two steps, the second of which has Adam's moments from
its start (on a GPU both count allocated tensors). Both sides import the same packages. glibc's malloc returns large
blocks after every step and requests them again; "tuned" lets it keep them (MALLOC_MMAP_MAX_=0,
MALLOC_TRIM_THRESHOLD_=100000000000, MALLOC_TOP_PAD_=268435456), on both sides. The other rows are ours alone, one after
the other, with ratios of medians per volume: with the running average, and with the memory presets of bundle/configs,
of whose accumulated batches only two are run, since the later ones are like the second. Without CUDA the presets
compute in float32. "Generator" is the time of a step until the update of the generator is done (its forward pass, the
losses with the frozen discriminator, the backward pass), "discriminator" the rest. The preprocessing before a step is
timed with the phantom's file in the disk cache, as the median of 5 runs.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fire

from benchmarks.official import checked_checkout, circumstances
from benchmarks.options import check_device, names
from benchmarks.report import ratios, replace_section, spread
from benchmarks.side import Side, attempt
from benchmarks.training_worker import LOSSES, Authors, Case, First, Ours, Turn
from conventions import InputError, report_input_errors

TITLE = "Training step"
"""Title of its section of the page."""

LARGEST_DIFFERENCE = 1e-3
"""Largest relative difference between the losses of the two sides."""

ALLOCATORS = {
    "plain": {},
    "tuned": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "268435456"},
}
"""Name of a setting of glibc's malloc -> its environment variables."""

ALONE: dict[str, dict[str, Any]] = {
    "ema": {"ema": True},
    "low_memory_6gb": {"overlay": "low_memory_6gb"},
    "low_memory_12gb": {"overlay": "low_memory_12gb"},
    "low_memory_24gb": {"overlay": "low_memory_24gb"},
}
"""Row of ours alone -> difference of its case."""

ONCE = "once per run, as train.json caches it without augmentation"
"""Remark on the pieces before the step."""


@dataclass
class Row:
    """Results of one side, or the reason why there are none."""

    label: str
    first: First | None = None
    turns: list[Turn] = field(default_factory=list)
    pieces: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def ran(self) -> bool:
        """Whether there are results."""
        return self.first is not None and bool(self.turns) and not self.reason

    @property
    def seconds(self) -> list[float]:
        """Seconds per volume, in each round."""
        assert self.first is not None
        return [turn.seconds / self.first.volumes for turn in self.turns]

    @property
    def median(self) -> float:
        """Median of the seconds per volume."""
        return statistics.median(self.seconds)

    @property
    def halves(self) -> dict[str, float]:
        """Seconds per volume in each of the two parts of a step."""
        share = statistics.median(turn.generator_seconds / turn.seconds for turn in self.turns)
        return {"generator": self.median * share, "discriminator": self.median * (1 - share)}

    @property
    def peak(self) -> int:
        """Peak of the first two steps in bytes."""
        return self.turns[0].peak


def measure(subjects: Mapping[str, tuple[Any, ...]], rounds: int) -> list[Row]:
    """Let subjects take turns, each in a process of its own.

    Args:
        subjects: label -> class and arguments.
        rounds: turns of each.

    Returns:
        One row for each subject.
    """
    rows = [Row(label) for label in subjects]
    sides = [Side() for _ in rows]
    try:
        for side, row, subject in zip(sides, rows, subjects.values(), strict=True):
            attempt(row, lambda s=side, r=row, made=subject: _start(s, r, made))
        for _ in range(rounds):
            for side, row in zip(sides, rows, strict=True):
                attempt(row, lambda s=side, r=row: r.turns.append(s.ask("turn")))
    finally:
        for side in sides:
            side.stop()
    return rows


def _start(side: Side, row: Row, subject: tuple[Any, ...]) -> None:
    side.load(*subject)
    row.pieces = side.ask("pieces")
    row.first = side.ask("first")


def difference(ours: Row, theirs: Row) -> dict[str, float]:
    """Return the relative difference of each loss of the first step, by the authors' names."""
    assert ours.first is not None
    assert theirs.first is not None
    mine, other = ours.first.losses, theirs.first.losses
    return {name: abs(mine[name] - other[name]) / abs(other[name]) for name in LOSSES.values()}


def agree(ours: Row, theirs: Row) -> bool:
    """Return whether both sides computed the same losses."""
    return all(d <= LARGEST_DIFFERENCE for d in difference(ours, theirs).values())


def table(allocator: str, case: Case, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the tables of one allocator.

    Args:
        allocator: a key of `ALLOCATORS`.
        case: the case of the pair.
        rows: ours, the authors', and those of ours alone.
    """
    ours, theirs, *alone = rows
    same = ours.ran and theirs.ran and agree(ours, theirs)
    yield f"#### {case.size}^3, {case.device}{f', {allocator} malloc' * (case.device == 'cpu')}\n"
    yield "| side | volumes a step | median s a volume | min-max | authors / ours | before MiB | peak MiB | authors / ours |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|"
    yield _line(theirs, "", "")
    yield _line(ours, spread(ratios(theirs.seconds, ours.seconds), ".2f") if same else "", _memory(theirs, ours, same))
    for row in alone:
        time = f"{theirs.median / row.median:.2f}" if same and row.ran else ""
        yield _line(row, time, _memory(theirs, row, same))
    yield ""
    yield from _losses(ours, theirs)
    yield from _epoch(ours, theirs)


def _memory(theirs: Row, row: Row, same: bool) -> str:
    return f"{theirs.peak / row.peak:.2f}" if same and row.ran else ""


def _line(row: Row, time_ratio: str, memory_ratio: str) -> str:
    if not row.ran:
        return f"| {row.label} | not run here: {row.reason or 'no rounds'} | | | | | | |"
    assert row.first is not None
    times = f"{row.median:.3g} | {min(row.seconds):.3g}-{max(row.seconds):.3g}"
    memory = f"{row.first.before / 2**20:.0f} | {row.peak / 2**20:.0f}"
    return f"| {row.label} | {row.first.volumes} | {times} | {time_ratio} | {memory} | {memory_ratio} |"


def _losses(ours: Row, theirs: Row) -> Iterator[str]:
    if ours.first is None or theirs.first is None:
        return
    yield f"| losses of the first step | {' | '.join(LOSSES.values())} |"
    yield "|---" * (len(LOSSES) + 1) + "|"
    for row in (ours, theirs):
        assert row.first is not None
        yield f"| {row.label} | {' | '.join(f'{row.first.losses[name]:.7f}' for name in LOSSES.values())} |"
    yield f"| relative difference | {' | '.join(f'{d:.1e}' for d in difference(ours, theirs).values())} |"
    yield "" if agree(ours, theirs) else f"\nThe losses differ by more than {LARGEST_DIFFERENCE:.0e}: not comparable.\n"


def _epoch(ours: Row, theirs: Row) -> Iterator[str]:
    """Yield the table of the time per volume in an epoch."""
    if not ours.ran:
        return
    seconds = ours.pieces | ours.halves
    others = theirs.halves if theirs.ran else {}
    yield "| of an epoch, a volume | ours s | share | authors s | |"
    yield "|---|---|---|---|---|"
    for piece, value in seconds.items():
        remark = ONCE if piece in ours.pieces else ""
        other = f"{others[piece]:.3g}" if piece in others else ""
        yield f"| {piece} | {value:.3g} | {100 * value / sum(seconds.values()):.1f} % | {other} | {remark} |"
    yield ""


def _section(results: Mapping[str, list[Row]], case: Case, official: Path, rounds: int) -> Iterator[str]:
    assert __doc__ is not None
    yield from ("Written by `python -m benchmarks.training_step`.", "")
    yield from circumstances(official, case.device, rounds)
    yield from ("", "### Method", "", __doc__.partition("Method: ")[2], "### Results", "")
    for allocator, rows in results.items():
        yield from table(allocator, case, rows)


def use_allocator(name: str) -> None:
    """Set the allocator of the processes that are started from here on."""
    for key in [key for key in os.environ if key.startswith("MALLOC_")]:
        del os.environ[key]
    os.environ.update(ALLOCATORS[name])


def run(
    official: str,
    output: str = "docs/benchmarks.md",
    size: int = 128,
    rounds: int = 5,
    device: str = "cpu",
    allocator: str = "both",
    alone: Any = tuple(ALONE),
) -> None:
    """Measure and write the section. It is written again after each row, so that a stopped run leaves its results.

    Args:
        official: checkout of https://github.com/kylekma/X2CT.
        output: page that holds the section.
        size: side of radiographs and volumes.
        rounds: turns of each side.
        device: cpu or cuda.
        allocator: plain, tuned or both; on a GPU there is no difference, and plain is used.
        alone: further rows of ours, some of ema and the memory presets.
    """
    checkout = checked_checkout(official)
    check_device(device)
    if allocator not in ("both", *ALLOCATORS):
        raise InputError(f"unknown allocator {allocator!r}: choose from both, {', '.join(ALLOCATORS)}")
    case = Case(device, size)
    further = {name: Case(device, size, **ALONE[name]) for name in names(alone, tuple(ALONE))}
    results: dict[str, list[Row]] = {}
    for name in ("plain",) if device == "cuda" else ALLOCATORS if allocator == "both" else (allocator,):
        use_allocator(name)
        results[name] = measure({"ours": (Ours, case), "authors": (Authors, case, checkout)}, rounds)
        replace_section(output, TITLE, _section(results, case, checkout, rounds))
        for label, other in further.items():
            results[name] += measure({f"ours, {label}": (Ours, other)}, rounds)
            replace_section(output, TITLE, _section(results, case, checkout, rounds))
        print("\n".join(table(name, case, results[name])), flush=True)


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(run)
