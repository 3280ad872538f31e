"""What a film's look costs: CTs predicted from films with a known CT behind them.

Writes its section of docs/benchmarks.md. Run from the repository, with a trained model and the manifest of its cohort:
    python -m benchmarks.pseudo_real --checkpoint MODEL.pt --manifest MANIFEST [--randomised MODEL2.pt] \
        [--cyclegan real_to_drr.pt] [--fastcut OTHER/real_to_drr.pt]

Method: Each CT of the folds test and validation is rendered as films, three times with other numbers: geometry off the
preset's (SDD up to 60 mm, turned up to 3 degrees, tilted up to 2, off centre up to 8 mm), a logistic curve of density
as film has it (slope 8 to 12 at a density of 0.3 to 0.4), quantum noise of 20,000 photons, scatter (30 to 40 % with a
sigma of 0.08 of the height), sharpening with a narrow mask (0.01 of the height, strength 1.5), a collimated border on
two sides and an L in a corner. `RandFilm` draws none of these looks: its gammas with a smooth step mixed in stay more
than 0.1 away from each of these curves somewhere, its haze is at most 25 % of a sigma of 0.15, its mask 0.03 wide and
of strength 1 at most, its noise none of photons, its marks random squares. Borders are as narrow as some that it draws,
and but for the SDD the geometry is off by no more than film_randomised.json varies it: the randomised model has seen
such geometry, the other at most what augmented.json gives. The films cover the detector of the model's geometry and are
taken as they lie, so that the truth is the CT on the model's grid and the figures tell of the look and of small errors
of geometry alone; for the place see "Field of view". They have 128 pixels a side and are rendered of the CT at 128^3,
are translated so, and then brought to the size that the model reads. The learned translators were trained on real films
and on the CTs of the fold train, never on films of this kind. "Own" are the radiographs that the model was trained on,
the best to be had. Figures are means over the CTs, of the means over their films; in brackets the 95 % interval of 2000
bootstrap samples of the CTs; "gain" is the difference from the same films without a translator, CT by CT. PSNR has its
peak at the width of the HU window, SSIM is 3-D, MAE in HU. The mean training volume is what reading nothing gives. A
model that has seen a patient of the fold test is refused; the fold validation has chosen the weights of each model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.report import replace_section
from cohort import load_datalist, patient_keys
from conventions import InputError, View, hu_to_unit, report_input_errors, unit_to_hu
from drr import VolumeGrid, geometry_tensor, hu_to_mu, perturb_geometry, preset, project, to_film
from engines.checkpoint import check_unseen, load_model, read_record
from metrics import mae, psnr, ssim
from networks import build_network, load_network
from reports import draw_radiographs
from transforms import ReadVolume, ResampleToGrid, StyleTransfer

TITLE = "Pseudo-real radiographs"
MEASURES = ("PSNR dB", "SSIM", "MAE HU")
STYLES = ("none", "histogram")
FILM_SIDE = 128
"""Of the films in pixels, and of the CTs they are rendered of in voxels."""

PICTURE = Path("images") / "pseudo_real.png"


class Model:
    """A trained generator and the recipe it was trained for.

    Args:
        checkpoint: with its record beside it.
        held_out: keys of patients that it must not have seen.

    Raises:
        InputError: where one of the two is missing, or a patient was seen.
    """

    def __init__(self, checkpoint: str, held_out: Sequence[str] = ()) -> None:
        record = read_record(checkpoint)
        if record is None:
            raise InputError(f"{checkpoint}: has no record beside it; give a model that training wrote")
        self.record = record
        grid = record["grid"]
        self.grid = VolumeGrid(grid["shape"], grid["spacing"])
        self.window = tuple(record["hu_window"])
        spec = record["network"]
        network = build_network(spec["name"], **spec["arguments"])
        self.network = load_model(network, checkpoint, record, held_out)

    @property
    def recipe(self) -> tuple[str, str, str, str]:
        """Geometry, curve, film, anchor."""
        return (*(self.record[key] for key in ("geometry", "curve", "film")), self.record["grid"]["anchor"])

    def predict(self, image: np.ndarray) -> torch.Tensor:
        """(1, 1, D, H, W) unit values of radiographs (views, rows, columns)."""
        with torch.no_grad():
            return self.network(torch.from_numpy(image.astype(np.float32))[None]).clip(0, 1)


def own_radiographs(volume_hu: torch.Tensor, model: Model) -> np.ndarray:
    """(views, rows, columns) as the model was trained on, of a volume (1, D, H, W)."""
    geometry, curve, film, _ = model.recipe
    views = preset(geometry, model.grid.shape[1:])
    return to_film(project(hu_to_mu(volume_hu[None], curve), model.grid, views), film)[0].numpy()


def film_grid(model: Model) -> VolumeGrid:
    """The model's cube in the voxels that films are rendered of."""
    extent = model.grid.shape[1] * model.grid.spacing[1]
    return VolumeGrid([FILM_SIDE] * 3, extent / FILM_SIDE)


def pseudo_real(volume_hu: torch.Tensor, model: Model, seed: int) -> np.ndarray:
    """Films (views, rows, columns) of a volume (1, D, H, W) on `film_grid`, as the module's docstring has them."""
    rng = np.random.default_rng(seed)
    geometry, curve, _, _ = model.recipe
    size = FILM_SIDE
    views = geometry_tensor(preset(geometry, (size, size)), torch.float64)
    amounts = {"sdd": 60, "angle": 3, "tilt": 2, "shift_columns": 8, "shift_rows": 8}
    moves = {name: torch.from_numpy(rng.uniform(-a, a, views.shape[:2])) for name, a in amounts.items()}
    density = project(
        hu_to_mu(volume_hu[None], curve),
        film_grid(model),
        perturb_geometry(views, **moves),
        detector_shape=(size, size),
    )
    generator = torch.Generator().manual_seed(seed)
    noisy = to_film(density, "linear", photons=20_000, generator=generator)[0].numpy()
    return np.stack([_film(plane.clip(0), rng) for plane in noisy]).astype(np.float32)


def _film(density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height = density.shape[0]
    share = rng.uniform(0.3, 0.4)
    density = (1 - share) * density + share * gaussian_filter(density, 0.08 * height)
    slope, middle = rng.uniform(8, 12), rng.uniform(0.3, 0.4)
    logistic = [1 / (1 + np.exp(-slope * (value - middle))) for value in (density, 0.0, 1.0)]
    film = (logistic[0] - logistic[1]) / (logistic[2] - logistic[1])
    film = film + 1.5 * (film - gaussian_filter(film, 0.01 * height))
    top, side = (int(rng.integers(1, max(2, height // 16))) for _ in range(2))
    film[:top] = 0
    film[:, -side:] = 0
    mark = max(2, height // 20)
    film[-2 * mark : -mark, mark : mark + max(1, mark // 3)] = 1  # an L
    film[-mark - max(1, mark // 3) : -mark, mark : 2 * mark] = 1
    return film.clip(0, 1)


def measures(prediction: torch.Tensor, truth: torch.Tensor, window: tuple[float, float]) -> list[float]:
    """PSNR, SSIM and MAE in HU of unit volumes (1, 1, D, H, W)."""
    hu = [unit_to_hu(volume, window) for volume in (prediction, truth)]
    return [float(psnr(prediction, truth, 1.0)), float(ssim(prediction, truth, 1.0)), float(mae(*hu))]


def evaluate(
    volumes: Sequence[tuple[torch.Tensor, torch.Tensor]],
    models: Mapping[str, Model],
    translators: Mapping[str, Any],
    mean: torch.Tensor,
    repeats: int,
) -> dict[str, np.ndarray]:
    """Measure every way.

    Args:
        volumes: truths (1, D, H, W) in HU on the models' grid, and the same on `film_grid`.
        models: name -> model, of one recipe.
        translators: method of `StyleTransfer` -> its network, or None.
        mean: training volume (1, 1, D, H, W), unit values.
        repeats: films of each CT.

    Returns:
        Row of the table -> (CTs, measures and the gain in dB over "none").
    """
    rows: dict[str, list[list[float]]] = {}
    nothing = [float("nan")]
    model = next(iter(models.values()))
    for number, (volume, fine) in enumerate(volumes):
        truth = hu_to_unit(volume[None], model.window)
        rows.setdefault("mean training volume", []).append(measures(mean, truth, model.window) + nothing)
        films = [pseudo_real(fine, model, seed=1000 * number + i) for i in range(repeats)]
        shown = {style: translate(films, style, network, model) for style, network in translators.items()}
        for name, each in models.items():
            own = measures(each.predict(own_radiographs(volume, each)), truth, each.window)
            rows.setdefault(f"{name}, own radiographs", []).append(own + nothing)
            found = {
                style: np.mean([measures(each.predict(image), truth, each.window) for image in images], 0)
                for style, images in shown.items()
            }
            for style, figures in found.items():
                gain = figures[0] - found["none"][0] if style != "none" else nothing[0]
                rows.setdefault(f"{name}, pseudo-real, {style}", []).append([*figures.tolist(), gain])
    return {name: np.array(values) for name, values in rows.items()}


def translate(films: Sequence[np.ndarray], style: str, network: Any, model: Model) -> list[np.ndarray]:
    """Films as the model is shown them."""
    transfer = StyleTransfer(style, *model.recipe, network=network, size=model.grid.shape[1])
    return [transfer(torch.from_numpy(film)).numpy() for film in films]


def interval(values: np.ndarray, seed: int = 0, samples: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (samples, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def table(rows: Mapping[str, np.ndarray]) -> Iterator[str]:
    """The lines of the section's table."""
    yield f"| network, radiographs, translator | {' | '.join(MEASURES)} | gain dB |"
    yield "|---" * (len(MEASURES) + 2) + "|"
    for name, values in rows.items():
        cells = []
        for column, form in zip(values.T, (".2f", ".3f", ".1f", "+.2f"), strict=True):
            low, high = interval(column)
            cells.append("" if np.isnan(column).any() else f"{column.mean():{form}} ({low:{form}} to {high:{form}})")
        yield f"| {name} | {' | '.join(cells)} |"


def _volumes(manifest: str, folds: Sequence[str], model: Model, grid: VolumeGrid) -> list[torch.Tensor]:
    resample = ResampleToGrid(grid, model.recipe[3])  # type: ignore[arg-type]
    items: list[Mapping[str, Any]] = [item for fold in folds for item in load_datalist(manifest, fold)]
    return [resample(ReadVolume()(item["label"])).as_tensor() for item in items]


def run(
    checkpoint: str,
    manifest: str,
    randomised: str | None = None,
    cyclegan: str | None = None,
    fastcut: str | None = None,
    repeats: int = 3,
    output: str = "docs/benchmarks.md",
) -> None:
    """Measure, draw and write the section.

    Args:
        checkpoint: a model, with its record.
        manifest: of the cohort it was trained with.
        randomised: a model trained as long with film_randomised.json.
        cyclegan: a translator of train_cyclegan.json, trained on the same fold train.
        fastcut: one of train_fastcut.json.
        repeats: films of each CT.
        output: the page that the section belongs to; the picture goes to images/ beside it.
    """
    held_out = patient_keys([load_datalist(manifest, "test")])
    models = {"trained on own radiographs": Model(checkpoint, held_out)}
    if randomised:
        models["trained with film_randomised.json"] = Model(randomised, held_out)
    first, *others = models.values()
    if any(other.recipe != first.recipe or other.grid != first.grid for other in others):
        raise InputError(f"{randomised}: was trained for another recipe than {checkpoint}; train both alike")
    learned = {"cyclegan": cyclegan, "fastcut": fastcut}
    for file in learned.values():
        check_unseen(file, patient_keys([load_datalist(manifest, fold) for fold in ("test", "validation")]))
    translators = dict.fromkeys(STYLES) | {name: load_network(file) for name, file in learned.items() if file}
    folds = ("test", "validation")
    volumes = [_volumes(manifest, folds, first, grid) for grid in (first.grid, film_grid(first))]
    training = _volumes(manifest, ("train",), first, first.grid)
    mean = torch.stack([hu_to_unit(v, first.window) for v in training]).mean(0)[None]
    rows = evaluate(list(zip(*volumes, strict=True)), models, translators, mean, repeats)
    shown = {"own": own_radiographs(volumes[0][0], first)}
    film = pseudo_real(volumes[1][0], first, seed=0)
    for style, network in translators.items():
        shown["pseudo-real" if style == "none" else style] = translate([film], style, network, first)[0]
    letters = [("H", "F", "R", "L"), ("H", "F", "A", "P")] * len(shown)
    names = [f"{name}, {view}" for name in shown for view in View]
    draw_radiographs(Path(output).parent / PICTURE, np.concatenate(list(shown.values())), names, letters)
    assert __doc__ is not None
    lines = ["Written by `python -m benchmarks.pseudo_real`.", "", __doc__.partition("Method: ")[2]]
    lines += [f"{len(volumes[0])} CTs, {repeats} films of each.", "", *table(rows), "", f"![Radiographs]({PICTURE})"]
    replace_section(output, TITLE, lines)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    report_input_errors()
    fire.Fire(run)
