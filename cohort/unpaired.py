"""Load unpaired films and DRRs for training translators."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from conventions import InputError, Keys, View
from drr import Acquisition
from readers import CT_SUFFIXES, RADIOGRAPH_SUFFIXES, files_below, stated_view
from storage import read_tensors, to_json, write_tensors
from transforms import MatchFieldOfView, ReadRadiograph

from .ready import NO_COHORT
from .sampling import place_in_group

logger = logging.getLogger("x2ct.cohort")

FILM_KEY = "film_key"
"""Key of the digest that identifies the content of a film."""

FILM_SUFFIXES = tuple(suffix for suffix in (*RADIOGRAPH_SUFFIXES, "") if suffix not in CT_SUFFIXES)
"""Suffixes of files that may be films."""

SIDE_MULTIPLE = 4
"""Number that divides the sides of an image, since translators halve it twice."""

LEAST = 2
"""Smallest number of films and of CTs to train on; a single image has no style."""

PREPARATION = 4
"""Version of how films are read and matched; raise it with every change, so that older cached films are not used."""

Place = tuple[int, int, int, int]
"""(epoch, number of the film, number of the CT, number of the view)."""


def view_of(file: Path) -> View:
    """Return the view that the name of a film or its DICOM tags state, PA where they state none."""
    return stated_view(file) or View.PA


def find_films(
    film_dir: str | os.PathLike[str] | None, dataset_dir: str | os.PathLike[str] | None, image_size: int
) -> list[Path]:
    """Find the films to train a translator on, and check all input that can be checked without reading it.

    Args:
        film_dir: folder of real films.
        dataset_dir: folder of CTs, or a manifest; need not exist yet.
        image_size: side of the training images in pixels.

    Returns:
        Files that may be films, sorted.

    Raises:
        InputError: where a folder is not given or does not exist, there are fewer than two films, the two folders look
            swapped, or the size does not fit a translator.
    """
    if image_size % SIDE_MULTIPLE or image_size < 32:
        raise InputError(
            f"radiograph_size must be a multiple of {SIDE_MULTIPLE} from 32 up, got {image_size}; give 128 or 256"
        )
    if film_dir in (None, ""):
        raise InputError("a translator learns from real films too: give --film_dir, a folder of radiographs")
    if dataset_dir in (None, ""):
        raise InputError(NO_COHORT)
    folder, cohort = Path(str(film_dir)), Path(str(dataset_dir))
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give --film_dir, a folder of radiographs")
    films = files_below(folder, FILM_SUFFIXES)
    if not films and files_below(folder, CT_SUFFIXES):
        raise InputError(f"{folder}: holds CTs and no films; exchange --film_dir and --dataset_dir")
    if cohort.is_dir() and not files_below(cohort, CT_SUFFIXES) and files_below(cohort, (".png", ".jpg", ".dcm")):
        raise InputError(f"{cohort}: holds films and no CTs; exchange --dataset_dir and --film_dir")
    if len(films) < LEAST:
        raise InputError(f"{folder}: holds {len(films)} film(s); a translator needs at least {LEAST}, better hundreds")
    return films


def prepared_films(
    files: Sequence[Path],
    acquisition: Acquisition,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Read films and match each to the field of view of the DRRs, as for a CT model.

    A film that cannot be read or shows no chest is left out with a warning.

    Args:
        files: files of the films; the last word of a name or DICOM tags give the view (`view_of`).
        acquisition: how the DRRs are made; films of other views are left out.
        cache_dir: folder in which matched films are kept; the next run reuses them as long as file and acquisition are
            unchanged. None keeps nothing, and each run takes 0.3 s per film.
        progress: whether to show a progress bar.

    Returns:
        Items `{"image": (1, rows, columns) in [0, 1], "view": view, "case": name, "film_key": key}`; the key identifies
        the content of the file.

    Raises:
        InputError: where fewer than two films can be used, or films cannot be matched to the acquisition.
    """
    steps = {
        view: (ReadRadiograph(view), MatchFieldOfView(acquisition.replace(view_names=(view,))))
        for view in acquisition.view_names
    }
    items: list[dict[str, Any]] = []
    problem = f"no file name gives one of the views {' and '.join(steps)}"
    for file in tqdm(files, desc="films", unit="film", disable=not progress):
        view = view_of(file)
        if view not in steps:
            continue
        key = _key(file)
        made_by = to_json([PREPARATION, key, str(view), {**acquisition.record(), "views": [str(view)]}])
        kept = None if cache_dir is None else Path(cache_dir) / f"film_{_digest(made_by.encode())}.pt"
        if kept is not None and kept.is_file():
            image = read_tensors(kept, "is incomplete ({reason}); delete it, and the film is read again")
        else:
            read, match = steps[view]
            try:
                film = read(file)
                if film.meta.get("computed"):
                    raise InputError(f"{file}: is a DRR, not a film; give real films")
                image = match([film]).as_tensor()
            except InputError as error:
                problem = str(error)
                logger.warning("left out: %s", problem)
                continue
            if kept is not None:
                write_tensors(kept, image)
        items.append({Keys.IMAGE.value: image, Keys.VIEW.value: str(view), Keys.CASE.value: file.stem, FILM_KEY: key})
    if len(items) < LEAST:
        raise InputError(f"{len(items)} of {len(files)} films can be used, {LEAST} are needed; last problem: {problem}")
    logger.info("%d of %d films are used", len(items), len(files))
    return items


def _key(file: Path) -> str:
    """Compute the key of a film, from the bytes of its file and not its name."""
    try:
        return _digest(file.read_bytes())
    except OSError:
        return "unreadable"  # reading the film will report what is wrong


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class UnpairedDataset(Dataset):
    """A dataset of pairs of a film and a DRR of the same view, indexed by the tuples that `UnpairedSampler` yields.

    Args:
        films: items from `prepared_films`.
        radiographs: dataset of items with `image`, DRRs (views, rows, columns), indexed by (epoch, number), for example
            a `SeededDataset`.

    Raises:
        InputError: where the films differ in size, or there are fewer than two films or CTs.
    """

    def __init__(self, films: Sequence[dict[str, Any]], radiographs: Any) -> None:
        for name, side in (("films", films), ("CTs", radiographs)):
            if len(side) < LEAST:
                raise InputError(f"there are {len(side)} {name} to train on; a translator needs at least {LEAST}")
        sizes = sorted({tuple(film[Keys.IMAGE].shape) for film in films})
        if len(sizes) > 1 or any(side % SIDE_MULTIPLE for side in sizes[0][1:]):
            raise InputError(f"the films have the sizes {sizes}; bring them to one size, a multiple of {SIDE_MULTIPLE}")
        self.films = films
        self.radiographs = radiographs

    def __len__(self) -> int:
        return max(len(self.films), len(self.radiographs))

    def __getitem__(self, place: Place) -> dict[str, Any]:
        """Load the item at (epoch, number of the film, number of the CT, number of the view)."""
        epoch, film, case, view = place
        rendered = self.radiographs[epoch, case]
        return {
            Keys.REAL.value: self.films[film][Keys.IMAGE],
            Keys.DRR.value: torch.as_tensor(rendered[Keys.IMAGE])[view : view + 1],
            Keys.VIEW.value: self.films[film][Keys.VIEW],
            Keys.CASE.value: f"{self.films[film][Keys.CASE]} and {rendered[Keys.CASE]}",
        }


class UnpairedSampler(Sampler[Place]):
    """A sampler that pairs films and CTs at random in each epoch, from the seed and the number of the epoch alone.

    Film and DRR are of the same view, so that no discriminator can tell films by their view; a view without films is
    left out. If balanced, all views are equally frequent, however few films a view has. An epoch is as long as the
    larger side; the smaller side is repeated, in another order each time.

    Args:
        film_views: view of each film.
        cases: number of CTs.
        views: views of the DRRs, in order.
        seed: seed of all orders.
        balanced: whether all views are equally frequent, instead of as frequent as their films.
        length: pairs per epoch; None takes the number of images of the larger side.
        rank: number of this process; None asks the process group.
        world_size: number of processes; None asks the process group.

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
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.films = {i: [n for n, of in enumerate(film_views) if of == view] for i, view in enumerate(views)}
        for i, view in enumerate(views):
            if not self.films[i]:
                logger.warning("there is no %s film, so the translator will not learn this view", view)
                del self.films[i]
        if not self.films:
            raise InputError(f"there is no film of the views {' and '.join(views)}; give other --views or films")
        self.cases = cases
        self.seed = seed
        self.balanced = balanced
        self.length = length or max(sum(map(len, self.films.values())), cases * len(self.films))
        self.rank, self.world_size = place_in_group(rank, world_size)
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch, from 1."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Place]:
        """Iterate over the indices of this process in the order of the epoch."""
        random = np.random.default_rng([self.seed, self.epoch])
        total = len(self) * self.world_size
        sizes = {view: 1 if self.balanced else len(films) for view, films in self.films.items()}
        shares = np.array(list(sizes.values())) / sum(sizes.values())
        ends = np.round(np.cumsum(shares) * total).astype(int)
        places: list[Place] = []
        for view, count in zip(self.films, np.diff(ends, prepend=0), strict=True):
            films = _repeated(random, self.films[view], int(count))
            cases = _repeated(random, range(self.cases), int(count))
            places += [(self.epoch, film, case, view) for film, case in zip(films, cases, strict=True)]
        order = random.permutation(total)
        return iter([places[i] for i in order[self.rank :: self.world_size]])

    def __len__(self) -> int:
        return -(-self.length // self.world_size)


def _repeated(random: np.random.Generator, numbers: Sequence[int], count: int) -> list[int]:
    """Repeat the numbers up to a count, in a new random order each time."""
    rounds = -(-count // len(numbers))
    return [int(n) for _ in range(rounds) for n in random.permutation(list(numbers))][:count]
