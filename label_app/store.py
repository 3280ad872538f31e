"""Serve a folder of studies, or an archive, as a datastore of MONAI Label."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag

from cohort import is_synthetic
from conventions import InputError, View
from export import Pacs, PacsError, film_pair, retrieve_pair
from readers import CT_SUFFIXES, RADIOGRAPH_SUFFIXES, ReadOptions, case_and_view, read_ct, read_films
from storage import write_atomically, write_json

from .errors import RequestError
from .films import ID, films_of, find_studies

TAGS = (DefaultLabelTag.FINAL.value, DefaultLabelTag.ORIGINAL.value)
"""Tags of a CT: true ones, to train on, and others."""

UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
"""Form of a DICOM UID, which goes into an address."""

FRESH_S = 20.0
"""Seconds for which the list of an archive's studies is not asked for again."""


class StudyStore(LocalDatastore):
    """Folder of studies; `labels/final/ID.nii.gz` is the true CT of the study ID.

    MONAI Label's own store takes each file for an image, copies uploads over what is there, and writes its index in
    place. Here a study is an image, nothing is overwritten, and files are there whole or not at all.

    Args:
        folder: the folder.
        views: views that the model reads.

    Raises:
        InputError: where the folder cannot be written to, or its index is damaged.
    """

    def __init__(self, folder: str, views: Sequence[View]) -> None:
        self.folder, self.views = Path(folder), tuple(views)
        self._turn = threading.RLock()
        try:
            super().__init__(folder, extensions=tuple(f"*{suffix}" for suffix in CT_SUFFIXES), read_only=True)
        except ValueError as error:
            raise InputError(f"{self._datastore_config_path}: is damaged; remove it, and it is made again") from error
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error

    def find(self) -> dict[str, str]:
        """Return id -> name in the folder of the studies that are there."""
        return find_studies(self.folder, self.views)

    def check(self, image_id: str) -> None:
        """Refuse an id that is none of a study.

        Args:
            image_id: the id.

        Raises:
            RequestError: where there is no such study.
        """
        if image_id not in self.find():
            raise RequestError(
                f"there is no study {str(image_id)[:80]!r}; GET /datastore/?output=all lists those that are there", 404
            )

    def films(self, image_id: str, folder: Path) -> list[Path]:
        """Return the films of a study as `export.infer_study` takes them.

        Args:
            image_id: its id.
            folder: folder for films that have to be fetched.

        Raises:
            RequestError: where there is no such study, or it lacks a film.
        """
        self.check(image_id)
        return films_of(self.folder / self.find()[image_id], self.views)

    def status(self) -> dict[str, Any]:
        """Return the numbers of studies and of CTs."""
        with self._turn:
            return super().status()

    def refresh(self) -> None:
        """Read the folder again."""
        with self._turn:
            self._reconcile_datastore()

    def list_images(self) -> list[str]:
        """Return the ids of the studies that are there now."""
        self.refresh()
        return super().list_images()

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the ids of the studies without a true CT."""
        self.refresh()
        return super().get_unlabeled_images(label_tag, labels)

    def get_image_uri(self, image_id: str) -> str:
        """Return the path of a study; an empty text where there is none."""
        name = self.find().get(image_id)
        return "" if name is None else str(self.folder / name)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return what is known about a study, by this process or another one, without its path on the server."""
        self.refresh()
        found = self._datastore.objects.get(image_id)
        return dict(found.image.info) if found else {}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known about a study."""
        with self._turn:
            self.refresh()  # another process may have written
            self.check(image_id)
            super().update_image_info(image_id, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add a film.

        Args:
            image_id: name of the film, such as smith_pa.
            image_filename: file of the film.
            image_info: not kept.

        Returns:
            Id of its study.

        Raises:
            RequestError: where the name cannot be used, or is in use.
            InputError: where the file is no film.
        """
        suffix = max((s for s in RADIOGRAPH_SUFFIXES if image_filename.lower().endswith(s)), key=len, default="")
        if not ID.fullmatch(image_id):
            raise RequestError("the id of a film holds letters, digits and . _ - only; choose another")
        named = case_and_view(Path(image_id + suffix))
        read_films(image_filename, [named[1] if named else self.views[0]], ReadOptions())
        place = self.folder / f"{image_id}{suffix}"
        with self._turn:
            there = self.find()
            if place.exists() or image_id in there or (named and (self.folder / there.get(named[0], ".lock")).is_dir()):
                raise RequestError(f"{image_id} is there already, and is not overwritten; choose another id", 409)
            write_atomically(place, lambda part: shutil.copyfile(image_filename, part))
        return (named and named[0]) or image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a CT of a study; one that is there is renamed by the time of its writing.

        Args:
            image_id: id of the study.
            label_filename: file of the CT.
            label_tag: final for a true CT, which is trained on; original for others.
            label_info: kept as it is.

        Returns:
            The id.

        Raises:
            RequestError: where there is no such study or tag, or a predicted CT is given as a true one.
            InputError: where the file is no CT.
        """
        self.check(image_id)
        if label_tag not in TAGS:
            raise RequestError(f"the tag of a CT is {' or '.join(TAGS)}, got {str(label_tag)[:80]!r}")
        suffix = max((s for s in CT_SUFFIXES if label_filename.lower().endswith(s)), key=len, default="")
        if not suffix:
            raise RequestError(f"a CT is a file of {', '.join(CT_SUFFIXES)}; give one of these")
        if not is_synthetic(label_filename):
            read_ct(label_filename)
        elif label_tag == DefaultLabelTag.FINAL.value:
            raise RequestError("this CT was predicted from radiographs and is no truth; save it with the tag original")
        place = Path(self._datastore.label_path(label_tag)) / f"{image_id}{suffix}"
        with self._turn:
            self.refresh()
            if place.exists():
                raise RequestError(f"{image_id} has a CT with the tag {label_tag} already; remove it first", 409)
            write_atomically(place, lambda part: shutil.copyfile(label_filename, part))
            info = {**(label_info or {}), "ts": int(time.time()), "name": place.name}
            self._datastore.objects[image_id].labels[label_tag] = DataModel(info=info, ext=suffix)
            self._update_datastore_file()
        return image_id

    def _add_non_existing_images(self) -> int:
        self._init_from_datastore_file()
        known, found = self._datastore.objects, self.find()
        changed = 0
        for image_id, name in found.items():
            extension = name.removeprefix(image_id)
            if image_id not in known:
                info = {"ts": int(time.time()), "name": name}
                known[image_id] = ImageLabelModel(image=DataModel(info=info, ext=extension))
                changed += 1
        return changed

    def _remove_non_existing(self) -> int:
        self._init_from_datastore_file()
        known, found = self._datastore.objects, self.find()
        gone = [image_id for image_id in known if image_id not in found]
        for image_id in gone:
            del known[image_id]
        changed = len(gone)
        for image_id, model in known.items():
            for tag in list(model.labels):
                place = Path(self._datastore.label_path(tag)) / f"{image_id}{model.labels[tag].ext}"
                if not place.is_file():
                    del model.labels[tag]
                    changed += 1
        return changed

    def _update_datastore_file(self, lock: bool = True) -> None:
        with FileLock(self._lock_file) if lock else contextlib.nullcontext():
            write_json(self._datastore_config_path, self._datastore.model_dump(exclude={"base_path"}))
            self._config_ts = os.stat(self._datastore_config_path).st_mtime


class PacsStore(StudyStore):
    """Studies with films in an archive, by their StudyInstanceUID; their CTs and scores are not kept.

    Args:
        folder: folder for the index, which ends with the server.
        pacs: the archive.
        views: views that the model reads.
    """

    def __init__(self, folder: str, pacs: Pacs, views: Sequence[View]) -> None:
        self.pacs = pacs
        self._found: dict[str, str] | PacsError = {}
        self._asked = -FRESH_S
        super().__init__(folder, views)

    def find(self) -> dict[str, str]:
        """Return the studies with films, as they were `FRESH_S` ago at most.

        Raises:
            PacsError: where the archive could not be reached then.
        """
        with self._turn:
            if time.monotonic() - self._asked >= FRESH_S:
                try:
                    self._found = {uid: uid for uid in self.pacs.studies()}
                except PacsError as error:
                    self._found = error
                self._asked = time.monotonic()
        if isinstance(self._found, PacsError):
            raise self._found
        return self._found

    def check(self, image_id: str) -> None:
        """Refuse a UID that is none of a study with films; one that is new is asked for."""
        if image_id not in self.find() and not (UID.fullmatch(image_id) and self.pacs.studies(image_id)):
            super().check(image_id)

    def films(self, image_id: str, folder: Path) -> list[Path]:
        """Fetch the films of a study into a folder."""
        self.check(image_id)
        pair = film_pair(self.pacs.films(image_id))
        if not pair:
            raise RequestError(f"{image_id}: does not hold a PA and a lateral film by its tags")
        return retrieve_pair(self.pacs, image_id, pair, folder)

    def get_image_uri(self, image_id: str) -> str:
        """Return nothing, since the films are in the archive."""
        return ""

    def status(self) -> dict[str, Any]:
        """Return the numbers of studies; a sentence, where the archive cannot be reached."""
        try:
            return super().status()
        except PacsError as error:
            return {"total": 0, "completed": 0, "label_tags": {}, "problem": str(error)}

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse a film, which belongs into the archive."""
        raise RequestError("the studies are those of the archive; store films there", 405)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Refuse a CT, which belongs into the archive."""
        raise RequestError("the studies are those of the archive; store CTs there", 405)
