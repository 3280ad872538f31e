"""Read radiograph files as films."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform

from conventions import InputError, View
from readers import Film, ReadOptions, check_pair, film_files, films_of_patient, read_films

from .dictionary import EachKey

FilePath = str | os.PathLike[str]


class ReadRadiograph(Transform):
    """Read one radiograph: DICOM (CR, DX, RF; one frame), PNG, JPEG, TIFF, or NIfTI of DRRs.

    The content decides the format. The result is bright where dense, has square pixels, is upright as far as the file
    says, and has no shutters and plain frames; each step leaves a decision in the record. DRRs of this project are
    recognised by their mark and keep their film values.

    Args:
        view: "pa" or "lateral"; the view that the file states is compared with it.
        window: number of the window or VOI look-up table of a DICOM file that is applied, where there are several.
        invert: whether to treat dark as dense although the file does not state it.
        without_preamble: whether to read DICOM files without preamble.
        spacing: mm per pixel at the detector, in place of what the file says.

    Raises:
        InputError: where the view is unknown or the spacing not positive.
    """

    def __init__(
        self,
        view: str = View.PA,
        window: int = 0,
        invert: bool = False,
        without_preamble: bool = False,
        spacing: float | None = None,
    ) -> None:
        self.view = _view(view)
        self.options = ReadOptions(window, invert, without_preamble, spacing)

    def __call__(self, path: FilePath) -> MetaTensor:
        """Read a file.

        Args:
            path: file of one film, a folder in which one film is of this view, or a NIfTI file of all views, whose
                plane of this view is taken.

        Returns:
            (1, rows, columns) float32 in [0, 1], bright = dense. Its meta holds `view`; `spacing`, mm per pixel at the
            detector, and `magnification`, from the patient's mid-plane to the detector, both None where unknown;
            `computed`, the `Mark` of a DRR, None for a real film; `valid`, (rows, columns) bool, false behind shutters
            and the like, None where all is valid; and `record`, a `DecisionRecord`.

        Raises:
            InputError: where the file is missing, unreadable, no radiograph, or its header contradicts itself.
        """
        views = tuple(View)
        films = read_films(films_of_patient(path, (self.view,))[0], (self.view,), self.options)
        film = films[0] if len(films) == 1 else films[views.index(self.view)]
        return _to_tensor(film)


class ReadRadiographd(EachKey):
    """Dictionary-based `ReadRadiograph` for all films of a patient, which become a list of tensors, one for each view.

    Two films of different patients, of different days or of the same view are doubted; where the tags of both state the
    other view, the two are exchanged.

    Args:
        keys: keys of the paths: one file, a list of one file for each view, one NIfTI file of all views, or a folder
            that holds one film of each view.
        views: views that are given, in order.
        window: as in `ReadRadiograph`, for each of the files.
        invert: as in `ReadRadiograph`.
        without_preamble: as in `ReadRadiograph`.
        spacing: as in `ReadRadiograph`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        views: Sequence[str] = tuple(View),
        window: int = 0,
        invert: bool = False,
        without_preamble: bool = False,
        spacing: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, self._read, allow_missing_keys)
        self.views = tuple(_view(view) for view in views)
        self.options = ReadOptions(window, invert, without_preamble, spacing)

    def _read(self, paths: FilePath | Sequence[FilePath]) -> list[MetaTensor]:
        files = film_files(paths, self.views)
        films: list[Film] = []
        for file in files:
            films += read_films(file, self.views[len(films) :] or self.views[-1:], self.options)
        if len(films) != len(self.views):
            raise InputError(
                f"{', '.join(map(str, files))}: {len(films)} radiograph(s), this model needs {len(self.views)} "
                f"({', '.join(self.views)}); give one file for each, or one NIfTI file of all"
            )
        return [_to_tensor(film) for film in check_pair(films)]


def _view(name: str) -> View:
    if name not in tuple(View):
        raise InputError(f"unknown view {str(name)!r}: choose one of {', '.join(View)}")
    return View(name)


def _to_tensor(film: Film) -> MetaTensor:
    meta = {key: getattr(film, key) for key in ("view", "spacing", "magnification", "computed", "valid", "record")}
    return MetaTensor(torch.from_numpy(film.pixels[None]), meta=meta)
