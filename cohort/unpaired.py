"""Real films and radiographs computed of CTs that have nothing to do with each other, for training translators."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from conventions import InputError, Keys, View, read_tensors, to_json, write_tensors
from drr import VolumeGrid
from transforms import NIFTI_SUFFIXES, MatchFieldOfView, ReadRadiograph

from .pairs import SUFFIXES, VIEW_WORDS, files_below

logger = logging.getLogger("x2ct.cohort")

REAL, DRR, VIEW = "real", "drr", "view"
"""Keys of an item: a film and a radiograph of a CT, (1, rows, columns) each in [0, 1], and the view of both."""

FILM_KEY = "film_key"

FILM_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix not in NIFTI_SUFFIXES)

SIDE_MULTIPLE = 4
"""Translators halve an image twice."""

LEAST = 2
"""Of either side; one image alone has no style."""

PREPARATION = 1
"""To be raised where reading or matching films changes, so that no film kept in a `cache_dir` is older than that."""

_LAST_WORD = re.compile(r"[A-Za-z]+$")

Place = tuple[int, int, int, int]
"""(epoch, number of the film, number of the CT, number of the view)."""


def view_of(file: Path) -> View:
    """The view that a film's name tells: lateral where its last word is one for that, else PA."""
    word = _LAST_WORD.search(file.name.split(".")[0])
    return View.LATERAL if word and word[0].lower() in VIEW_WORDS[View.LATERAL] else View.PA


def check_folders(
    film_dir: str | os.PathLike[str] | None, dataset_dir: str | os.PathLike[str], image_size: int
) -> list[Path]:
    """The films of a folder, before anything takes long.

    Args:
        film_dir: folder of real films.
        dataset_dir: folder of CTs or a manifest; may be made later.
        image_size: side of the images to be trained on.

    Returns:
        Files that may be films, sorted.

    Raises:
        InputError: where a folder is not there, holds less than two films, the two look exchanged, or the size does
            not fit a translator.
    """
    if image_size % SIDE_MULTIPLE or image_size < 32:
        raise InputError(f"radiograph_size {image_size} is no multiple of {SIDE_MULTIPLE} from 32 up; give 128 or 256")
    if film_dir in (None, ""):
        raise InputError("a translator learns from real films too: give --film_dir, a folder of radiographs")
    folder, cohort = Path(str(film_dir)), Path(dataset_dir)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give --film_dir, a folder of radiographs")
    films = files_below(folder, FILM_SUFFIXES)
    if not films and files_below(folder, NIFTI_SUFFIXES):
        raise InputError(f"{folder}: holds CTs and no films; exchange --film_dir and --dataset_dir")
    if cohort.is_dir() and not files_below(cohort, NIFTI_SUFFIXES) and files_below(cohort, (".png", ".jpg", ".dcm")):
        raise InputError(f"{cohort}: holds films and no CTs; exchange --dataset_dir and --film_dir")
    if len(films) < LEAST:
        raise InputError(f"{folder}: holds {len(films)} film(s); a translator needs {LEAST} or more, hundreds better")
    return films


def prepared_films(
    files: Sequence[Path],
    grid: VolumeGrid,
    image_size: int,
    geometry: str = "x2ct",
    anchor: str = "head",
    views: Sequence[str] = tuple(View),
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Films as a model of CTs would be given them, each read and matched to the geometry once.

    What cannot be read, or shows no chest, is named in a warning and left out.

    Args:
        files: of the films; the last word of a name tells the view, see `view_of`.
        grid: grid of the volumes that the radiographs of CTs are computed of.
        image_size: rows and columns of the result.
        geometry: name of the preset.
        anchor: how volumes are laid on the grid, see `transforms.ResampleToGrid`.
        views: to be kept.
        cache_dir: folder in which what became of a film is kept for the next run, as long as the file and all of the
            above are the same; None keeps nothing, and each run takes 0.3 s a film.
        progress: whether to show how it goes on.

    Returns:
        Items `{"image": (1, image_size, image_size) in [0, 1], "view": view, "case": name, "film_key": key}`; the key
        tells the file's content from others.

    Raises:
        InputError: where less than two are left.
    """
    steps = {
        view: (ReadRadiograph(view), MatchFieldOfView(grid, image_size, geometry, anchor, views=(view,)))
        for view in map(View, views)
    }
    items: list[dict[str, Any]] = []
    problem = "none is of a view that is asked for"
    for file in tqdm(files, desc="films", unit="film", disable=not progress):
        view = view_of(file)
        if view not in steps:
            continue
        key = _key(file)
        said = to_json([PREPARATION, key, str(view), geometry, anchor, image_size, grid.shape, grid.spacing])
        kept = None if cache_dir is None else Path(cache_dir) / f"film_{_digest(said.encode())}.pt"
        if kept is not None and kept.is_file():
            image = read_tensors(kept, "is not whole ({reason}); delete it, and the film is read again")
        else:
            read, match = steps[view]
            try:
                film = read(file)
                if film.meta.get("computed"):
                    raise InputError(f"{file}: was computed of a CT and is no film; give real films")
                image = match([film]).as_tensor()
            except InputError as error:
                problem = str(error)
                logger.warning("left out: %s", problem)
                continue
            if kept is not None:
                write_tensors(kept, image)
        items.append({Keys.IMAGE.value: image, VIEW: str(view), Keys.CASE.value: file.stem, FILM_KEY: key})
    if len(items) < LEAST:
        raise InputError(f"{len(items)} of {len(files)} films can be used, {LEAST} are needed; the last one: {problem}")
    logger.info("%d of %d films are used", len(items), len(files))
    return items


def _key(file: Path) -> str:
    """What tells a film from others: of the bytes of the file, not of its name."""
    try:
        return _digest(file.read_bytes())
    except OSError:
        return "unreadable"  # reading the film will say what is wrong with it


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class UnpairedDataset(Dataset):
    """A film and a radiograph of a CT, of one view, at the places that `UnpairedSampler` gives.

    Args:
        films: items as `prepared_films` gives them.
        radiographs: dataset of items with `image` (views, rows, columns), asked for by (epoch, number), for example a
            `SeededDataset`.

    Raises:
        InputError: where the films differ in size, or there are less than two of either.
    """

    def __init__(self, films: Sequence[dict[str, Any]], radiographs: Any) -> None:
        for name, side in (("films", films), ("CTs", radiographs)):
            if len(side) < LEAST:
                raise InputError(f"there are {len(side)} {name} to train on; a translator needs {LEAST} or more")
        sizes = sorted({tuple(film[Keys.IMAGE].shape) for film in films})
        if len(sizes) > 1 or any(side % SIDE_MULTIPLE for side in sizes[0][1:]):
            raise InputError(f"the films have the sizes {sizes}; bring them to one, a multiple of {SIDE_MULTIPLE}")
        self.films = films
        self.radiographs = radiographs

    def __len__(self) -> int:
        return max(len(self.films), len(self.radiographs))

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """The item (epoch, number of the film, number of the CT, number of the view)."""
        epoch, film, case, view = place
        computed = self.radiographs[epoch, case]
        return {
            REAL: self.films[film][Keys.IMAGE],
            DRR: torch.as_tensor(computed[Keys.IMAGE])[view : view + 1],
            VIEW: self.films[film][VIEW],
            Keys.CASE.value: f"{self.films[film][Keys.CASE]} and {computed[Keys.CASE]}",
        }


class UnpairedSampler(Sampler[Place]):
    """Which film comes with which CT, and in which view: shuffled in every epoch from the seed and its number alone.

    Both of a pair are of one view, so that no discriminator can tell films by their view; a view without films is left
    out. Balanced, each view comes as often as any other, however few its films are. An epoch is as long as the longer
    side, and the shorter one is gone through again and again, in another order each time.

    Args:
        film_views: view of each film.
        cases: number of CTs.
        views: of a CT's radiographs, in order.
        seed: of all orders.
        balanced: whether views come equally often, or as often as their films are there.
        length: pairs of an epoch; None is as many as the longer side has images.
        rank: number of this process.
        world_size: number of processes.

    Raises:
        InputError: where there are no films of these views.
    """

    def __init__(
        self,
        film_views: Sequence[str],
        cases: int,
        views: Sequence[str] = tuple(View),
        seed: int = 0,
        balanced: bool = True,
        length: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.films = {i: [n for n, of in enumerate(film_views) if of == view] for i, view in enumerate(views)}
        for i, view in enumerate(views):
            if not self.films[i]:
                logger.warning("no film is a %s one, so that none is learnt", view)
                del self.films[i]
        if not self.films:
            raise InputError(f"no film is of the views {' and '.join(views)}; give --views or other films")
        self.cases = cases
        self.seed = seed
        self.balanced = balanced
        self.length = length or max(sum(map(len, self.films.values())), cases * len(self.films))
        self.rank = rank
        self.world_size = world_size
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 1."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Place]:
        """The places of this process, in the order of the epoch."""
        random = np.random.default_rng([self.seed, self.epoch])
        total = len(self) * self.world_size
        sizes = {view: 1 if self.balanced else len(films) for view, films in self.films.items()}
        shares = np.array(list(sizes.values())) / sum(sizes.values())
        ends = np.round(np.cumsum(shares) * total).astype(int)
        places: list[Place] = []
        for view, count in zip(self.films, np.diff(ends, prepend=0), strict=True):
            films = _around(random, self.films[view], int(count))
            cases = _around(random, range(self.cases), int(count))
            places += [(self.epoch, film, case, view) for film, case in zip(films, cases, strict=True)]
        order = random.permutation(total)
        return iter([places[i] for i in order[self.rank :: self.world_size]])

    def __len__(self) -> int:
        return -(-self.length // self.world_size)


def _around(random: np.random.Generator, numbers: Sequence[int], count: int) -> list[int]:
    """As many numbers, in one shuffled order after the other."""
    rounds = -(-count // len(numbers))
    return [int(n) for _ in range(rounds) for n in random.permutation(list(numbers))][:count]
