"""Write the page of an evaluation, and those of its worst, median and best cases."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from reports import cases_to_show, read_measures, write_evaluation_page, write_pages

logger = logging.getLogger("x2ct.evaluation")


class EvaluationPages:
    """Handler of an evaluator that writes `pages/<case>.html` of some of its cases, then `report.html` of them all.

    It reads what `NiftiWriter`, `CaseFigures` and `EvaluationSummary` have written, as `python -m reports case` does
    for any other case, and `python -m reports cohort` for the report. With several processes, the first one writes.

    Args:
        output_dir: the `output_dir` of the evaluation; pages of an earlier run are renamed.
        count: number of pages; of three, they are those of the worst, the median and the best case by PSNR.
    """

    def __init__(self, output_dir: str | os.PathLike[str], count: int = 3) -> None:
        self.output_dir = Path(output_dir)
        self.count = count

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the pages."""
        if idist.get_rank() == 0:
            write_pages(self.output_dir, cases_to_show(read_measures(self.output_dir), self.count))
            logger.info("wrote %s", write_evaluation_page(self.output_dir))
