"""Say what a training run of translators will do and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engines import bare

from .announcement import Announcement, logger
from .memory import count_parameters


class TranslationAnnouncement(Announcement):
    """As `Announcement`, for a trainer of translators between films and DRRs.

    Args:
        films: the films.
        cases: the CTs.
        output_dir: as in `Announcement`.
        ckpt_dir: as in `Announcement`.
    """

    def __init__(self, films: Sequence[Any], cases: Sequence[Any], output_dir: str, ckpt_dir: str) -> None:
        super().__init__(films, cases, output_dir, ckpt_dir)

    def _say_what(self, engine: Any) -> None:
        logger.info(
            "training a translator of %.1f M parameters on %s: %d films, %d CTs",
            count_parameters(bare(engine.network)) / 1e6,
            engine.state.device,
            len(self.train_data),
            len(self.val_data),
        )

    def _say_memory(self, engine: Any) -> None:
        """Log nothing: the memory of these trainers is not estimated."""
