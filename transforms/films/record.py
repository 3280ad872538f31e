"""What was found, assumed, changed and doubted about one radiograph."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

logger = logging.getLogger("x2ct.films")


class DecisionKind(StrEnum):
    """How sure a decision is, and whether it touched the pixels."""

    FOUND = "found"
    """Stated by the file."""
    ASSUMED = "assumed"
    """Not stated; the usual taken."""
    CHANGED = "changed"
    """Done to the pixels."""
    DOUBT = "doubt"
    """May be wrong; a person should look."""


@dataclass(frozen=True)
class Decision:
    """One decision.

    Args:
        kind: found, assumed, changed or doubt.
        subject: one short word: "polarity", "spacing", "view".
        text: one sentence, without anything that names a person, a day or an identifier.
        confidence: in [0, 1]; None where it was not estimated.
    """

    kind: DecisionKind
    subject: str
    text: str
    confidence: float | None = None


class DecisionRecord:
    """The decisions about one film, in the order in which they were taken.

    Doubts are logged as warnings under "x2ct.films" as they come; what is said twice is noted once.

    Args:
        file: named in these warnings and in errors; it is not part of what `to_list` and `lines` give.
    """

    def __init__(self, file: str = "") -> None:
        self.file = file
        self.decisions: list[Decision] = []

    def found(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what the file states."""
        self._add(DecisionKind.FOUND, subject, text, confidence)

    def assumed(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what was taken for granted."""
        self._add(DecisionKind.ASSUMED, subject, text, confidence)

    def changed(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what was done to the pixels."""
        self._add(DecisionKind.CHANGED, subject, text, confidence)

    def doubt(self, subject: str, text: str, confidence: float | None = None) -> None:
        """Note what may be wrong, and warn of it."""
        if self._add(DecisionKind.DOUBT, subject, text, confidence):
            logger.warning("%s: %s: %s", self.file or "radiograph", subject, text)

    @property
    def doubts(self) -> list[Decision]:
        """The decisions that a person should look at."""
        return [decision for decision in self.decisions if decision.kind is DecisionKind.DOUBT]

    def to_list(self) -> list[dict[str, Any]]:
        """The decisions for a JSON file: kind, subject, text and, where estimated, confidence."""
        return [
            {
                key: str(value) if key == "kind" else value
                for key, value in asdict(decision).items()
                if value is not None
            }
            for decision in self.decisions
        ]

    def lines(self) -> list[str]:
        """The decisions for printing, one a line."""
        return [
            f"{decision.kind:<8} {decision.subject}: {decision.text}"
            + (f" (confidence {decision.confidence:.2f})" if decision.confidence is not None else "")
            for decision in self.decisions
        ]

    def _add(self, kind: DecisionKind, subject: str, text: str, confidence: float | None) -> bool:
        """Whether the decision is new; the same one is noted once."""
        decision = Decision(kind, subject, text, confidence)
        new = decision not in self.decisions
        if new:
            self.decisions.append(decision)
        return new
