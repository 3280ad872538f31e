"""Compare the grey levels of real films with those of simulated ones.

Writes its section of docs/benchmarks.md. Run from the repository, with pairs named CASE_pa.* and CASE_lateral.*, and
with the data of the ladder:
    python -m benchmarks.film_tones --pairs FOLDER --data X2CT_DATA

Method: Real pairs are read and matched as `inferring` does, at 128 x 128 pixels. Simulated films are made of the
ladder's held-out CTs, twelve of each: by `RandFilm`, with which film_randomised.json trains, and by
`benchmarks.pseudo_real`. The percentiles are those of the pixels that are measured within the central 80 x 80 pixels of
a film, where the lungs are. Figures are means over the films, with their standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fire
import numpy as np
import torch
from monai.transforms import Compose

from benchmarks.ladder import FULL, VALIDATION, cases_of
from benchmarks.pseudo_real import pseudo_real
from benchmarks.report import replace_section
from cohort import radiograph_pairs
from conventions import Keys, report_input_errors
from transforms import MatchFieldOfViewd, RandFilm, RayCastDRR, ReadRadiographd, ReadVolume, ResampleToGrid

TITLE = "Tones of films"
"""Title of its section of the page."""

PERCENTILES = (10, 25, 50, 75, 90)
"""Percentiles that are compared."""

CENTRE = np.s_[24:104, 24:104]
"""Part of a film that is compared."""

REPEATS = 12
"""Simulated films of each CT."""


def percentiles(films: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Return the percentiles of films (views, rows, columns) within their fields: (views, percentiles)."""
    pairs = zip(films, fields, strict=True)
    return np.stack([np.percentile(film[CENTRE][field[CENTRE]], PERCENTILES) for film, field in pairs])


def real(pairs: str) -> np.ndarray:
    """Return the percentiles of real pairs: (pairs, views, percentiles)."""
    key = Keys.IMAGE.value
    read = Compose([ReadRadiographd(key), MatchFieldOfViewd(key, FULL)])
    items = [read(item) for item in radiograph_pairs(pairs)]
    return np.stack([percentiles(np.asarray(item[key]), np.asarray(item[Keys.FIELD])) for item in items])


def simulated(data: str) -> dict[str, np.ndarray]:
    """Return those of simulated films of the held-out CTs, by the name of the simulation."""
    paths = cases_of(Path(data))
    found: dict[str, list[np.ndarray]] = {"RandFilm": [], "pseudo-real": []}
    for number, name in enumerate(VALIDATION):
        volume_hu = ResampleToGrid(FULL)(ReadVolume()(paths[name])).as_tensor()
        drrs = RayCastDRR(FULL)(volume_hu)
        for seed in range(number * REPEATS, (number + 1) * REPEATS):
            film = RandFilm(FULL.film_style, plain=0.0).set_random_state(seed)(drrs)
            found["RandFilm"].append(percentiles(film.numpy(), film.meta[Keys.FIELD].numpy()))
            found["pseudo-real"].append(percentiles(*pseudo_real(volume_hu, FULL, seed)))
    return {name: np.stack(values) for name, values in found.items()}


def table(rows: dict[str, np.ndarray]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| films | view | {' | '.join(f'{p} %' for p in PERCENTILES)} |"
    yield "|---" * (len(PERCENTILES) + 2) + "|"
    for view, title in enumerate(FULL.view_names):
        for name, values in rows.items():
            cells = zip(values[:, view].mean(0), values[:, view].std(0), strict=True)
            yield f"| {name} | {title} | {' | '.join(f'{mean:.2f} (± {spread:.2f})' for mean, spread in cells)} |"


def run(pairs: str, data: str, output: str = "docs/benchmarks.md") -> None:
    """Measure and write the section.

    Args:
        pairs: folder of real pairs.
        data: folder with the CTs of the ladder.
        output: page that holds the section.
    """
    torch.set_num_threads(1)
    of_pairs = real(pairs)
    lines = list(table({f"real, {len(of_pairs)} pairs": of_pairs, **simulated(data)}))
    assert __doc__ is not None
    method = ["Written by `python -m benchmarks.film_tones`.", "", __doc__.partition("Method: ")[2]]
    replace_section(output, TITLE, [*method, *lines])
    print("\n".join(lines))


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(run)
