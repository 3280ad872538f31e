"""`python -m reports`: what an evaluation found."""

from __future__ import annotations

import fire

from conventions import report_input_errors

from .summary import summary_table


def summary(folder: str) -> None:
    """Print the figures of an evaluation and where its files lie.

    Args:
        folder: the output_dir of the evaluation.
    """
    print(summary_table(str(folder)))


if __name__ == "__main__":
    report_input_errors()
    fire.Fire({"summary": summary}, name="reports")
