"""Our training step of X2CT-GAN beside the authors': time, peak memory, losses, and where an epoch's time goes.

Writes its section of docs/benchmarks.md. Run from the repository, with a checkout of github.com/kylekma/X2CT:
    python -m benchmarks.training_step --official /path/to/X2CT --size 128 --rounds 5

Method: A step is both updates, generator and discriminator, in float32 (without TF32 on a GPU) on one volume, a phantom
with its radiographs. Ours is the trainer of bundle/configs/train.json as the config makes it, but for its handlers and
the running average of weights, which the authors do not have and which has a row of its own. Theirs is their model
class (`MultiViewCTGAN`) imported from a checkout, unchanged, with the options of their experiment d2_multiview2500.yml.
Both have the same weights (`networks.to_official`), the same Adam and the same seed, so that the same values are
dropped. Each has a fresh process, both stay alive and take turns: ours, theirs, ours, theirs. Ratios are formed within
a round; above 1 ours is better. The first step warms up and gives the losses, weights included; where one differs by
more than 1e-3 of itself, no ratio is given. "before" is what is resident with everything imported, the networks made
and the batch loaded; "peak" is the most of the first two steps, of which the second has Adam's moments from its start
(on a GPU both count allocated tensors). Both sides import the same packages. glibc's malloc gives large blocks back
after every step and fetches them anew; "tuned" lets it keep them (MALLOC_MMAP_MAX_=0,
MALLOC_TRIM_THRESHOLD_=100000000000, MALLOC_TOP_PAD_=268435456), on both sides. The other rows are ours alone, one after
the other, and their ratios are of medians and of a volume: with the running average, and with the memory presets of
bundle/configs, of whose accumulated batches two are run, as the later ones are like the second. Without CUDA the
presets compute in float32. "Generator" is what a step takes until the generator's update is done (its forward pass, the
losses with the frozen discriminator, and back), "discriminator" the rest. What comes before a step is timed on the
phantom's file, warm, in the median of 5.
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
"""Of its section of the page."""

LARGEST_DIFFERENCE = 1e-3
"""Between the two sides' losses, relative."""

ALLOCATORS = {
    "plain": {},
    "tuned": {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "268435456",
    },
}
"""Name -> what glibc's malloc reads from the environment."""

ALONE: dict[str, dict[str, Any]] = {
    "ema": {"ema": True},
    "memory_6gb": {"overlay": "memory_6gb"},
    "memory_12gb": {"overlay": "memory_12gb"},
    "memory_24gb": {"overlay": "memory_24gb"},
}
"""Rows of ours alone -> how their case differs."""

ONCE = "once a run, as train.json caches it without augmentation"


@dataclass
class Row:
    """What one side gave, or why it did not."""

    label: str
    first: First | None = None
    turns: list[Turn] = field(default_factory=list)
    pieces: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def ran(self) -> bool:
        """Whether there are figures."""
        return self.first is not None and bool(self.turns) and not self.reason

    @property
    def seconds(self) -> list[float]:
        """Of a volume, in each round."""
        assert self.first is not None
        return [turn.seconds / self.first.volumes for turn in self.turns]

    @property
    def median(self) -> float:
        """Seconds of a volume."""
        return statistics.median(self.seconds)

    @property
    def halves(self) -> dict[str, float]:
        """Seconds of a volume in either part of a step."""
        share = statistics.median(turn.generator_seconds / turn.seconds for turn in self.turns)
        return {"generator": self.median * share, "discriminator": self.median * (1 - share)}

    @property
    def peak(self) -> int:
        """Bytes, of the first two steps."""
        return self.turns[0].peak


def measure(subjects: Mapping[str, tuple[Any, ...]], rounds: int) -> list[Row]:
    """Let subjects take turns, each in a process of its own.

    Args:
        subjects: label -> class and arguments.
        rounds: turns of each.

    Returns:
        A row each.
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
    """Relative difference of each loss of the first step, by the authors' names."""
    assert ours.first is not None
    assert theirs.first is not None
    mine, other = ours.first.losses, theirs.first.losses
    return {name: abs(mine[name] - other[name]) / abs(other[name]) for name in LOSSES.values()}


def agree(ours: Row, theirs: Row) -> bool:
    """Whether both computed the same losses."""
    return all(d <= LARGEST_DIFFERENCE for d in difference(ours, theirs).values())


def table(allocator: str, case: Case, rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the tables under one allocator.

    Args:
        allocator: a key of `ALLOCATORS`.
        case: what the pair ran.
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
    """Where the time of a volume goes."""
    if not ours.ran:
        return
    seconds = ours.pieces | ours.halves
    beside = theirs.halves if theirs.ran else {}
    yield "| of an epoch, a volume | ours s | share | authors s | |"
    yield "|---|---|---|---|---|"
    for piece, value in seconds.items():
        remark = ONCE if piece in ours.pieces else ""
        other = f"{beside[piece]:.3g}" if piece in beside else ""
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
    """Let the processes that are started from here on use an allocator."""
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
    """Measure and write the section. It is written anew after each row: a run that is cut short leaves what it has.

    Args:
        official: checkout of https://github.com/kylekma/X2CT.
        output: the page that the section belongs to.
        size: side of radiographs and volumes.
        rounds: turns of each side.
        device: cpu or cuda.
        allocator: plain, tuned or both; on a GPU there is no difference, and plain is used.
        alone: which further rows of ours, of ema, memory_6gb, memory_12gb and memory_24gb.
    """
    checkout = checked_checkout(official)
    check_device(device)
    if allocator not in ("both", *ALLOCATORS):
        raise InputError(f"allocator {allocator!r} is none of both, {', '.join(ALLOCATORS)}")
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
