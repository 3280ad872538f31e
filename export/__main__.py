"""`python -m export`: make one bundle of a model. Each command has `--help`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import fire

from conventions import report_input_errors

from .archive import write_archive


def archive(
    destination: str, checkpoint: str, overlays: Sequence[str] | str | None = None, evaluation: str | None = None
) -> None:
    """Make one self-contained bundle of a model: configs, weights, code, model card and licence in one folder.

    `monai.bundle` runs it from any folder (--bundle_root), and `monai.bundle.load`, MONAI Label and the model zoo get
    the right network from it. The keys of the patients that the model has seen are left out.

    Examples:
        python -m export archive output/x2ct_bundle --checkpoint output/demo/raylift/models/model.pt

    Args:
        destination: folder to make; it must not exist, or be empty.
        checkpoint: the model file, with model.json next to it.
        overlays: names of the overlays of its training, such as chest,raylift; by default those in run.json next to it.
        evaluation: folder of an evaluation of this model, whose figures go into metadata.json.
    """
    names = overlays.split(",") if isinstance(overlays, str) else overlays
    made = write_archive(str(destination), str(checkpoint), names, None if evaluation is None else str(evaluation))
    print(f"the bundle is in {made}")


if __name__ == "__main__":
    report_input_errors()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire({"archive": archive})
