"""Record what was found, assumed, changed and doubted about one film or CT."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

FILMS_LOG = "x2ct.films"
"""Logger of the doubts about films."""


class DecisionKind(StrEnum):
    """Kind of a decision: how sure it is, and whether it changed the pixels."""

    FOUND = "found"
    """Stated by the file."""
    ASSUMED = "assumed"
    """Not stated by the file; the usual value is taken."""
    CHANGED = "changed"
    """A change to the pixels or voxels."""
    DOUBT = "doubt"
    """May be wrong; a person should check it."""


@dataclass(frozen=True)
class Decision:
    """Decision about a film or a CT.

    Args:
        kind: found, assumed, changed or doubt.
        subject: one short word, for example "polarity", "spacing" or "view".
        text: one sentence, without anything that names a person, a day or an identifier.
        confidence: in [0, 1]; None where it was not estimated.
    """

    kind: DecisionKind
    subject: str
    text: str
    confidence: float | None = None


class DecisionRecord:
    """Decisions about one film or CT, in the order in which they were made.

    Doubts are logged as warnings. The same decision is noted once.

    Args:
        file: name of the file, or the view, for these warnings and for errors; `to_list` and `lines` do not contain it.
        log: name of the logger; None logs nothing.
    """

    def __init__(self, file: str = "", log: str | None = FILMS_LOG) -> None:
        self.file = file
        self.log = log
        self.decisions: list[Decision] = []

    def found(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what the file states."""
        self._add(DecisionKind.FOUND, subject, text, confidence)

    def assumed(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what was assumed."""
        self._add(DecisionKind.ASSUMED, subject, text, confidence)

    def changed(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note a change to the pixels."""
        self._add(DecisionKind.CHANGED, subject, text, confidence)

    def doubt(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what may be wrong, and log a warning."""
        if self._add(DecisionKind.DOUBT, subject, text, confidence) and self.log is not None:
            logging.getLogger(self.log).warning("%s: %s: %s", self.file or "radiograph", subject, text)

    @property
    def doubts(self) -> list[Decision]:
        """The decisions that a person should check."""
        return [decision for decision in self.decisions if decision.kind is DecisionKind.DOUBT]

    def to_list(self) -> list[dict[str, Any]]:
        """Return the decisions for JSON: kind, subject, text and, where estimated, confidence."""
        return [
            {
                key: str(value) if key == "kind" else value
                for key, value in asdict(decision).items()
                if value is not None
            }
            for decision in self.decisions
        ]

    @classmethod
    def from_list(cls, decisions: Sequence[Mapping[str, Any]], file: str = "") -> DecisionRecord:
        """Rebuild a record from what `to_list` returned, for a file or view; nothing is logged again."""
        record = cls(file)
        record.decisions = [
            Decision(DecisionKind(one["kind"]), one["subject"], one["text"], one.get("confidence")) for one in decisions
        ]
        return record

    def lines(self) -> list[str]:
        """Return the decisions for printing, one per line."""
        return [
            f"{decision.kind:<8} {decision.subject}: {decision.text}"
            + (f" (confidence {decision.confidence:.2f})" if decision.confidence is not None else "")
            for decision in self.decisions
        ]

    def _add(self, kind: DecisionKind, subject: str, text: str, confidence: float | None) -> bool:
        """Note a decision and return whether it is new."""
        decision = Decision(kind, subject, text, confidence)
        new = decision not in self.decisions
        if new:
            self.decisions.append(decision)
        return new
