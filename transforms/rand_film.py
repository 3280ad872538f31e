"""Vary tone, sharpness, haze, noise, borders and markers of DRRs in training, as those of real films vary."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from scipy.ndimage import gaussian_filter

from conventions import InputError

GRAIN = 0.7
"""Sigma of the blur that correlates the noise, in pixels."""

HAZE_WIDTH = 0.15
"""Sigma of the scattered light, in heights of the film."""

SHARPENED = 0.03
"""Sigma of the unsharp mask, in heights of the film."""

SOFT_EDGE = 0.01
"""Width over which a collimated border fades, in heights of the film."""


class RandFilm(Randomizable, Transform):
    """Make DRRs look like films, a little differently each time and in each view.

    The effects follow the order of a real exposure: scatter, blur, noise, tone curve, sharpening, borders, markers.
    Each amount is drawn uniformly between 0 and the one given, the tone's from its negative on. Nothing is moved or
    mirrored; `RandRayCastDRR` varies the geometry.

    Args:
        prob: probability of each of the seven effects in each view.
        haze: share of the light that is scattered over the film.
        blur: sigma of the blur in pixels.
        noise: standard deviation of the noise at full density; it grows with the density.
        tone: logarithm of the gamma, and strength of an S-curve that is mixed in.
        sharpening: strength of the unsharp mask.
        border: width of a collimated border, in heights of the film.
        marker: height of a bright letter-like marker in a corner outside the lungs, in heights of the film.

    Raises:
        InputError: where an amount is negative or the probability lies outside [0, 1].
    """

    def __init__(
        self,
        prob: float = 0.7,
        haze: float = 0.25,
        blur: float = 0.8,
        noise: float = 0.015,
        tone: float = 0.6,
        sharpening: float = 1.0,
        border: float = 0.15,
        marker: float = 0.06,
    ) -> None:
        self.prob = prob
        self.amounts = {
            "haze": haze,
            "blur": blur,
            "noise": noise,
            "tone": tone,
            "sharpening": sharpening,
            "border": border,
            "marker": marker,
        }
        if not 0 <= prob <= 1:
            raise InputError(f"prob must lie in [0, 1], got {prob}")
        for name, amount in self.amounts.items():
            if not amount >= 0:
                raise InputError(f"{name} must not be negative, got {amount}")
        self._drawn: list[dict[str, Any]] = []

    def randomize(self, data: tuple[int, ...]) -> None:
        """Draw the effects for radiographs (views, rows, columns)."""
        self._drawn = [self._draw(data[1:]) for _ in range(data[0])]

    def _draw(self, shape: tuple[int, ...]) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for name, amount in self.amounts.items():
            low = -amount if name == "tone" else 0.0
            value, chosen = self.R.uniform(low, amount) if amount else 0.0, self.R.random_sample() < self.prob
            drawn[name] = value if chosen else 0.0
        drawn["s_curve"] = self.R.uniform(0, 1) * min(1.0, abs(drawn["tone"]))
        drawn["grain"] = self.R.standard_normal(shape)
        drawn["sides"] = self.R.uniform(0, 1, 4)
        drawn["corner"] = self.R.uniform(0, 1, 2)
        drawn["letter"] = self.R.random_sample((5, 3)) < 0.6
        return drawn

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Change the look.

        Args:
            image: (views, rows, columns) in [0, 1], bright = dense.

        Returns:
            The same shape, in [0, 1], with the same meta.
        """
        planes = torch.as_tensor(image).cpu().float().numpy()
        self.randomize(planes.shape)
        films = np.stack([_film(plane, drawn) for plane, drawn in zip(planes, self._drawn, strict=True)])
        result = torch.from_numpy(films.astype(np.float32)).to(image.device)
        return MetaTensor(result, meta=image.meta) if isinstance(image, MetaTensor) else result


def _film(plane: np.ndarray, drawn: Mapping[str, Any]) -> np.ndarray:
    height = plane.shape[0]
    film = plane
    if drawn["haze"]:
        film = (1 - drawn["haze"]) * film + drawn["haze"] * gaussian_filter(film, HAZE_WIDTH * height)
    if drawn["blur"]:
        film = gaussian_filter(film, drawn["blur"])
    if drawn["noise"]:
        grain = gaussian_filter(drawn["grain"], GRAIN)
        film = film + drawn["noise"] * np.sqrt(film.clip(0)) * grain / grain.std()
    if drawn["tone"]:
        film = _tone(film.clip(0, 1), drawn["tone"], drawn["s_curve"])
    if drawn["sharpening"]:
        film = film + drawn["sharpening"] * (film - gaussian_filter(film, SHARPENED * height))
    if drawn["border"]:
        film = film * _opening(film.shape, drawn["border"] * height, drawn["sides"])
    if drawn["marker"]:
        film = _mark(film, drawn["marker"], drawn["corner"], drawn["letter"])
    return film if film is plane else film.clip(0, 1)


def _tone(film: np.ndarray, gamma: float, mixed: float) -> np.ndarray:
    """Apply an increasing curve from 0 to 1: a gamma mixed with an S-curve."""
    curved = film ** np.exp(gamma)
    return (1 - mixed) * curved + mixed * (3 * curved**2 - 2 * curved**3)


def _opening(shape: tuple[int, ...], width: float, sides: np.ndarray) -> np.ndarray:
    """Return 1 inside a collimator and 0 behind it, each side as wide as drawn."""
    profiles = []
    for count, (first, last) in zip(shape, sides.reshape(2, 2), strict=True):
        place = np.arange(count) + 0.5
        edge = np.minimum(place - first * width, count - last * width - place)
        profiles.append((edge / (SOFT_EDGE * shape[0]) + 0.5).clip(0, 1))
    return profiles[0][:, None] * profiles[1]


def _mark(film: np.ndarray, height: float, corner: np.ndarray, letter: np.ndarray) -> np.ndarray:
    """Draw a white pattern of 5 x 3 squares in an upper or lower corner."""
    rows, columns = film.shape
    step = max(1, round(height * rows / 5))
    pattern = np.kron(letter, np.ones((step, step)))[:rows, :columns]
    top = round(corner[0] * 0.08 * rows) if corner[0] < 0.7 else rows - pattern.shape[0] - round(0.04 * rows)
    margin = round(0.03 * columns)
    left = margin if corner[1] < 0.5 else columns - margin - pattern.shape[1]
    marked = film.copy()
    there = marked[max(0, top) : top + pattern.shape[0], max(0, left) : left + pattern.shape[1]]
    np.maximum(there, pattern[: there.shape[0], : there.shape[1]], out=there)
    return marked


class RandFilmd(MapTransform, Randomizable):
    """Dictionary-based `RandFilm`, drawn independently for each key.

    Args:
        keys: keys of the radiographs.
        allow_missing_keys: whether to pass over a key that is not there.
        **amounts: as in `RandFilm`.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **amounts: float) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = RandFilm(**amounts)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandFilmd:
        """Seed the transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change the look of the radiographs under the keys."""
        return {**data, **{key: self.transform(data[key]) for key in self.key_iterator(dict(data))}}
