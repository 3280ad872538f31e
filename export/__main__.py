"""`python -m export`: predicted CTs as DICOM, a folder of studies, one bundle of a model. Each has `--help`."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Any

from conventions import run_command

from .archive import write_archive
from .dicom_series import write_dicom_series
from .predicted import read_synthetic_ct
from .studies import StudyFolder
from .study import model_for_studies, predict_study

SOME_FAILED = 3
"""Exit status where a study failed."""


def dicom(
    volume: str, output: str, pa: str | None = None, lateral: str | None = None, corner_text: bool = False
) -> None:
    """Write a CT that `inferring` predicted as a DICOM series, marked as synthetic.

    Patient and study are those of the films, which must be the ones that the CT was predicted from; nothing but you can
    know that they are. Without films, or with films that are pictures, the patient has no name.

    Examples:
        python -m export dicom output/inference/synthetic_ct.nii.gz --pa pa.dcm --lateral lateral.dcm --output OUT

    Args:
        volume: NIfTI file of the CT, its sidecar next to it.
        output: folder to make; it must not exist, or be empty.
        pa: file of the PA film.
        lateral: file of the lateral film.
        corner_text: burn SYNTHETIC CT into a corner of each slice.
    """
    voxels, affine, sidecar = read_synthetic_ct(volume)
    films = [film for film in (pa, lateral) if film is not None]
    model, radiographs = sidecar.get("model"), sidecar.get("radiographs", [])
    made = write_dicom_series(output, voxels, affine, model, films, radiographs, corner_text)
    print(f"{len(list(made.iterdir()))} slices are in {made}")


def studies(
    source: str,
    destination: str,
    checkpoint: str | None = None,
    watch: bool = False,
    settle: float = 10,
    **options: Any,
) -> None:
    """Predict the CT of each study in a folder, and write it as a DICOM series.

    A study is a folder in SOURCE with one film of each view; SOURCE itself is one where it holds files. Its series is
    DESTINATION/NAME, there whole or not at all. Each study is done once, also after a restart; why one failed is in
    DESTINATION/failed/NAME.json. Films are only read, and nothing is sent over a network.

    Examples:
        python -m export studies IN OUT --watch

    Args:
        source: folder of the studies.
        destination: folder of the series; not inside the source.
        checkpoint: the model file, with model.json next to it; by default the starter weights.
        watch: go on with what arrives, until the process is ended.
        settle: seconds for which the files of a study must not have changed, when watching.
        options: keys of inference.json, such as --consistency auto.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what is unfinished is taken away
    predict = partial(predict_study, checkpoint=model_for_studies(checkpoint), **options)
    folder = StudyFolder(source, destination, predict, settle if watch else 0)
    with folder.locked():
        if watch:
            folder.watch()
        outcome = folder.once()
    print(f"{len(outcome.done)} studies done, {len(outcome.failed)} failed; the series are in {destination}")
    if outcome.failed:
        sys.exit(SOME_FAILED)


def archive(destination: str, checkpoint: str, overlays: str | None = None, evaluation: str | None = None) -> None:
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
    made = write_archive(destination, checkpoint, overlays.split(",") if overlays else None, evaluation)
    print(f"the bundle is in {made}")


if __name__ == "__main__":
    run_command({"archive": archive, "dicom": dicom, "studies": studies}, name="export")
