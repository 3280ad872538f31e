"""Make DRRs look like real films in training: scatter, noise, tones, sharpness, borders and markers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from numpy.polynomial.chebyshev import chebval
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import gaussian_filter

from conventions import InputError, Keys
from drr import add_noise, add_scatter, from_film
from readers import FILM_PERCENTILES

from .dictionary import check_one_key

LEAST_SHOWN = 0.5
"""Smallest share of a patient's attenuation that borders leave on the film."""

LEAST_CONTRAST = 1e-4
"""Smallest difference that is stretched to the whole range, so that rounding in an empty radiograph is not."""

Amount = float | Sequence[float]
"""Range (low, high) that an amount is drawn from; a number alone is the range from 0."""

TONES = ("logistic", "gamma", "free")
"""Kinds of tone curve."""

BENDS = (2.0, 2.0, 1.0)
"""Weights of the Chebyshev polynomials T1, T2 and T3 in the logarithm of a free curve's slope."""

LEAST_BENDS = (-0.25, -1.0, -1.0)
"""Smallest factors of these weights; the largest are 1. Films have long toes: their contrast mostly rises with the line
integral, see `RandFilm`."""


class RandFilm(Randomizable, Transform):
    """Turn DRRs into films as they really look, a little differently each time and in each view.

    The line integrals of the DRR go through a real exposure: scatter and quantum noise on the radiation, blur, a film's
    characteristic curve, sharpening, and the stretch to [0, 1] that films are read with. Outside a random rectangle the
    film is black, and markers lie in its corners. Nothing is moved or mirrored; `RandRayCastDRR` varies the geometry,
    and must leave the tone as it is.

    Each amount is drawn uniformly from its range (low, high); a number alone is the range from 0.

    Args:
        film_style: film style of the DRRs; `x2ct`, which has lost the line integrals, is refused.
        plain: probability that the DRRs of a patient stay as they are.
        prob: probability of each effect in each view: scatter, noise, blur, tone, sharpening, border, marker.
        scatter: share of the radiation that is scattered.
        scatter_width: sigma of the scattered radiation, in heights of the film.
        noise: noise of the open beam as a share of its radiation: 0.007 stands for 20,000 photons per pixel.
        blur: sigma of the blur in pixels.
        slope: slope of a logistic curve over the line integral, the contrast; a third of the tone curves are logistic.
        centre: line integral that such a curve shows as middle grey.
        gamma: exponent of another third.
        bend: strength of the rest, which are free: the logarithm of the slope is a random cubic of the line integral
            that mostly rises, so that toe, shoulder, and contrast in lungs and mediastinum vary by themselves.
        sharpening: strength of the unsharp mask.
        sharpening_width: sigma of that mask, in heights of the film.
        border: width of the black on each side, in heights or widths of the film; every second side has none. At least
            half of what attenuates stays on the film.
        marker: height of a white letter-like marker in a corner, in heights of the film.

    Raises:
        InputError: where a range is not one, a probability lies outside [0, 1], or the film style is refused.
    """

    def __init__(
        self,
        film_style: str = "linear",
        plain: float = 0.4,
        prob: float = 0.8,
        scatter: Amount = (0.0, 0.5),
        scatter_width: Amount = (0.12, 0.35),
        noise: Amount = 0.007,
        blur: Amount = 0.8,
        slope: Amount = (0.4, 1.8),
        centre: Amount = (2.5, 5.5),
        gamma: Amount = (0.8, 4.0),
        bend: Amount = 1.5,
        sharpening: Amount = 1.5,
        sharpening_width: Amount = (0.02, 0.04),
        border: Amount = 0.25,
        marker: Amount = 0.06,
    ) -> None:
        try:
            from_film(torch.zeros(1, 1), film_style)
        except InputError as error:
            raise InputError(f"{error}; give chest.json under film_randomised.json") from error
        self.film_style = film_style
        self.plain, self.prob = plain, prob
        for name, share in (("plain", plain), ("prob", prob)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} must lie in [0, 1], got {share}")
        self.amounts = {
            "scatter": _range("scatter", scatter, 1.0),
            "scatter_width": _range("scatter_width", scatter_width),
            "noise": _range("noise", noise),
            "blur": _range("blur", blur),
            "slope": _range("slope", slope),
            "centre": _range("centre", centre),
            "gamma": _range("gamma", gamma),
            "bend": _range("bend", bend),
            "sharpening": _range("sharpening", sharpening),
            "sharpening_width": _range("sharpening_width", sharpening_width),
            "border": _range("border", border, 0.45),
            "marker": _range("marker", marker, 0.5),
        }
        self._drawn: list[dict[str, Any]] | None = None

    def randomize(self, data: tuple[int, ...]) -> None:
        """Draw the effects for radiographs (views, rows, columns)."""
        plain = self.R.random_sample() < self.plain
        drawn = [self._draw() for _ in range(data[0])]
        self._drawn = None if plain else drawn

    def _draw(self) -> dict[str, Any]:
        drawn: dict[str, Any] = {name: self.R.uniform(low, high) for name, (low, high) in self.amounts.items()}
        for effect in ("scatter", "noise", "blur", "sharpening", "marker"):
            drawn[effect] *= self.R.random_sample() < self.prob
        tone, bordered = self.R.random_sample(2) < self.prob
        drawn["tone"] = TONES[self.R.randint(len(TONES))] if tone else None
        drawn["cubic"] = self.R.uniform(LEAST_BENDS, 1)
        drawn["sides"] = self.R.uniform(*self.amounts["border"], 4) * (self.R.random_sample(4) < 0.5) * bordered
        drawn["seed"] = self.R.randint(2**31)
        drawn["corner"] = self.R.uniform(0, 1, 2)
        drawn["letter"] = self.R.random_sample((5, 3)) < 0.6
        return drawn

    def __call__(self, image: torch.Tensor) -> MetaTensor:
        """Turn the DRRs of a patient into films.

        Args:
            image: DRRs (views, rows, columns) in [0, 1] in the film style, bright = dense.

        Returns:
            The same shape, in [0, 1], with the same meta. Its `field` says what is measured, (views, rows, columns)
            bool: false outside the rectangle and under the markers.
        """
        drrs = torch.as_tensor(image).as_subclass(torch.Tensor)
        self.randomize(drrs.shape)
        films, field = drrs, torch.ones_like(drrs, dtype=torch.bool)
        if self._drawn is not None:
            line_integrals, _ = from_film(drrs.cpu().float(), self.film_style)
            made = [_film(plane, drawn) for plane, drawn in zip(line_integrals, self._drawn, strict=True)]
            films, field = (torch.from_numpy(np.stack(parts)).to(image.device) for parts in zip(*made, strict=True))
        meta = image.meta if isinstance(image, MetaTensor) else {}
        return MetaTensor(films, meta={**meta, Keys.FIELD.value: field})


def _range(name: str, amount: Amount, most: float = float("inf")) -> tuple[float, float]:
    low, high = (0.0, float(amount)) if isinstance(amount, (int, float)) else map(float, amount)
    if not 0 <= low <= high <= most:
        limit = "" if most == float("inf") else f", at most {most:g}"
        raise InputError(f"{name} must be a number or a range (low, high), not negative{limit}, got {amount}")
    return low, high


def _film(line_integrals: torch.Tensor, drawn: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Turn line integrals (rows, columns) into a film in [0, 1] and its field."""
    height = len(line_integrals)
    density = line_integrals
    if drawn["scatter"]:
        density = add_scatter(density, drawn["scatter"], drawn["scatter_width"] * height)
    if drawn["noise"]:
        density = add_noise(density, drawn["noise"] ** -2, torch.Generator().manual_seed(drawn["seed"]))
    film = density.clamp(min=0).numpy()
    if drawn["blur"]:
        film = gaussian_filter(film, drawn["blur"])
    film = _tone(film, drawn)
    if drawn["sharpening"]:
        film = film + drawn["sharpening"] * (film - gaussian_filter(film, drawn["sharpening_width"] * height))
    field = np.zeros(film.shape, bool)
    inside = _opening(line_integrals.numpy(), drawn["sides"])
    field[inside] = True
    low, high = np.percentile(film[inside], FILM_PERCENTILES)
    film = np.where(field, ((film - low) / max(high - low, LEAST_CONTRAST)).clip(0, 1), 0)
    if drawn["marker"]:
        marked = _marked(film[inside].shape, drawn["marker"] * height, drawn["corner"], drawn["letter"])
        film[inside][marked] = 1
        field[inside][marked] = False
    return film.astype(np.float32), field


def _tone(density: np.ndarray, drawn: Mapping[str, Any]) -> np.ndarray:
    """Apply a characteristic curve, which rises everywhere."""
    if drawn["tone"] == "logistic":
        return np.asarray(1 / (1 + np.exp(-drawn["slope"] * (density - drawn["centre"]))))
    if drawn["tone"] == "gamma":
        return np.asarray(density ** drawn["gamma"])
    return _free_curve(density, drawn["bend"] * drawn["cubic"]) if drawn["tone"] == "free" else density


def _free_curve(density: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Apply a curve whose logarithmic slope is a cubic over the range of the densities."""
    knots = np.linspace(0, density.max(), 65)
    log_slope = chebval(np.linspace(-1, 1, 65), [0, *(coefficients * BENDS)])
    return np.interp(density, knots, cumulative_trapezoid(np.exp(log_slope), knots, initial=0))


def _opening(attenuation: np.ndarray, sides: np.ndarray) -> tuple[slice, slice]:
    """Return the rectangle that is shown; the four sides shrink until enough of the patient is."""
    counts = np.repeat(attenuation.shape, 2)
    while True:
        top, bottom, left, right = np.rint(sides * counts).astype(int)
        inside = np.s_[top : attenuation.shape[0] - bottom, left : attenuation.shape[1] - right]
        if attenuation[inside].sum() >= LEAST_SHOWN * attenuation.sum():
            return inside
        sides = 0.9 * sides


def _marked(shape: tuple[int, ...], height: float, corner: np.ndarray, letter: np.ndarray) -> np.ndarray:
    """Return where a pattern of 5 x 3 squares covers a film, (rows, columns) bool, in an upper or lower corner."""
    rows, columns = shape
    step = max(1, round(height / 5))
    pattern = np.kron(letter, np.ones((step, step), bool))[:rows, :columns]
    down, across = rows - pattern.shape[0], columns - pattern.shape[1]
    top = min(round(corner[0] * 0.08 * rows), down) if corner[0] < 0.7 else max(0, down - round(0.04 * rows))
    margin = min(round(0.03 * columns), across)
    left = margin if corner[1] < 0.5 else across - margin
    marked = np.zeros(shape, bool)
    marked[top : top + pattern.shape[0], left : left + pattern.shape[1]] = pattern
    return marked


class RandFilmd(MapTransform, Randomizable):
    """Dictionary-based `RandFilm`.

    What is measured appears under `field`, (views, rows, columns) bool; a field that is there already shrinks to it.

    Args:
        keys: the one key of the radiographs.
        film_style: as in `RandFilm`.
        allow_missing_keys: whether to pass over a key that is not there.
        **amounts: all other arguments as in `RandFilm`.
    """

    def __init__(
        self, keys: KeysCollection, film_style: str = "linear", allow_missing_keys: bool = False, **amounts: Any
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        check_one_key(self)
        self.transform = RandFilm(film_style, **amounts)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandFilmd:
        """Seed the transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Turn the DRRs under the key into films."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = self.transform(item[key])
            field = image.meta.pop(Keys.FIELD)
            item[Keys.FIELD] = field & item[Keys.FIELD] if Keys.FIELD in item else field
            item[key] = image
        return item
