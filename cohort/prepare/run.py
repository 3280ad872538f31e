"""Prepare a cohort: every case once, in several processes or on a cluster, and a manifest of what is finished."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from monai.utils import optional_import
from tqdm import tqdm

from conventions import InputError
from storage import check_run, set_aside, write_json

from ..split import MANIFEST_NAME, folds_of
from .case import PrepareOptions, Source, prepare_case
from .film import FilmSource, prepare_film
from .hdf5 import HDF5, prepare_hdf5
from .once import RECORDS
from .sources import find_sources

distributed, has_distributed = optional_import("distributed")

SECONDS_EACH = 15
"""Seconds that a CT takes, about, on one core (docs/data.md)."""

CONNECT_S = 15
"""Seconds after which a scheduler that does not answer is given up."""

logger = logging.getLogger("x2ct.cohort")


@dataclass(frozen=True)
class PreparedCohort:
    """Outcome of a preparation.

    Args:
        manifest: the manifest, of all cases of the cohort that are finished.
        cases: entries of those.
        refused: what was refused, and why: (file or folder, sentence).
        films_left_out: number of films in the source whose patients have no CT there.
    """

    manifest: Path
    cases: list[dict[str, Any]]
    refused: list[tuple[str, str]]
    films_left_out: int = 0


def prepare_cohort(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    options: PrepareOptions | None = None,
    jobs: int = 1,
    part: str | None = None,
    scheduler: str | None = None,
    seed: int = 0,
) -> PreparedCohort:
    """Prepare every chest CT below a folder for training, and the films of the same patients.

    A case or film that is finished, of the same files and options, is not made again, so a run that was interrupted
    goes on where it was. Parts, processes and clusters give the same bytes as one process.

    Args:
        source: folder with DICOM series, NIfTI, MHA, MHD and NRRD files in any mixture and depth; a pattern with * or
            **; or a text file with one path in each line.
        destination: folder of the cohort.
        options: how CTs are prepared.
        jobs: number of processes, each of which needs the memory of one scan.
        part: "i/n", the part i of n (from 0) of CTs and films, for job arrays; all parts have one destination.
        scheduler: address of a Dask scheduler whose workers see the same folders; in place of processes.
        seed: seed of the split into folds.

    Returns:
        The manifest and what was refused.

    Raises:
        InputError: where nothing is found, or an argument is not possible.
    """
    folder = Path(destination)
    check_run("cpu", [folder])
    options = options or PrepareOptions()
    if not 0.3 <= options.spacing <= 5:
        raise InputError(f"spacing is a number of mm between 0.3 and 5, got {options.spacing}")
    if jobs < 1:
        raise InputError(f"jobs is a number of processes from 1 up, got {jobs}")
    found = find_sources(source, exclude=folder)
    every: list[Source | FilmSource] = [*found.cts, *found.films]
    mine = every[_part(part)]
    if not found.cts and not found.refused:
        raise InputError(f"{source}: holds no CT; give a folder with DICOM series, NIfTI, MHA, NRRD or HDF5 files")
    work = partial(_prepare, options=options, destination=folder.resolve())
    path_of = {_name(one): str(one.path) for one in mine}
    refused = list(found.refused)
    outcomes = _on_cluster(mine, work, scheduler) if scheduler else _in_processes(mine, work, jobs)
    for outcome in tqdm(outcomes, total=len(mine), desc="CTs and films", unit="file"):
        if "refused" in outcome:
            refused.append((path_of[outcome["name"]], outcome["refused"]))
    return replace(finish_cohort(folder, path_of, refused, seed), films_left_out=found.films_left_out)


def _name(source: Source | FilmSource) -> str:
    return source.name if isinstance(source, FilmSource) else source.case


def _prepare(source: Source | FilmSource, options: PrepareOptions, destination: Path) -> dict[str, Any]:
    """Prepare a CT or a film, wherever it is asked for: in this process, another one or on a cluster."""
    if isinstance(source, FilmSource):
        return prepare_film(source, destination)
    if source.kind == HDF5:
        return prepare_hdf5(source, options, destination)
    return prepare_case(source, options, destination)


def finish_cohort(
    folder: Path, path_of: Mapping[str, str], refused: Sequence[tuple[str, str]], seed: int
) -> PreparedCohort:
    """Write the manifest of all cases that are finished, each image once.

    Args:
        folder: folder of the cohort.
        path_of: case -> path of its source, of the cases of this run.
        refused: what was refused so far, and why: (file or folder, sentence).
        seed: seed of the split into folds.

    Returns:
        The manifest and what was refused.
    """
    cases, copies = _without_copies(_finished(folder))
    left_out = [
        (path_of[case], f"is the same image as {of}, and is left out") for case, of in copies if case in path_of
    ]
    manifest = write_manifest(folder, cases, seed) if cases else folder / MANIFEST_NAME
    return PreparedCohort(manifest, cases, sorted([*refused, *left_out]))


def plan_cohort(source: str | os.PathLike[str], destination: str | os.PathLike[str], jobs: int = 1) -> str:
    """Say what `prepare_cohort` would do, without reading a CT.

    Args:
        source: as in `prepare_cohort`.
        destination: as in `prepare_cohort`.
        jobs: number of processes.

    Returns:
        One sentence: the number of CTs, patients and films, how many CTs were made already, and about how long the rest
        takes.

    Raises:
        InputError: where the source does not exist.
    """
    found = find_sources(source, exclude=Path(destination))
    kinds = Counter(one.kind for one in found.cts)
    made = sum((Path(destination) / RECORDS / f"{one.case}.json").is_file() for one in found.cts)
    minutes = (len(found.cts) - made) * SECONDS_EACH / max(jobs, 1) / 60
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return (
        f"{len(found.cts)} CTs ({listed or 'none'}) of {len({one.patient for one in found.cts})} patients, {made} of "
        f"them made already; {len(found.films)} films of these patients, {found.films_left_out} of others, which are "
        f"left out; {len(found.refused)} files refused by their names; about {minutes:.0f} minutes for the rest"
    )


def write_manifest(folder: Path, cases: Sequence[dict[str, Any]], seed: int) -> Path:
    """Write the manifest of a cohort with folds by patient; one of the same content is left as it is.

    Args:
        folder: folder of the cohort.
        cases: entries without folds.
        seed: seed of the split.
    """
    try:
        fold = folds_of(cases, seed=seed)
    except InputError as error:
        logger.warning("%s: all cases are for training, since %s", folder, error)
        fold = dict.fromkeys((case["patient"] for case in cases), "train")
    content = {"version": 1, "seed": seed, "cases": [{**case, "fold": fold[case["patient"]]} for case in cases]}
    manifest = folder / MANIFEST_NAME
    if manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")) == content:
        return manifest
    set_aside(manifest)
    return write_json(manifest, content)


def _finished(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of all finished cases with their films, in the order of their names."""
    records = sorted((folder / RECORDS).glob("[!.]*.json"))
    entries = [json.loads(record.read_text(encoding="utf-8"))["entry"] for record in records]
    films = [entry for entry in entries if "film" in entry and (folder / entry["film"]).is_file()]
    cases = [entry for entry in entries if "ct" in entry and (folder / entry["ct"]).is_file()]
    return [{**case, **_films_of(case["case"], films)} for case in cases]


def _films_of(case: str, films: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the films of a case under `films`, each with its days from that CT; nothing where there are none."""
    own = [{**film, "days": film["days"][case]} for film in films if case in film["days"]]
    return {"films": own} if own else {}


def _without_copies(entries: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the entries without those of the same image as an earlier one, and (case, earlier case) of these."""
    first: dict[str, str] = {}
    for entry in entries:
        first.setdefault(entry["sha256"], entry["case"])
    kept = [entry for entry in entries if first[entry["sha256"]] == entry["case"]]
    return kept, [(one["case"], first[one["sha256"]]) for one in entries if first[one["sha256"]] != one["case"]]


def _part(part: str | None) -> slice:
    """Return which cases a part "i/n" has: each n-th."""
    if part is None:
        return slice(None)
    number, _, count = str(part).partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise InputError(f"part is i/n with i from 0 to n - 1, such as 0/4, got {part}")
    return slice(int(number), None, int(count))


def _in_processes(sources: Sequence[Any], work: Any, jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(work, sources)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=20) as pool:
        for done in as_completed([pool.submit(work, source) for source in sources]):
            yield done.result()


def _on_cluster(sources: Sequence[Any], work: Any, scheduler: str) -> Iterable[dict[str, Any]]:
    if not has_distributed:
        raise InputError(
            "a cluster needs the package distributed; install it (the extra cluster), or leave --scheduler out"
        )
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{scheduler}: no Dask scheduler answers there ({' '.join(str(error).split())}); give its address, such as "
            "tcp://host:8786"
        ) from error
    with client:
        futures = client.map(work, sources, pure=False, retries=3)
        for _, outcome in distributed.as_completed(futures, with_results=True):
            yield outcome
