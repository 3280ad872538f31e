"""Make a predicted volume agree with its radiographs, in closed form and for every network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from conventions import HU_WINDOW, InputError, hu_to_unit, unit_to_hu
from drr import Acquisition, Beam, from_film, hu_to_mu, mu_to_hu, views_of_tensor

from .film_tones import fit_affine, fit_monotone
from .ray_system import RaySystem, solve

KNOWN_DAMPING = 0.1
"""Damping where the geometry of the films is known. In a trial at 128^3 it gained as much as none (+1.6 dB), and lost
little where tones or geometry were off after all."""

GUESSED_DAMPING = 1.0
"""Damping where the geometry is guessed: with less, errors of some mm and degrees cost a good network more than the
update gains."""

LEAST_PATH = 0.1
"""Shortest path of a ray through the grid, in shortest sides of the grid, with which it takes part. Rays that graze the
grid would put all of their error into few voxels."""

BETTER_OTHERWISE = 1.25
"""Factor by which the variance that a film leaves unexplained must fall when it is mirrored, turned or exchanged, for
its orientation to be doubted."""

LEAST_IN_COMMON = 0.3
"""Correlation of a film with the line integrals of the predicted volume below which it is doubted at all."""

LARGE_DIFFERENCE = 0.5
"""Difference of a film from the predicted volume, in standard deviations of that volume's line integrals, that is
doubted."""

LARGE_REST = 0.4
"""Share of the difference that stays although it was hardly damped, at which films are doubted to contradict each
other."""

SMALL_REST = 0.1
"""Difference, in standard deviations of the line integrals, below which what stays is fine detail."""


class Tone(StrEnum):
    """Ways to read line integrals from a film."""

    GIVEN = "given"
    """The film style is known, and inverted."""
    AFFINE = "affine"
    """The same, then a straight line for each view that fits the predicted volume: exposure and scale are unknown."""
    MONOTONE = "monotone"
    """An increasing curve for each view that fits the predicted volume: nothing is known of the film's tones."""


@dataclass(frozen=True)
class Consistency:
    """Agreement of one volume with its films, before and after the update.

    Args:
        tone: how line integrals were read.
        damping: lambda as a multiple of the operator's scale.
        weight_mm2: lambda in mm2.
        before: root mean square difference of line integrals of each view, film less predicted volume, before.
        after: the same afterwards.
        spread: standard deviation of the predicted line integrals of each view.
        doubts: sentences on each view that a person should check.
    """

    tone: str
    damping: float
    weight_mm2: float
    before: tuple[float, ...]
    after: tuple[float, ...]
    spread: tuple[float, ...]
    doubts: tuple[tuple[str, ...], ...]

    def record(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class _Solved:
    """One updated case, with what a report of it needs: tensors of a batch of one, as in `ConsistencyUpdate`."""

    volume: Tensor
    mu: Tensor
    """The updated volume in 1/mm."""
    film: Tensor
    """Line integrals as they were read."""
    predicted: Tensor
    """Line integrals of the volume before."""
    rays: Tensor
    """Rays that were measured; `system.rays` are those among them that took part."""
    system: RaySystem
    tone: Tone
    damping: Tensor
    weight: Tensor


class ConsistencyUpdate(nn.Module):
    """Correct a predicted volume by what its radiographs measured.

    With A the ray casting, A' its exact adjoint and y the line integrals of the films, the predicted attenuation v0
    becomes v = v0 + A' (A A' + lambda)^-1 (y - A v0), clipped at that of air: the volume nearest to v0 that explains
    the films to within what lambda allows. Nothing in it is learned. Pixels at the clip of the film style, outside the
    film's field, of rays that graze the grid, and of films whose tones cannot be fitted, take no part. Cases do not
    depend on each other.

    It is differentiable in the volume, the films and the damping, so that a network can be trained through it; fitted
    tones count as constants, and so does the geometry.

    Args:
        acquisition: grid, curve and film style; its views are used where no geometry is given.
        hu_window: (low, high) in HU of the unit values.
        tone: one of `Tone`. None chooses: "given" for DRRs ("affine" where their film style keeps no absolute
            attenuation), "monotone" for real films.
        damping: lambda as a multiple of the mean row sum of A A', so that it means the same for every grid: 0.1 and 1
            are about 100 and 1,000 mm2 at 128^3 voxels and 128^2 pixels of preset `chest`. None chooses:
            `KNOWN_DAMPING` for DRRs, `GUESSED_DAMPING` for real films. A scalar tensor may carry a gradient.
        iterations: most iterations of conjugate gradients.
        tolerance: relative residual at which they end.

    Raises:
        InputError: where a value is not one of the above, or the tones are said to be given for a film style that
            keeps no absolute attenuation.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        hu_window: Sequence[float] = HU_WINDOW,
        tone: str | None = None,
        damping: float | Tensor | None = None,
        iterations: int = 15,
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__()
        if tone is not None and tone not in tuple(Tone):
            raise InputError(f"unknown tone {str(tone)!r} of the consistency update: choose one of {', '.join(Tone)}")
        self.absolute = acquisition.film_style != "x2ct"
        if tone == Tone.GIVEN and not self.absolute:
            raise InputError(
                "film style 'x2ct' keeps no absolute attenuation, so the tones of its films are not given: use tone "
                "'affine'"
            )
        if damping is not None and not torch.as_tensor(damping).item() > 0:
            raise InputError(
                f"the damping of the consistency update must be positive, got {torch.as_tensor(damping).item()}"
            )
        if iterations < 1 or not 0 < tolerance < 1:
            raise InputError(
                f"the consistency update needs an iteration or more and a tolerance between 0 and 1, got {iterations} "
                f"and {tolerance}"
            )
        self.acquisition = acquisition
        self.hu_window = (float(hu_window[0]), float(hu_window[1]))
        self.tone = tone
        self.damping = damping
        self.iterations = iterations
        self.tolerance = tolerance

    def forward(
        self,
        volume: Tensor,
        image: Tensor,
        geometry: Tensor | None = None,
        field: Tensor | None = None,
        real: bool = False,
    ) -> Tensor:
        """Update volumes.

        Args:
            volume: predicted volumes (B, 1, D, H, W) on the acquisition's grid, unit values; clipped to [0, 1] first.
            image: their radiographs (B, V, rows, columns) in [0, 1], bright = dense.
            geometry: views (1 or B, V, 4, 3) in mm, LPS; None takes those of the acquisition.
            field: whether each pixel shows what was measured (B, V, rows, columns); None means that all do.
            real: whether these are real films, whose geometry is guessed and whose tones are not known.

        Returns:
            (B, 1, D, H, W) in unit values, in [0, 1].

        Raises:
            InputError: where shapes do not fit each other, or a view shows nothing of the volume.
        """
        return torch.cat([case.volume for case in self._solve(volume, image, geometry, field, real)])

    def update(
        self,
        volume: Tensor,
        image: Tensor,
        geometry: Tensor | None = None,
        field: Tensor | None = None,
        real: bool = False,
    ) -> tuple[Tensor, list[Consistency], Tensor]:
        """Update volumes and say how well they agree with their films. Arguments and errors as in `forward`.

        Returns:
            The updated volumes as in `forward`; the agreement of each case; and line integrals (B, 3, V, rows,
            columns): those of the films as they were read, NaN where a pixel takes no part, of the predicted and of the
            updated volume.
        """
        cases = self._solve(volume, image, geometry, field, real)
        with torch.no_grad():
            images = [torch.stack([case.film, case.predicted, case.system.project(case.mu)], 1) for case in cases]
            records = [_record(lines[0], case) for lines, case in zip(images, cases, strict=True)]
            for lines, case in zip(images, cases, strict=True):
                lines[:, 0].masked_fill_(case.rays == 0, torch.nan)
        return torch.cat([case.volume for case in cases]), records, torch.cat(images)

    def _solve(
        self, volume: Tensor, image: Tensor, geometry: Tensor | None, field: Tensor | None, real: bool
    ) -> list[_Solved]:
        """Update each case; what only a report needs is left to `update`."""
        views = self._check(volume, image, geometry, field)
        tone = Tone(self.tone or (Tone.MONOTONE if real else Tone.GIVEN if self.absolute else Tone.AFFINE))
        damping = self.damping
        if damping is None:
            damping = GUESSED_DAMPING if real else KNOWN_DAMPING
        return [
            self._solve_one(
                volume[i : i + 1],
                image[i : i + 1],
                views[i % len(views)],
                None if field is None else field[i : i + 1],
                tone,
                torch.as_tensor(damping).to(volume),
            )
            for i in range(len(volume))
        ]

    def _solve_one(
        self, volume: Tensor, image: Tensor, views: tuple[Beam, ...], field: Tensor | None, tone: Tone, damping: Tensor
    ) -> _Solved:
        curve = self.acquisition.curve
        volume_hu = unit_to_hu(volume, self.hu_window)
        mu = hu_to_mu(volume_hu, curve)
        film, known = image.to(mu.dtype), torch.ones_like(image, dtype=torch.bool)
        if self.absolute and tone is not Tone.MONOTONE:
            film, known = from_film(film, self.acquisition.film_style)
        rays = (known & self._supported(views, image.device) & (True if field is None else field > 0)).to(mu.dtype)
        if bool((rays.sum((2, 3)) == 0).any()):
            raise InputError("a view shows nothing of the volume: check the geometry and the field of its film")
        system = RaySystem(self.acquisition.grid, views, rays)
        predicted = system.project(mu)
        if tone is not Tone.GIVEN:
            film = (fit_affine if tone is Tone.AFFINE else fit_monotone)(film, predicted, rays)
            # A film whose tones do not rise with the volume's line integrals, such as an inverted one, says nothing.
            system.rays = rays * (film.amax((2, 3), keepdim=True) > film.amin((2, 3), keepdim=True))
        weight = damping * system.scale()
        solution = solve(system, system.rays * (film - predicted), weight, self.iterations, self.tolerance)
        updated = (mu + system.back_project(solution)).clamp(min=0)
        updated_hu = volume_hu + (mu_to_hu(updated, curve) - mu_to_hu(mu, curve))
        unit = hu_to_unit(updated_hu, self.hu_window)
        return _Solved(unit, updated, film, predicted, rays, system, tone, damping, weight)

    def _supported(self, views: tuple[Beam, ...], device: torch.device) -> Tensor:
        grid = self.acquisition.grid
        paths = torch.stack([torch.from_numpy(view.ray_support(grid)) for view in views])[None]
        return (paths >= LEAST_PATH * min(grid.size)).to(device)

    def _check(
        self, volume: Tensor, image: Tensor, geometry: Tensor | None, field: Tensor | None
    ) -> list[tuple[Beam, ...]]:
        """Refuse what does not fit, and return the views of each case, or one tuple for all."""
        grid = self.acquisition.grid
        batch = volume.shape[0]
        if volume.shape[1:] != (1, *grid.shape):
            raise InputError(
                f"the volume has shape {tuple(volume.shape)}; the consistency update takes (batch, 1, "
                f"{', '.join(map(str, grid.shape))})"
            )
        if image.ndim != 4 or image.shape[0] != batch:
            raise InputError(
                f"the radiographs have shape {tuple(image.shape)}; {batch} volume(s) need ({batch}, views, rows, "
                "columns)"
            )
        if field is not None and field.shape != image.shape:
            raise InputError(
                f"the field has shape {tuple(field.shape)}, its radiographs {tuple(image.shape)}: give one value a "
                "pixel"
            )
        rows, columns = image.shape[-2:]
        if geometry is None:
            held, shape = self.acquisition.views, self.acquisition.detector_shape
            if (len(held), *shape) != image.shape[1:]:
                raise InputError(
                    f"{image.shape[1]} view(s) of {rows} x {columns} pixels, the acquisition has {len(held)} of "
                    f"{shape[0]} x {shape[1]}: give the geometry of these films"
                )
            return [held]
        if geometry.ndim != 4 or geometry.shape[0] not in (1, batch) or geometry.shape[1:] != (image.shape[1], 4, 3):
            raise InputError(
                f"the geometry has shape {tuple(geometry.shape)}; these radiographs need ({batch}, {image.shape[1]}, "
                "4, 3)"
            )
        return [tuple(case) for case in views_of_tensor(geometry, (rows, columns))]


def consistency_update(
    method: str, acquisition: Acquisition, hu_window: Sequence[float] = HU_WINDOW, damping: float | None = None
) -> ConsistencyUpdate | None:
    """Make the update that a user asks for.

    Args:
        method: "none", "auto", or one of `Tone`.
        acquisition: as in `ConsistencyUpdate`.
        hu_window: as in `ConsistencyUpdate`.
        damping: as in `ConsistencyUpdate`.

    Returns:
        The update; None for "none".

    Raises:
        InputError: where the method is unknown, or as in `ConsistencyUpdate`.
    """
    if method not in ("none", "auto", *Tone):
        raise InputError(f"unknown consistency {method!r}: choose one of none, auto, {', '.join(Tone)}")
    if method == "none":
        return None
    return ConsistencyUpdate(acquisition, hu_window, None if method == "auto" else method, damping)


def _record(line_integrals: Tensor, case: _Solved) -> Consistency:
    film, predicted, updated = line_integrals
    rays, damping = case.rays[0], float(f"{case.damping.item():.6g}")
    before, after = _rms(film - predicted, rays), _rms(film - updated, rays)
    spread = _rms(predicted - _mean(predicted, rays), rays)
    doubts = [
        (
            *_orientation_doubts(film, predicted, rays, view),
            *_difference_doubts(before[view], after[view], spread[view], damping),
        )
        for view in range(len(film))
    ]
    return Consistency(
        str(case.tone), damping, case.weight.item(), tuple(before), tuple(after), tuple(spread), tuple(doubts)
    )


def _mean(values: Tensor, rays: Tensor) -> Tensor:
    """Return the mean of each view over the rays that take part: (V, 1, 1)."""
    return (values * rays).sum((1, 2), keepdim=True) / rays.sum((1, 2), keepdim=True).clamp(min=1)


def _rms(values: Tensor, rays: Tensor) -> list[float]:
    """Return the root mean square of each view over the rays that take part."""
    squared: list[float] = _mean(values.square(), rays).sqrt().flatten().tolist()
    return squared


def _unexplained(film: Tensor, predicted: Tensor, rays: Tensor) -> float:
    """Return the share of a film's variance that no rising line of the predicted values explains: (rows, columns)."""
    film, predicted, rays = film[None], predicted[None], rays[None]
    film, predicted = film - _mean(film, rays), predicted - _mean(predicted, rays)
    both = max(float(_mean(film * predicted, rays)), 0.0) ** 2
    return 1 - both / max(float(_mean(film.square(), rays) * _mean(predicted.square(), rays)), 1e-12)


def _orientation_doubts(film: Tensor, predicted: Tensor, rays: Tensor, view: int) -> list[str]:
    """Say whether a film fits the predicted volume better mirrored, turned or in place of another view."""
    others = {
        "mirrored left to right": (film[view].flip(-1), rays[view].flip(-1)),
        "turned by 180 degrees": (film[view].flip(-1, -2), rays[view].flip(-1, -2)),
        "upside down": (film[view].flip(-2), rays[view].flip(-2)),
    }
    for other in range(len(film)):
        if other != view:
            others[f"in the place of view {other + 1}"] = (film[other], rays[other])
    target, measured = predicted[view], rays[view]
    as_it_is = _unexplained(film[view], target, measured)
    if as_it_is > 1 - LEAST_IN_COMMON**2:
        return ["has little in common with the predicted CT: check whether it is inverted, or another patient's"]
    worse = {
        words: _unexplained(values, target, measured * there) * BETTER_OTHERWISE
        for words, (values, there) in others.items()
    }
    best = min(worse, key=lambda words: worse[words])
    return [f"fits the predicted CT better {best}: check its orientation"] if worse[best] < as_it_is else []


def _difference_doubts(before: float, after: float, spread: float, damping: float) -> list[str]:
    """Say whether a film is too far from the volume, at first or in the end."""
    doubts = []
    if before > LARGE_DIFFERENCE * spread:
        doubts.append(
            f"differs from the predicted CT by {before:.2f} in line integrals of a spread of {spread:.2f}: check the "
            "film, its tones and its geometry"
        )
    if damping <= 2 * KNOWN_DAMPING and after > max(LARGE_REST * before, SMALL_REST * spread):
        doubts.append(
            f"still differs from the updated CT by {after:.2f} in line integrals, after {before:.2f} before the update:"
            " no CT explains these films together"
        )
    return doubts
