"""Radiograph files to films."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform

from conventions import InputError, View

from .dictionary import EachKey
from .films.film import Film
from .films.pair import check_pair
from .films.reading import Options, read_films

FilePath = str | os.PathLike[str]


class ReadRadiograph(Transform):
    """Read one radiograph: DICOM (CR, DX, RF; one frame), PNG, JPEG, TIFF, or NIfTI of computed views.

    The format is told by the content. What comes out is bright where dense, of square pixels, upright as far as the
    file tells, and without shutters and plain frames; each step leaves a decision in the record. Radiographs that this
    project computed are recognised and keep their film values.

    Args:
        view: "pa" or "lateral"; what the file says of it is held against that.
        window: which of several windows or VOI look-up tables of a DICOM file.
        invert: whether dense is dark in the file, though nothing in it says so.
        without_preamble: whether to read DICOM files without preamble.
        spacing: mm per pixel at the detector, instead of what the file says.
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
        self.options = Options(window, invert, without_preamble, spacing)

    def __call__(self, path: FilePath) -> MetaTensor:
        """Read a file.

        Args:
            path: of one film; of a NIfTI file of all views, the plane of this view is taken.

        Returns:
            (1, rows, columns) float32 in [0, 1], bright = dense. Its meta holds `view`; `spacing`, mm per pixel at the
            detector, and `magnification`, both None where unknown; `computed`, a dict that says what made a computed
            radiograph, None for a real one; and `record`, a `DecisionRecord`.

        Raises:
            InputError: where the file is missing, unreadable, no radiograph, or its header contradicts itself.
        """
        views = tuple(View)
        films = read_films(path, (self.view,), self.options)
        film = films[0] if len(films) == 1 else films[views.index(self.view)]
        return _to_tensor(film)


class ReadRadiographd(EachKey):
    """Read the radiographs of one patient: the path or paths under the key become a list of tensors, one a view.

    Two films of different patients, of different days or of the same view are doubted; where the tags of both say the
    other view, the two are exchanged.

    Args:
        keys: keys of the paths: one file, a list of one file a view, or one NIfTI file of all views.
        views: which views are given, in order.
        window, invert, without_preamble, spacing: as for `ReadRadiograph`, for each of the files.
        allow_missing_keys: whether to pass over a key that is not there.
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
        self.options = Options(window, invert, without_preamble, spacing)

    def _read(self, paths: FilePath | Sequence[FilePath]) -> list[MetaTensor]:
        files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
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
    meta = {key: getattr(film, key) for key in ("view", "spacing", "magnification", "computed", "record")}
    return MetaTensor(torch.from_numpy(film.pixels[None]), meta=meta)
