"""Recognise DRRs, which keep their film values, by the mark in their files."""

from __future__ import annotations

from typing import Any

from conventions import Mark, MarkKind, View, read_mark


def drr_mark(text: Any) -> Mark | None:
    """Read a text that may be the mark of a DRR.

    Args:
        text: whatever was found in the place of a mark.

    Returns:
        The mark; None where the text is none, or the mark of another image.
    """
    mark = read_mark(text)
    return mark if mark is not None and mark.kind is MarkKind.COMPUTED_RADIOGRAPH else None


def marked_view(mark: Mark) -> View | None:
    """Return the view that a mark names, None if it names none or one that no model reads."""
    if mark.view in tuple(View):
        return View(mark.view)
    return View.LATERAL if mark.view.endswith("_lateral") else None
