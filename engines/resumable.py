"""Step the schedules of a trainer, and continue a run that was stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.handlers import LrScheduleHandler

from .distributed import bare


class Resumable:
    """Mix-in for trainers, listed before MONAI's class, that steps schedules after every epoch and resumes runs.

    Attributes:
        parts: everything that changes while the trainer runs: name -> object with `state_dict` and `load_state_dict`.
        resume: the handler that saves and restores these parts, or None.
    """

    parts: dict[str, Any]
    resume: Any

    def make_resumable(self, parts: Mapping[str, Any], schedules: Sequence[Any], resume: Any) -> None:
        """Register the schedules and the resume handler; call this last, after all other handlers are attached.

        Args:
            parts: networks, optimisers, schedules, averages, by name; None is left out.
            schedules: schedules of learning rates, stepped after every epoch; None is left out.
            resume: has `attach(trainer)` and `restore(trainer) -> bool`, for example `handlers.Resume`; None saves
                nothing.
        """
        self.parts = {name: bare(part) for name, part in parts.items() if part is not None}
        self.resume = resume
        for schedule in schedules:
            if schedule is not None:
                LrScheduleHandler(schedule, print_lr=False).attach(self)
        if resume is not None:
            resume.attach(self)

    def run(self) -> None:
        """Train to the last epoch, starting at the first one or where `resume` continues.

        A trainer that has trained before, as in the rounds of a federation, continues from where it is.
        """
        if self.state.epoch > 0 or self.resume is None or self.resume.restore(self):  # type: ignore[attr-defined]
            super().run()  # type: ignore[misc]
