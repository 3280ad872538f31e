"""Write docs/benchmarks.md, a page of sections, each written by its benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from conventions import InputError
from storage import write_atomically

HEAD = "# Benchmarks\n\nEach section is written by the program that it names; do not edit it by hand.\n"
"""Beginning of a new page."""


def replace_section(page: str | Path, title: str, lines: Iterable[str]) -> None:
    """Replace one section and leave the others as they are; hidden comments mark its beginning and its end.

    Args:
        page: the Markdown page, which is made if it is missing.
        title: title of the section, by which it is found again.
        lines: content of the section.

    Raises:
        InputError: where the mark of the section's end is missing.
    """
    page = Path(page)
    begin, end = f"<!-- begin: {title} -->", f"<!-- end: {title} -->"
    text = page.read_text() if page.exists() else HEAD
    before, found, rest = text.partition(begin)
    if found and end not in rest:
        raise InputError(f"{page}: the line {end!r} is missing; put it back where the section ends")
    if not found:
        before = f"{text.rstrip()}\n\n"
    after = rest.partition(end)[2] or "\n"
    content = "\n".join(lines).strip()
    write_atomically(page, lambda path: path.write_text(f"{before}{begin}\n\n## {title}\n\n{content}\n\n{end}{after}"))


def ratios(times: Sequence[float], base: Sequence[float]) -> list[float]:
    """Divide the times of one side by those of another, round by round."""
    return [mine / other for mine, other in zip(times, base, strict=False)]


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Format the median, with the smallest and the largest value in brackets."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}-{max(values):{form}}]"


def cpu_name() -> str:
    """Return the name of the CPU."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return models[0].partition(": ")[2] if models else "CPU of unknown name"
