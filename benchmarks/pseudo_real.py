"""Measure the cost of a film's look: CTs predicted from simulated films of known CTs.

Writes its section of docs/benchmarks.md. Run from the repository, with a trained model and the manifest of its cohort:
    python -m benchmarks.pseudo_real --checkpoint MODEL.pt --manifest MANIFEST [--randomised MODEL2.pt] \
        [--cyclegan real_to_drr.pt] [--fastcut OTHER/real_to_drr.pt]

Method: Each CT of the test and validation folds, or of one of them, is rendered three times as a pair of films, with
different settings. Before the logarithm, scatter is added that is 30 to 40 % of the radiation behind the patient, a
third of it spread by a Gaussian with a sigma of 0.06 of the height and the rest by one of 0.3, and the photons are
counted, 100,000 in an open pixel. The film's curve has a long toe and a short shoulder: 1 - exp(-exp(slope (p -
steepest))) of the line integral p, with a slope of 1.1 to 1.4 and steepest at 2.6 to 3.2. It is sharpened with a narrow
mask (0.01 of the height, strength 1.5), stretched between its 0.5 and 99.5 percentiles as films are read, and black
beyond the film on two sides (5 to 15 % of each), with an L in a corner. `RandFilm` draws none of these looks: its
curves stay more than 0.03 away from each of these somewhere, it scatters with one Gaussian, its mask is 0.02 wide or
more, its marks are random squares. The share of scatter, the noise and the borders are such as it draws.

These films lie in the preset's geometry, so that they measure the look alone. "Off" films have the same looks in a
geometry that nobody states: SDD up to 60 mm off the preset's, rotation up to 3 degrees, tilt up to 2, shift up to 8 mm.
The randomised model has seen such geometry, apart from the SDD; the other at most that of augmented.json. All films
cover the detector of the model's geometry and are not moved, so that the truth is the CT on the model's grid; "Field of
view" measures the position. They have 128 pixels per side, are rendered from the CT at 128^3, translated at this size,
and then resized to what the model reads. The learned translators were trained on real films and on the CTs of the
training fold, never on films of this kind. "Own" radiographs are DRRs as in the model's training, the best case; "cut
as the films" they are black beyond the films' edges, and DRRs otherwise: what a film does not show is lost.

Figures are means over the CTs of the means over their films; in brackets the 95 % interval of 2000 bootstrap samples of
the CTs; "gain" is the difference from the same films without a translator, CT by CT. "Updated" volumes were made to
agree with the films by the consistency update with `monotone` tones, within the films' fields and in the preset's
geometry; own radiographs with their given tones. The peak of PSNR is the width of the HU window, SSIM is 3-D, MAE is in
HU. The mean training volume is the prediction of a model that ignores its input. A model that has seen a patient of the
test fold is refused; the validation fold has selected the weights of each model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from benchmarks.options import names as check_names
from benchmarks.report import replace_section
from cohort import load_datalist, mean_training_volume, patient_keys
from conventions import InputError, Keys, hu_to_unit, report_input_errors, unit_to_hu
from drr import (
    Acquisition,
    VolumeGrid,
    add_noise,
    add_scatter,
    edge_letters,
    geometry_tensor,
    hu_to_mu,
    perturb_geometry,
    project,
)
from metrics import mae, psnr, ssim
from networks import ConsistencyUpdate, load
from readers import FILM_PERCENTILES
from reports import draw_radiographs
from transforms import HUWindowd, RayCastDRR, ReadVolume, ReadVolumed, ResampleToGrid, ResampleToGridd, StyleTransfer

TITLE = "Pseudo-real radiographs"
"""Title of its section of the page."""

MEASURES = ("PSNR dB", "SSIM", "MAE HU")
"""Titles of the columns of `measures`."""

FOLDS = ("test", "validation")
"""Folds whose CTs may be measured."""

STYLES = ("none", "histogram")
"""Methods of `StyleTransfer` that need no translator."""

KNOWN_DAMPING = 0.1
"""Damping of the update where tones and geometry are known, its default for DRRs."""

DAMPINGS = (0.3, 1.0)
"""Dampings of the update on films; 1 is its default for them."""

FILM_SIDE = 128
"""Side of the films in pixels, and of the CTs from which they are rendered in voxels."""

PICTURE = Path("images") / "pseudo_real.png"
"""Picture of the section, from the folder of the page."""

PLAIN, RANDOMISED = "trained on own radiographs", "trained with film_randomised.json"
"""Names of the models in the table."""

OWN, CUT, PSEUDO_REAL, UPDATED = "own radiographs", "own radiographs, cut as the films", "pseudo-real", ", updated"
"""What they are shown, and what follows."""

Translator = tuple[Any, Mapping[str, Any]]
"""Network and record of a translator, as `networks.load` returns them."""


class Model:
    """A trained generator and what it was trained for.

    Args:
        checkpoint: the model file, with its record next to it.
        held_out: keys of patients that it must not have seen.
        like: model with whose acquisition and HU window it must agree.

    Raises:
        InputError: where a file is missing, a patient was seen, or the two models differ.
    """

    def __init__(self, checkpoint: str, held_out: Sequence[str] = (), like: Model | None = None) -> None:
        expect = None if like is None else {"acquisition": like.acquisition.record(), "hu_window": like.window}
        self.network, record = load(checkpoint, expect, held_out=held_out)
        if not {"acquisition", "hu_window"} <= set(record):
            raise InputError(f"{checkpoint}: makes no volume; give a model that training wrote")
        self.acquisition: Acquisition = Acquisition.from_record(record["acquisition"])
        self.window: tuple[float, float] = tuple(record["hu_window"])

    @property
    def films(self) -> Acquisition:
        """The same acquisition with the voxels and pixels from which films are rendered."""
        extent = self.acquisition.grid.size[1]
        return self.acquisition.replace(grid=VolumeGrid(FILM_SIDE, extent / FILM_SIDE), detector_shape=FILM_SIDE)

    def predict(self, image: np.ndarray) -> torch.Tensor:
        """Predict unit values (1, 1, D, H, W) from radiographs (views, rows, columns)."""
        with torch.no_grad():
            shown = torch.from_numpy(image.astype(np.float32))[None]
            return self.network(shown, geometry=self.acquisition.geometry_tensor()[None]).clip(0, 1)

    def update(self, volume: torch.Tensor, image: np.ndarray, field: np.ndarray | None, damping: float) -> torch.Tensor:
        """Make a volume agree with its radiographs: real films where they have a field, else DRRs."""
        update = ConsistencyUpdate(self.acquisition, self.window, damping=damping)
        measured = None if field is None else torch.from_numpy(field)[None]
        with torch.no_grad():
            shown = torch.from_numpy(image.astype(np.float32))[None]
            updated: torch.Tensor = update(volume, shown, field=measured, real=field is not None)
        return updated


def _field(field: np.ndarray, model: Model) -> np.ndarray:
    """Return the field of films (views, rows, columns) in the size that the model reads: what is wholly measured."""
    size = model.acquisition.detector_shape
    share = interpolate(torch.from_numpy(field)[None].float(), size, mode="area")[0]
    return (share > 0.999).numpy()


def own_radiographs(volume_hu: torch.Tensor, model: Model) -> np.ndarray:
    """Render a volume (1, D, H, W) as in the training of the model: (views, rows, columns)."""
    return RayCastDRR(model.acquisition)(volume_hu).as_tensor().numpy()


def pseudo_real(
    volume_hu: torch.Tensor, acquisition: Acquisition, seed: int, off: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Render simulated films as the docstring of this module describes them.

    Args:
        volume_hu: (1, D, H, W) on the grid of the acquisition.
        acquisition: `Model.films`.
        seed: seed of everything random.
        off: whether the geometry is off that of the acquisition.

    Returns:
        The films, (views, rows, columns) in [0, 1], and their fields, bool: false beyond the film. As on real films,
        the mark counts as measured.
    """
    rng = np.random.default_rng(seed)
    views = geometry_tensor(acquisition.views, torch.float64)
    amounts = {"sdd": 60, "angle": 3, "tilt": 2, "shift_columns": 8, "shift_rows": 8}
    drawn = {name: rng.uniform(-a, a, views.shape[:2]) for name, a in amounts.items()}
    moves = {name: torch.from_numpy(values * off) for name, values in drawn.items()}
    line_integrals = project(
        hu_to_mu(volume_hu[None], acquisition.curve),
        acquisition.grid,
        perturb_geometry(views, **moves),
        detector_shape=acquisition.detector_shape,
    )
    generator = torch.Generator().manual_seed(seed)
    made = []
    for plane in line_integrals[0]:
        noisy = add_noise(scattered(plane, rng.uniform(0.3, 0.4)), 100_000, generator)
        made.append(_film(noisy.numpy(), rng))
    films, fields = (np.stack(parts) for parts in zip(*made, strict=True))
    return films, fields


def scattered(line_integrals: torch.Tensor, share: float) -> torch.Tensor:
    """Add scatter to line integrals (rows, columns), a third of it spread narrowly and the rest widely."""
    height = line_integrals.shape[-2]
    return add_scatter(line_integrals, share, (0.06 * height, 0.3 * height, 0.3 * height))


def tone(line_integrals: np.ndarray, slope: float, steepest: float) -> np.ndarray:
    """Apply a characteristic curve with a long toe and a short shoulder."""
    return np.asarray(1 - np.exp(-np.exp(slope * (line_integrals - steepest))))


def _film(line_integrals: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turn line integrals (rows, columns) into a film with a tone curve, sharpening and mark, and its field."""
    height = line_integrals.shape[0]
    film = tone(line_integrals, rng.uniform(1.1, 1.4), rng.uniform(2.6, 3.2))
    film = film + 1.5 * (film - gaussian_filter(film, 0.01 * height))
    field = np.ones(film.shape, bool)
    edge, side = (round(share * height) for share in rng.uniform(0.05, 0.15, 2))
    field[-edge:] = False
    field[:, -side:] = False
    low, high = np.percentile(film[field], FILM_PERCENTILES)
    film = np.where(field, ((film - low) / (high - low)).clip(0, 1), 0)
    mark = max(2, height // 20)
    bottom = height - edge
    film[bottom - 2 * mark : bottom - mark, mark : mark + max(1, mark // 3)] = 1  # an L
    film[bottom - mark - max(1, mark // 3) : bottom - mark, mark : 2 * mark] = 1
    return film.astype(np.float32), field


def measures(prediction: torch.Tensor, truth: torch.Tensor, window: tuple[float, float]) -> list[float]:
    """Compute PSNR, SSIM and MAE in HU of unit volumes (1, 1, D, H, W)."""
    hu = [unit_to_hu(volume, window) for volume in (prediction, truth)]
    return [float(psnr(prediction, truth, 1.0)), float(ssim(prediction, truth, 1.0)), float(mae(*hu))]


def evaluate(
    volumes: Sequence[tuple[torch.Tensor, torch.Tensor]],
    models: Mapping[str, Model],
    translators: Mapping[str, Translator | None],
    mean: torch.Tensor | None,
    repeats: int,
) -> dict[str, np.ndarray]:
    """Measure every model with every kind of radiographs.

    Args:
        volumes: truths (1, D, H, W) in HU on the grid of the models, and the same CTs on that of the films.
        models: name -> model; all agree in their acquisition and HU window.
        translators: method of `StyleTransfer` -> its translator, or None.
        mean: mean training volume (1, D, H, W), unit values; None leaves it out.
        repeats: films of each CT.

    Returns:
        Row of the table -> (CTs, metrics and the gain in dB over "none").
    """
    rows: dict[str, list[list[float]]] = {}
    model = next(iter(models.values()))
    for number, (volume, fine) in enumerate(volumes):
        truth = hu_to_unit(volume[None], model.window)
        if mean is not None:
            _add(rows, "mean training volume", measures(mean[None], truth, model.window))
        seeds = [1000 * number + i for i in range(repeats)]
        straight, off = ([pseudo_real(fine, model.films, seed, off) for seed in seeds] for off in (False, True))
        for name, each in models.items():
            image = own_radiographs(volume, each)
            predicted = each.predict(image)
            own = measures(predicted, truth, each.window)
            _add(rows, f"{name}, {OWN}", own)
            updated = measures(each.update(predicted, image, None, KNOWN_DAMPING), truth, each.window)
            _add(rows, f"{name}, {OWN}{UPDATED}", updated, own)
            cut = [np.where(_field(field, each), image, 0) for _, field in straight]
            _add(rows, f"{name}, {CUT}", _mean_of([each.predict(part) for part in cut], truth, each), own)
            for kind, made in ((PSEUDO_REAL, straight), (f"{PSEUDO_REAL} off", off)):
                _measure_films(rows, f"{name}, {kind}", each, made, truth, translators if kind == PSEUDO_REAL else {})
    return {name: np.array(values) for name, values in rows.items()}


def _measure_films(
    rows: dict[str, list[list[float]]],
    name: str,
    model: Model,
    made: Sequence[tuple[np.ndarray, np.ndarray]],
    truth: torch.Tensor,
    translators: Mapping[str, Translator | None],
) -> None:
    """Measure a model on the films of a CT: as they are, updated, and translated."""
    films = [film for film, _ in made]
    shown = translate(films, "none", None, model)
    predicted = [model.predict(image) for image in shown]
    plain = _mean_of(predicted, truth, model)
    _add(rows, f"{name}, none", plain)
    fields = [_field(field, model) for _, field in made]
    for damping in DAMPINGS:
        updated = [model.update(*each, damping) for each in zip(predicted, shown, fields, strict=True)]
        _add(rows, f"{name}, none{UPDATED}, damping {damping:g}", _mean_of(updated, truth, model), plain)
    for style, translator in translators.items():
        if style != "none":
            images = translate(films, style, translator, model)
            _add(rows, f"{name}, {style}", _mean_of([model.predict(image) for image in images], truth, model), plain)


def _mean_of(volumes: Sequence[torch.Tensor], truth: torch.Tensor, model: Model) -> list[float]:
    """Return the means of the measures of the volumes of a CT."""
    found: list[float] = np.mean([measures(volume, truth, model.window) for volume in volumes], 0).tolist()
    return found


def _add(
    rows: dict[str, list[list[float]]], name: str, figures: Sequence[float], before: Sequence[float] | None = None
) -> None:
    """Add the figures of a CT to a row of the table, with the gain in dB over others."""
    gain = float("nan") if before is None else figures[0] - before[0]
    rows.setdefault(name, []).append([*figures, gain])


def summary(rows: Mapping[str, np.ndarray]) -> str:
    """Say in a sentence how much of what the look costs training on random films brings back, and what it costs."""
    found = {}
    for name, best in ((PLAIN, "none"), (RANDOMISED, f"none{UPDATED}, damping {DAMPINGS[-1]:g}")):
        found[name] = [rows[f"{name}, {kind}"][:, 0] for kind in (OWN, f"{PSEUDO_REAL}, {best}")]
    (own, film), (own_random, film_random) = found[PLAIN], found[RANDOMISED]
    lost = own_random - rows[f"{RANDOMISED}, {CUT}"][:, 0]
    cost, back, loss = own - film, film_random - film, own - own_random
    low, high = interval(back)
    share = back.mean() / cost.mean()
    return (
        f"The look of films costs the model of plain radiographs {cost.mean():.2f} dB. Training on random films and "
        f"the update bring back {back.mean():.2f} ({low:.2f} to {high:.2f}), {100 * share:.0f} %, and such training "
        f"costs {loss.mean():.2f} ({' to '.join(f'{end:.2f}' for end in interval(loss))}) on plain radiographs. "
        f"What lies beyond the films' edges alone costs the model of random films {lost.mean():.2f}."
    )


def translate(films: Sequence[np.ndarray], style: str, translator: Translator | None, model: Model) -> list[np.ndarray]:
    """Bring films to the style and the size that the model reads."""
    network, record = translator or (None, None)
    transfer = StyleTransfer(style, model.acquisition, network, record, size=model.acquisition.detector_shape[0])
    return [transfer(torch.from_numpy(film)).numpy() for film in films]


def interval(values: np.ndarray, seed: int = 0, samples: int = 2000) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (samples, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def table(rows: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| network, radiographs, translator | {' | '.join(MEASURES)} | gain dB |"
    yield "|---" * (len(MEASURES) + 2) + "|"
    for name, values in rows.items():
        cells = []
        for column, form in zip(values.T, (".2f", ".3f", ".1f", "+.2f"), strict=True):
            low, high = interval(column)
            cells.append("" if np.isnan(column).any() else f"{column.mean():{form}} ({low:{form}} to {high:{form}})")
        yield f"| {name} | {' | '.join(cells)} |"


def _volumes(items: Sequence[Mapping[str, Any]], acquisition: Acquisition) -> list[torch.Tensor]:
    resample = ResampleToGrid(acquisition)
    return [resample(ReadVolume()(item[Keys.LABEL])).as_tensor() for item in items]


def run(
    checkpoint: str,
    manifest: str,
    randomised: str | None = None,
    cyclegan: str | None = None,
    fastcut: str | None = None,
    repeats: int = 3,
    folds: Any = FOLDS,
    output: str = "docs/benchmarks.md",
) -> None:
    """Measure, draw and write the section.

    Args:
        checkpoint: a model, with its record next to it.
        manifest: manifest of the cohort it was trained with.
        randomised: a model trained as long with film_randomised.json.
        cyclegan: real_to_drr.pt of train_cyclegan.json, trained on the same fold train.
        fastcut: real_to_drr.pt of train_cyclegan.json with fastcut.json, trained on the same fold train.
        repeats: films of each CT.
        folds: folds of the manifest to measure, separated by commas; the ladder's has no fold test.
        output: page that holds the section; the picture goes to images/ next to it.
    """
    chosen = check_names(folds, FOLDS)
    test, validation = (load_datalist(manifest, fold) if fold in chosen else [] for fold in FOLDS)
    models = {PLAIN: Model(checkpoint, patient_keys([test]))}
    first = models[PLAIN]
    if randomised:
        models[RANDOMISED] = Model(randomised, patient_keys([test]), like=first)
    learned = {"cyclegan": cyclegan, "fastcut": fastcut}
    seen_by_none = patient_keys([test, validation])
    translators: dict[str, Translator | None] = dict.fromkeys(STYLES)
    translators |= {name: load(file, held_out=seen_by_none) for name, file in learned.items() if file}
    items = [*test, *validation]
    volumes = [_volumes(items, acquisition) for acquisition in (first.acquisition, first.films)]
    key = Keys.LABEL.value
    unit_volume = Compose([ReadVolumed(key), ResampleToGridd(key, first.acquisition), HUWindowd(key, first.window)])
    mean = mean_training_volume(checkpoint, manifest, unit_volume)
    rows = evaluate(list(zip(*volumes, strict=True)), models, translators, mean, repeats)
    shown = {"own": own_radiographs(volumes[0][0], first)}
    film, _ = pseudo_real(volumes[1][0], first.films, seed=0)
    for style, translator in translators.items():
        shown["pseudo-real" if style == "none" else style] = translate([film], style, translator, first)[0]
    letters = [edge_letters(view) for view in first.acquisition.views] * len(shown)
    names = [f"{name}, {view}" for name in shown for view in first.acquisition.view_names]
    draw_radiographs(Path(output).parent / PICTURE, np.concatenate(list(shown.values())), names, letters)
    assert __doc__ is not None
    lines = ["Written by `python -m benchmarks.pseudo_real`.", "", __doc__.partition("Method: ")[2]]
    lines += [
        f"{len(items)} CTs, {repeats} films of each.",
        "",
        *table(rows),
        "",
        *([summary(rows), ""] if randomised else []),
        f"![Radiographs]({PICTURE})",
    ]
    replace_section(output, TITLE, lines)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    report_input_errors()
    fire.Fire(run)
