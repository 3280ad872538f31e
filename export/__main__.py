"""`python -m export`: CTs as DICOM, studies of a folder or an archive, a bundle of a model, weights to give away."""

from __future__ import annotations

import signal
import sys
from datetime import date, timedelta
from functools import partial
from typing import Any

from conventions import InputError, run_command
from networks import describe_model
from readers import FILM_MODALITIES

from .archive import write_archive
from .dicom_series import write_dicom_series
from .dicomweb import DicomWeb
from .pacs import Pacs
from .pacs_studies import StudyState, predict_in_pacs
from .predicted import read_synthetic_ct
from .publish import publish
from .starter import find_model
from .studies import StudyFolder
from .study import predict_study

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
        checkpoint: the model file, with its record next to it, or starter; by default bundle/models/model.pt, else the
            starter weights.
        watch: go on with what arrives, until the process is ended.
        settle: seconds for which the files of a study must not have changed, when watching.
        options: keys of inference.json, such as --consistency auto.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what is unfinished is taken away
    predict = partial(predict_study, checkpoint=find_model(checkpoint), **options)
    folder = StudyFolder(source, destination, predict, settle if watch else 0)
    with folder.locked():
        if watch:
            folder.watch()
        outcome = folder.once()
    print(f"{len(outcome.done)} studies done, {len(outcome.failed)} failed; the series are in {destination}")
    if outcome.failed:
        sys.exit(SOME_FAILED)


def dicomweb(
    url: str,
    study: str | None = None,
    since: str | None = None,
    checkpoint: str | None = None,
    timeout: float = 60,
    **options: Any,
) -> None:
    """Predict the CT of each study of an archive (PACS) that holds both views, and store it there.

    The archive is searched, and films are fetched, by DICOMweb; the synthetic CT becomes a series of the study of its
    films. A study that holds the CT of the same films and model is passed over. Credentials are read from the
    environment, X2CT_DICOMWEB_USER and X2CT_DICOMWEB_PASSWORD or X2CT_DICOMWEB_TOKEN, or from ~/.netrc.

    Examples:
        python -m export dicomweb http://127.0.0.1:8042/dicom-web --since 1

    Args:
        url: root of the DICOMweb service.
        study: StudyInstanceUID of the only study to do.
        since: first day of the studies to do, as 2026-11-30, or as a number of days before today.
        checkpoint: the model file, with its record next to it, or starter; by default bundle/models/model.pt, else the
            starter weights.
        timeout: longest silence of the archive, in seconds.
        options: keys of inference.json, such as --consistency auto.
    """
    pacs, day = Pacs(DicomWeb(url, timeout)), _day(since)
    model = find_model(checkpoint)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the films are taken away
    predict = partial(predict_study, checkpoint=model, **options)
    outcome = predict_in_pacs(pacs, predict, describe_model(model)["sha256"], study, day)
    done, held, lacking = map(outcome.count, (StudyState.DONE, StudyState.HELD, StudyState.NO_PAIR))
    print(
        f"{done} studies done, {held} held their CT already, {lacking} lack a view, {len(outcome.failed)} failed; "
        f"the series are in {pacs.url}"
    )
    if not (done or held or lacking or outcome.failed):
        kinds = ", ".join(FILM_MODALITIES)
        print(f"no study with films was found: those are searched whose modality is {kinds}; DRRs have none of these")
    if outcome.failed:
        sys.exit(SOME_FAILED)


def _day(since: str | None) -> date | None:
    """Return the day that a date, or a number of days before today, stands for."""
    try:
        if since is None or not since.isdecimal() or len(since) == len("20261130"):
            return None if since is None else date.fromisoformat(since)
        return date.today() - timedelta(days=int(since))
    except (ValueError, OverflowError) as error:
        raise InputError(f"--since is a date such as 2026-11-30, or a number of days, got {since}") from error


def archive(
    destination: str, checkpoint: str | None = None, overlays: str | None = None, evaluation: str | None = None
) -> None:
    """Make one self-contained bundle of a model: configs, weights, code, model card and licence in one folder.

    `monai.bundle` runs it from any folder (--bundle_root), and `monai.bundle.load`, MONAI Label and the model zoo get
    the right network from it. The keys of the patients that the model has seen are left out.

    Examples:
        python -m export archive output/x2ct_bundle --checkpoint output/demo/raylift/models/model.pt

    Args:
        destination: folder to make; it must not exist, or be empty.
        checkpoint: as in `studies`.
        overlays: names of the overlays of its training, such as chest,raylift; by default those in run.json next to it.
        evaluation: folder of an evaluation of this model, whose figures go into metadata.json.
    """
    made = write_archive(destination, find_model(checkpoint), overlays.split(",") if overlays else None, evaluation)
    print(f"the bundle is in {made}")


def weights(
    target: str,
    source: str,
    manifest: str,
    runs: str,
    datasets: str,
    citations: str | None = None,
    evaluation: str | None = None,
) -> None:
    """Write weights to give away: in half precision, with a record of their data, their training and their figures.

    Run it on the machine of the training, whose processor the record names. Run it again with the target as the source
    to add an evaluation of the file that was written.

    Examples:
        python -m export weights bundle/models/starter.pt --source RUN/model.pt --manifest manifest.json \
            --runs RUN/run.json --datasets MANIFEST.csv --citations LICENSES.md --evaluation output/evaluation

    Args:
        target: file to write; one that is there is renamed.
        source: weights that training wrote, with their record next to them.
        manifest: manifest of the cohort of the training.
        runs: run.json of each run of the training since the weights that are replaced, separated by commas; "" if lost.
        datasets: CSV with the columns file, collection, licence and doi, a line for each CT.
        citations: text with a Markdown table that holds each DOI in the cell that says how to cite it.
        evaluation: output_dir of an evaluation of these weights.
    """
    each = runs.split(",") if runs else []
    made = publish(source, target, manifest, each, datasets, citations, evaluation)
    print(f"{made} and its record are written")


if __name__ == "__main__":
    run_command(
        {"archive": archive, "dicom": dicom, "dicomweb": dicomweb, "studies": studies, "weights": weights}, "export"
    )
