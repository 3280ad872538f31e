"""Look up public chest CTs and films in the index of the Imaging Data Commons (IDC), offline.

The index travels in the package idc-index-data, which idc-index brings. It is read with DuckDB, column by column:
`IDCClient` of idc-index reads all of it first, which takes 20 s and 1.7 GB.
"""

from __future__ import annotations

import difflib
import html
import re
from dataclasses import dataclass
from typing import Any

from monai.utils import optional_import

from conventions import InputError

duckdb, has_duckdb = optional_import("duckdb")
idc_index_data, has_index = optional_import("idc_index_data")

FEWEST_SLICES = 51
"""Fewest slices of a CT series that is offered; what has fewer is a scout, a report, or too coarse."""

CT_IMAGES = "1.2.840.10008.5.1.4.1.1.2"
"""SOP class of CT images, which secondary captures and raw data of the modality CT do not have."""

CHEST = r"chest|thora|lung|mediastin|(^|[^a-z])(chst|ch|cap|tap|c[/-]a([/-]p)?)([^a-z]|$)"
"""Pattern of a text that names the chest."""

ELSEWHERE = r"abd|pel|liver|kidney|renal|spine|lumbar|cervical|head|skull|femur|humerus|tibfib|feet|rib"
"""Pattern of a text that names another part of the body."""

NOT_ACQUIRED = (
    r"scout|topogram|locali[sz]er|surview|(^|[^a-z])(cor|sag|obl|mpr|mip)|coronal|sagit|mips?([^a-z]|$)|reformat|rfmt"
    "|cbct|dynact|cine|bpm|iodine|perfusion|suppress|subtract|processed"
)
"""Pattern of the description of a series that is no axial CT: other planes, projections, cone beams, beating hearts."""

_SUITABLE = """
    with suitable as (
        select idc.*, Modality <> 'CT' as film
        from idc join collections using (collection_id)
        where (Modality in ('CR', 'DX') or Modality = 'CT' and SOPClassUID = $ct and instanceCount >= $slices)
            and PhotometricInterpretation in ('MONOCHROME1', 'MONOCHROME2') and analysis_result_id is null
            and species = 'Human' and tumor_locations not ilike '%phantom%'
            and regexp_matches(
                coalesce(BodyPartExamined, concat_ws(' ', StudyDescription, SeriesDescription)), $chest, 'i')
            and not regexp_matches(coalesce(SeriesDescription, ''), $not_acquired, 'i')
            and (BodyPartExamined is not null and not film
                or not regexp_matches(coalesce(SeriesDescription, ''), $elsewhere, 'i')
                or regexp_matches(SeriesDescription, $chest, 'i'))
    )
"""

_RULES = {
    "ct": CT_IMAGES,
    "slices": FEWEST_SLICES,
    "chest": CHEST,
    "elsewhere": ELSEWHERE,
    "not_acquired": NOT_ACQUIRED,
}

_COLLECTIONS = f"""
    {_SUITABLE}, marked as (
        select *, bool_or(film) over (partition by collection_id, PatientID) as filmed from suitable
    )
    select collection_id, count(distinct PatientID), count(*), count(distinct PatientID) filter (filmed),
        sum(series_size_MB) / 1000, list_sort(list(distinct license_short_name))
    from marked where not film group by collection_id order by 4 desc, 2 desc, 1
"""

_SERIES = f"""
    {_SUITABLE}
    select collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality, StudyDate, instanceCount,
        cast(round(series_size_MB * 1e6) as bigint), license_short_name, source_DOI, series_aws_url
    from suitable where collection_id = $collection order by PatientID, SeriesInstanceUID
"""

_SOURCES = """
    select source.source_doi, source.license.license_long_name, source.license.license_url, source.citation
    from (select unnest(sources) as source from collections where collection_id = $collection)
"""


@dataclass(frozen=True)
class Collection:
    """The chest CTs of a public collection.

    Args:
        name: its identifier, such as `lidc_idri`.
        patients: number of patients with a chest CT.
        series: number of CT series.
        with_films: number of patients with a chest CT and chest films (CR or DX).
        gigabytes: size of the CT series.
        licences: their licences, in short.
    """

    name: str
    patients: int
    series: int
    with_films: int
    gigabytes: float
    licences: tuple[str, ...]


@dataclass(frozen=True)
class PublicSeries:
    """A chest CT or a series of chest films; all identifiers are the public ones of the IDC.

    Args:
        collection: identifier of the collection.
        patient: identifier of the patient.
        study: identifier of the study.
        uid: identifier of the series.
        modality: CT, CR or DX.
        date: day of the study, YYYY-MM-DD, shifted when the data were made anonymous.
        files: number of files.
        size: bytes of all files.
        licence: licence, in short.
        doi: where the series comes from.
        url: address of the files, a pattern with *.
    """

    collection: str
    patient: str
    study: str
    uid: str
    modality: str
    date: str
    files: int
    size: int
    licence: str
    doi: str
    url: str

    @property
    def folder(self) -> str:
        """Folder of the series below the destination, as idc-index itself lays it out."""
        return f"{self.collection}/{self.patient}/{self.study}/{self.modality}_{self.uid}"


@dataclass(frozen=True)
class PublicSource:
    """What to cite for a part of a collection, and its terms.

    Args:
        doi: digital object identifier.
        licence: name of the licence.
        licence_url: its text.
        citation: reference, one line.
    """

    doi: str
    licence: str
    licence_url: str
    citation: str


class PublicIndex:
    """The index of one release of the Imaging Data Commons, as far as it concerns chest CTs.

    Raises:
        InputError: where idc-index is not installed.
    """

    def __init__(self) -> None:
        if not (has_duckdb and has_index):
            raise InputError("downloading needs the package idc-index: run `make env`, or pip install idc-index")
        self.release = f"v{idc_index_data.__version__.split('.')[0]}"
        self._tables = duckdb.connect()
        files = idc_index_data.INDEX_METADATA
        for view, table in (("idc", "idc_index"), ("collections", "collections_index")):
            self._tables.read_parquet(str(files[table]["parquet_filepath"])).create_view(view)

    def collections(self) -> list[Collection]:
        """List the collections with chest CTs: those with most pairs of CT and films first, then by patients."""
        rows = self._rows(_COLLECTIONS, _RULES)
        return [
            Collection(name, patients, series, with_films, gigabytes, tuple(licences))
            for name, patients, series, with_films, gigabytes, licences in rows
        ]

    def series(self, collection: str) -> list[PublicSeries]:
        """List the chest CTs and chest films of a collection, by patient.

        Args:
            collection: its identifier; `LIDC-IDRI` is taken for `lidc_idri`.

        Returns:
            The series: CTs with at least `FEWEST_SLICES` axial slices, and films of any patient.

        Raises:
            InputError: where no collection with chest CTs has that name.
        """
        name = re.sub(r"[^a-z0-9]+", "_", collection.lower())
        found = [PublicSeries(*row) for row in self._rows(_SERIES, {**_RULES, "collection": name})]
        if not any(one.modality == "CT" for one in found):
            near = difflib.get_close_matches(collection.lower(), [one.name for one in self.collections()], cutoff=0.5)
            hint = f" (near to it: {', '.join(near)})" if near else ""
            raise InputError(
                f"{collection}: is no collection with chest CTs in release {self.release} of the Imaging Data Commons"
                f"{hint}; list them with: python -m cohort download --list"
            )
        return found

    def sources(self, collection: str) -> dict[str, PublicSource]:
        """List what is to be cited for a collection, {DOI: source}.

        Args:
            collection: identifier of the collection.
        """
        rows = self._rows(_SOURCES, {"collection": collection})
        return {doi.lower(): PublicSource(doi, name, url, _plain(text)) for doi, name, url, text in rows}

    def _rows(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        return self._tables.execute(sql, values).fetchall()


def _plain(text: str) -> str:
    """Return the text of a piece of HTML, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())
