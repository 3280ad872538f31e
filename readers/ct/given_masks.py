"""Read masks of organs that a user has, on the grid of a volume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError

nibabel, _ = optional_import("nibabel")

SUFFIXES = (".nii.gz", ".nii")
"""Endings of files of masks."""

LABELS = "labels.json"
"""File beside masks of several labels: name of a structure -> its number."""


class GivenMasks:
    """Masks of organs, as TotalSegmentator writes them: `CASE/STRUCTURE.nii.gz`, or `CASE.nii.gz` of several labels.

    Names of the labels stand in `labels.json` in the same folder, {"heart": 51, ...}. A voxel of a grid belongs to a
    structure where the voxel of the mask that is nearest to its centre, by the affines of both, does.

    Args:
        folder: the folder.

    Raises:
        InputError: where there is no such folder, or its `labels.json` is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: there is no such folder of masks; give --masks one, or leave it out")
        self.labels = self._labels()

    def names(self, case: str) -> list[str]:
        """Return the names of the structures of a case that have a mask; none where there is none."""
        whole = self._file(self.folder, case)
        if whole is not None:
            if not self.labels:
                raise InputError(
                    f'{whole}: its labels have no names; write {LABELS} beside it, such as {{"heart": 51}}'
                )
            return sorted(self.labels)
        inside = self.folder / case
        files = sorted(inside.iterdir()) if inside.is_dir() else []
        return [_stem(file) for file in files if _is_mask(file)]

    def read(self, case: str, names: Iterable[str], affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Read the union of structures of a case.

        Args:
            case: name of the case.
            names: names of structures, of those that `names` returns.
            affine: voxel -> RAS in mm of the grid, (4, 4).
            shape: voxels of the grid.

        Returns:
            Bool, of that shape.

        Raises:
            InputError: where a file cannot be read, is no volume, or lies elsewhere than the grid.
        """
        whole = self._file(self.folder, case)
        if whole is not None:
            numbers = [self.labels[name] for name in names]
            return _on_grid(whole, affine, shape, numbers)
        union = np.zeros(shape, bool)
        for name in names:
            file = self._file(self.folder / case, name)
            if file is None:
                raise InputError(f"{self.folder / case}: holds no mask {name}; give one, or leave the case out")
            union |= _on_grid(file, affine, shape, None)
        return union

    def _file(self, folder: Path, name: str) -> Path | None:
        return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)

    def _labels(self) -> dict[str, int]:
        path = self.folder / LABELS
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {str(name): int(number) for name, number in content.items() if int(number) > 0}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f'{path}: is no list of labels such as {{"heart": 51}} ({error})') from error


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def _is_mask(file: Path) -> bool:
    return file.name.endswith(SUFFIXES) and not file.name.startswith(".")


def _on_grid(file: Path, affine: np.ndarray, shape: tuple[int, ...], numbers: list[int] | None) -> np.ndarray:
    """Read a mask where the voxels of a grid have their centres; all that is not 0 counts unless numbers are given."""
    try:
        image: Any = nibabel.load(file)
        values = np.asanyarray(image.dataobj)
    except Exception as error:
        raise InputError(f"{file}: cannot be read as a mask ({error}); write it again") from error
    if values.ndim != 3:
        raise InputError(f"{file}: is no volume, its shape is {values.shape}; give a mask of three axes")
    inside = np.isin(values, numbers) if numbers is not None else values != 0
    to_mask = np.linalg.inv(image.affine) @ affine
    index = np.indices(shape).reshape(3, -1)
    places = np.rint(to_mask[:3, :3] @ index + to_mask[:3, 3:]).astype(np.int64)
    there = ((places >= 0) & (places < np.array(values.shape)[:, None])).all(0)
    if not there.any():
        raise InputError(f"{file}: lies elsewhere than its CT; give masks that have the affine of the CT")
    union = np.zeros(index.shape[1], bool)
    union[there] = inside[tuple(places[:, there])]
    return union.reshape(shape)
