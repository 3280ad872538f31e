"""`python -m transforms`: what reading radiographs rests on. Ask for `--help` after a command."""

from __future__ import annotations

import logging

import fire

from conventions import report_input_errors, set_aside

from .films.make_reference import make_reference
from .films.reference import REFERENCE_FILE


def reference(folder: str, output: str = str(REFERENCE_FILE)) -> None:
    """Compute where lungs lie in radiographs of CTs, what a mean thorax looks like and how its tones are spread.

    Args:
        folder: of CTs in NIfTI format, whole chests; 2 s a CT.
        output: JSON file; an earlier one is renamed.
    """
    set_aside(output)
    print(f"wrote {make_reference(folder, output)}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report_input_errors()
    fire.Fire({"reference": reference})
