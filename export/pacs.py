"""Search an archive of DICOM images, retrieve films from it and store synthetic CTs in it, by DICOMweb."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from conventions import InputError, View
from readers import FILM_MODALITIES, VIEW_TAGS, dataset_view

from .dicom_series import SERIES_DESCRIPTION
from .dicomweb import DicomWeb, datasets

_OF_FILM = ("SOPInstanceUID", "PresentationIntentType", *VIEW_TAGS)
_OF_CT = ("SourceImageSequence", "SoftwareVersions", "ImagesInAcquisition")


@dataclass(frozen=True)
class PacsFilm:
    """Film in an archive.

    Args:
        series: SeriesInstanceUID.
        uid: SOPInstanceUID.
        view: view that its tags state; None where they state none that a model reads.
        raw: whether it is FOR PROCESSING, so that another file may hold the same film for presentation.
    """

    series: str
    uid: str
    view: View | None
    raw: bool


@dataclass(frozen=True)
class PacsCT:
    """Synthetic CT in an archive.

    Args:
        uid: SeriesInstanceUID.
        films: SOPInstanceUIDs of the films that it was predicted from.
        versions: version of the software, and SHA-256 of the weights.
        whole: whether all of its slices are there.
    """

    uid: str
    films: frozenset[str]
    versions: tuple[str, ...]
    whole: bool


class Pacs:
    """Archive of DICOM images that is reached by DICOMweb.

    Args:
        service: its DICOMweb service.
    """

    def __init__(self, service: DicomWeb) -> None:
        self._service, self._client = service, service.client
        self.url = service.url

    def studies(self, study: str | None = None, since: date | None = None) -> list[str]:
        """Find studies that hold films.

        Args:
            study: StudyInstanceUID of the only study that is asked for, whatever it holds.
            since: first day (StudyDate) of the studies that are asked for.

        Returns:
            StudyInstanceUIDs, each once.

        Raises:
            InputError: where the search fails.
        """
        asked = {"StudyDate": f"{since:%Y%m%d}-"} if since else {}
        kinds = [{"StudyInstanceUID": study}] if study else [{"ModalitiesInStudy": kind} for kind in FILM_MODALITIES]
        found: dict[str, None] = {}
        for kind in kinds:
            search = partial(self._client.search_for_studies, search_filters={**asked, **kind})
            found |= {str(one.StudyInstanceUID): None for one in self._service.search("StudyInstanceUID", search)}
        return list(found)

    def films(self, study: str) -> frozenset[PacsFilm]:
        """Find the films of a study.

        Args:
            study: StudyInstanceUID.

        Raises:
            InputError: where the search fails.
        """
        return frozenset(
            PacsFilm(
                series,
                str(tags.SOPInstanceUID),
                dataset_view(tags),
                str(tags.get("PresentationIntentType", "")) == "FOR PROCESSING",
            )
            for series, one in self._series(study).items()
            if one.get("Modality") in FILM_MODALITIES
            for tags in self._metadata(_OF_FILM, self._client.retrieve_series_metadata, study, series)
        )

    def synthetic_cts(self, study: str) -> list[PacsCT]:
        """Find the synthetic CTs that `write_dicom_series` made of films of a study.

        Args:
            study: StudyInstanceUID.

        Raises:
            InputError: where the search fails.
        """
        found = []
        for series, one in self._series(study).items():
            if one.get("Modality") != "CT" or one.get("SeriesDescription") != SERIES_DESCRIPTION:
                continue
            slices = self.instances(study, series)
            if not slices:
                continue
            [tags] = self._metadata(_OF_CT, self._instance_metadata, study, series, min(slices))
            films = frozenset(str(film.ReferencedSOPInstanceUID) for film in tags.get("SourceImageSequence", ()))
            versions = tags.get("SoftwareVersions") or ()
            parts = (versions,) if isinstance(versions, str) else tuple(map(str, versions))
            found.append(PacsCT(series, films, parts, len(slices) == tags.get("ImagesInAcquisition")))
        return found

    def instances(self, study: str, series: str) -> set[str]:
        """Find the images of a series.

        Args:
            study: StudyInstanceUID.
            series: SeriesInstanceUID.

        Returns:
            SOPInstanceUIDs; none where there is no such series.

        Raises:
            InputError: where the search fails.
        """
        search = partial(self._client.search_for_instances, study, series)
        return {str(one.SOPInstanceUID) for one in self._service.search("SOPInstanceUID", search)}

    def retrieve(self, study: str, film: PacsFilm, file: Path) -> Path:
        """Retrieve a film as it is stored.

        Args:
            study: StudyInstanceUID.
            film: the film.
            file: file to write.

        Returns:
            The file.

        Raises:
            InputError: where the archive does not give the film.
        """
        as_stored = (("application/dicom", "*"),)  # in the transfer syntax that it has
        request = partial(self._client.retrieve_instance, study, film.series, film.uid, media_types=as_stored)
        one = self._service.ask(request)
        if (one.get("StudyInstanceUID"), one.get("SOPInstanceUID")) != (study, film.uid):
            raise InputError(f"{self.url}: gave another image than the film that was asked for; check the archive")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
            one.save_as(file)
        return file

    def store(self, study: str, images: Sequence[Any]) -> None:
        """Store a series in one request, and look whether all of it is there.

        Args:
            study: StudyInstanceUID.
            images: its images, pydicom Datasets.

        Raises:
            InputError: where the archive does not take all of it; it may hold a part then.
        """
        series, sent = str(images[0].SeriesInstanceUID), {str(image.SOPInstanceUID) for image in images}
        self._service.ask(partial(self._client.store_instances, images, study))
        missing = sent
        for wait_s in (0.0, *self._service.waits_s):  # an archive may list an image some time after it took it
            time.sleep(wait_s)
            missing = sent - self.instances(study, series)
            if not missing:
                return
        raise InputError(
            f"{self.url}: took {len(sent) - len(missing)} of {len(sent)} slices; make room in the archive or allow it "
            "to store CTs, and run the same command again, which sends the rest"
        )

    def _series(self, study: str) -> dict[str, Any]:
        """Return SeriesInstanceUID -> tags of the series of a study."""
        fields = ("Modality", "SeriesDescription")
        found = self._service.search("SeriesInstanceUID", partial(self._client.search_for_series, study, fields=fields))
        return {str(one.SeriesInstanceUID): one for one in found}

    def _instance_metadata(self, *uids: str) -> list[Any]:
        return [self._client.retrieve_instance_metadata(*uids)]

    def _metadata(self, keywords: Sequence[str], retrieve: Callable[..., Any], *uids: str) -> list[Any]:
        """Return some tags of images."""
        return self._service.ask(lambda: datasets(retrieve(*uids), keywords))
