"""Films of any size and place to the radiographs that a model was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from torch.nn.functional import grid_sample, interpolate

from conventions import InputError, View
from drr import ConeBeam, VolumeGrid, preset

from .dictionary import EachKey
from .films.content import check_content
from .films.lungs import LungBox
from .films.record import DecisionRecord
from .films.reference import LungPlace, lung_place

CLINICAL_MAGNIFICATION = {View.PA: 1800 / 1650, View.LATERAL: 1800 / 1600}
"""From the patient's mid-plane to the detector in a film at 180 cm, where the file does not tell."""

HEIGHTS_DIFFER = 0.15
"""Relative difference of the lungs' heights in two films of known spacing, from which on it is doubted."""

LEAST_COVERED = 0.5
"""Of the volume's shadow, below which a film is doubted."""

UNUSUAL_HEIGHT_MM = (140.0, 330.0)
"""Lungs of another height show that a stated spacing is wrong."""


@dataclass(frozen=True)
class Placed:
    """A film and where the model's field lies on it, for looking at.

    Args:
        view: of the film.
        pixels: (rows, columns) in [0, 1], as it was matched.
        lungs: box of the lungs in its pixels; None where it was not looked for.
        frame: (top, bottom, left, right) of the model's radiograph in its pixels.
        record: what was decided about it.
    """

    view: View
    pixels: np.ndarray
    lungs: LungBox | None
    frame: tuple[float, float, float, float]
    record: DecisionRecord


@dataclass(frozen=True)
class _Field:
    """What a model sees in one view: its detector, in the plane of the isocentre."""

    view: View
    pitch: float
    """mm a pixel."""
    size: int
    place: LungPlace

    def pixel(self, row_mm: float, column_mm: float) -> tuple[float, float]:
        """Where a position in the plane of the isocentre appears; edges of pixels are whole numbers."""
        return self.size / 2 + row_mm / self.pitch, self.size / 2 + column_mm / self.pitch


class MatchFieldOfView(Transform):
    """Bring the films of one patient to the geometry that a model was trained for.

    A radiograph computed in that geometry is taken as it is. A real film is scaled so that a pixel means as many mm in
    the patient's mid-plane, by its spacing and magnification or, where these are unknown, by its lungs, which are
    brought to the median size in radiographs of CTs; then it is laid so that the lungs are where they are there. The
    lungs of PA and lateral get one height, since a model reads both along the same axis. Beyond the volume that the
    model predicts the film is darkened as if the patient ended there, as in training.

    What is doubtful is noted in each film's record: see `transforms.films.content` and the confidences there.

    Args:
        grid: grid of the volume to be predicted.
        image_size: rows and columns of the result.
        geometry: name of the preset that the model was trained for.
        anchor: how its volumes were laid on the grid, see `ResampleToGrid`.
        views: which views are given, in order.
        mode: "match", or "given" for films that cover the detector of the geometry already.

    Raises:
        InputError: where a name is unknown.
    """

    def __init__(
        self,
        grid: VolumeGrid,
        image_size: int,
        geometry: str = "x2ct",
        anchor: str = "head",
        views: Sequence[str] = tuple(View),
        mode: Literal["match", "given"] = "match",
    ) -> None:
        if mode not in ("match", "given"):
            raise InputError(f"field_of_view must be 'match' or 'given', got {mode!r}")
        self.mode = mode
        self.grid = grid
        self.image_size = image_size
        self.geometry = geometry
        self.views = tuple(View(view) for view in views)
        beams = preset(geometry, (image_size, image_size), views)
        self.fields = [
            _Field(view, beam.field_at_isocentre[0] / image_size, image_size, lung_place(geometry, anchor, view))
            for view, beam in zip(self.views, beams, strict=True)
        ]
        self.ends = [_ends_of_volume(beam, grid, view) for view, beam in zip(self.views, beams, strict=True)]
        self.shadows = [torch.from_numpy(beam.ray_support(grid) > 0).float() for beam in beams]

    def __call__(self, films: Sequence[MetaTensor]) -> MetaTensor:
        """Match films.

        Args:
            films: one a view, as `ReadRadiographd` gives them: (1, rows, columns) in [0, 1], bright = dense.

        Returns:
            (views, image_size, image_size) float32 in [0, 1]; affine and `spatial_shape` in its meta are those of the
            volume's grid, and `films` there holds what was `Placed`.

        Raises:
            InputError: where no chest can be seen, or a computed radiograph is of another geometry or not square.
        """
        if len(films) != len(self.views):
            raise InputError(
                f"{len(films)} radiograph(s), this model needs {len(self.views)} ({', '.join(self.views)})"
            )
        if self.mode == "given" or all(film.meta.get("computed") for film in films):
            images, placed = self._as_they_are(films)
        else:
            images, placed = self._match(films)
        return MetaTensor(
            torch.stack(images),
            affine=self.grid.affine(),
            meta={"spatial_shape": np.array(self.grid.shape), "films": list(placed)},
        )

    def _as_they_are(self, films: Sequence[MetaTensor]) -> tuple[list[torch.Tensor], list[Placed]]:
        """Radiographs that cover the detector of the geometry."""
        images, placed = [], []
        for film, view in zip(films, self.views, strict=True):
            record: DecisionRecord = film.meta["record"]
            rows, columns = film.shape[-2:]
            if rows != columns:
                raise InputError(
                    f"{record.file}: {rows} x {columns} pixels are not square; crop or pad it to the detector"
                )
            geometry = (film.meta.get("computed") or {}).get("geometry")
            if geometry and geometry != self.geometry:
                raise InputError(
                    f"{record.file}: was computed for geometry {geometry!r}, this model is for {self.geometry!r}; "
                    "compute it anew"
                )
            pixels = film.as_tensor()
            if rows != self.image_size:
                size = (self.image_size, self.image_size)
                pixels = interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].clip(0, 1)
            images.append(pixels[0])
            placed.append(Placed(view, film[0].numpy(), None, (0, rows, 0, columns), record))
        return images, placed

    def _match(self, films: Sequence[MetaTensor]) -> tuple[list[torch.Tensor], list[Placed]]:
        seen = []
        for film, view in zip(films, self.views, strict=True):
            pixels, reading = check_content(film[0].numpy(), view, film.meta["record"])
            seen.append((pixels, reading.box))
        scales = self._scales(films, [box for _, box in seen])
        images, placed = [], []
        for i, (film, field, scale, (pixels, box)) in enumerate(zip(films, self.fields, scales, seen, strict=True)):
            record: DecisionRecord = film.meta["record"]
            towards = field.pixel(*_centre(field.place))
            image, covered = _lay(pixels, box.centre, towards, scale, self.image_size)
            share = float((covered * self.shadows[i]).sum() / self.shadows[i].sum())
            if share < LEAST_COVERED:
                record.doubt("field", f"the film covers {share:.0%} of the model's volume; the rest is black")
            images.append(image * self.ends[i])
            (top, left), (bottom, right) = (
                [(edge - to) / scale + at for at, to in zip(box.centre, towards, strict=True)]
                for edge in (0, self.image_size)
            )
            placed.append(Placed(field.view, pixels, box, (top, bottom, left, right), record))
        return images, placed

    def _scales(self, films: Sequence[MetaTensor], boxes: Sequence[LungBox]) -> list[float]:
        """Pixels of the result to a pixel of each film."""
        mm = [self._mm_per_pixel(film, view, box) for film, view, box in zip(films, self.views, boxes, strict=True)]
        heights = [box.height * step for box, step in zip(boxes, mm, strict=True) if step]
        if len(heights) == 2 and abs(math.log(heights[0] / heights[1])) > HEIGHTS_DIFFER:
            for film in films:
                film.meta["record"].doubt(
                    "spacing", f"the lungs are {heights[0]:.0f} mm high in one film, {heights[1]:.0f} in the other"
                )
        height = float(np.mean(heights)) if heights else self._usual_height(boxes)
        scales = []
        for film, box, field, step in zip(films, boxes, self.fields, mm, strict=True):
            record: DecisionRecord = film.meta["record"]
            if step is None:
                step = height / box.height
                by = "as high as in the other film" if heights else "of median size"
                record.assumed(
                    "scale", f"{step:.3f} mm a pixel in the mid-plane, so that the lungs are {by}", box.score
                )
            scales.append(step / field.pitch)
        return scales

    def _mm_per_pixel(self, film: MetaTensor, view: View, box: LungBox) -> float | None:
        """In the patient's mid-plane; None where the spacing is unknown, or cannot be right."""
        spacing = film.meta.get("spacing")
        if not spacing:
            return None
        magnification = film.meta.get("magnification")
        if not magnification:
            magnification = CLINICAL_MAGNIFICATION[view]
            film.meta["record"].assumed("magnification", f"{magnification:.2f}, as at 180 cm: the file does not tell")
        step = float(spacing) / float(magnification)
        if not UNUSUAL_HEIGHT_MM[0] < box.height * step < UNUSUAL_HEIGHT_MM[1]:
            film.meta["record"].doubt(
                "spacing", f"the lungs would be {box.height * step:.0f} mm high, so that it is not believed"
            )
            return None
        return step

    def _usual_height(self, boxes: Sequence[LungBox]) -> float:
        """Height of the lungs in mm that makes all their sides, seen together, of median size."""
        ratios = []
        for box, field in zip(boxes, self.fields, strict=True):
            place = field.place
            ratios.append(place.bottom - place.top)
            ratios.append((place.right - place.left) * box.height / box.width)
        return float(np.exp(np.mean(np.log(ratios))))


def _centre(place: LungPlace) -> tuple[float, float]:
    return (place.top + place.bottom) / 2, (place.left + place.right) / 2


def _lay(
    pixels: np.ndarray, at: tuple[float, float], towards: tuple[float, float], scale: float, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale a film and lay its point `at` on the point `towards` of the result.

    Returns:
        (size, size) film values, 0 beyond the film, and where it lies, 1 or 0.
    """
    film = torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None, None]
    shape = [max(2, round(n * scale)) for n in pixels.shape]
    scaled = interpolate(film, shape, mode="bilinear", antialias=True) if scale < 1 else film
    axes = []
    for to, source, count in zip(towards, at, pixels.shape, strict=True):
        place = (torch.arange(size) + 0.5 - to) / scale + source  # on the film; edges of pixels are whole numbers
        axes.append(place / count * 2 - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    lookup = torch.stack([columns, rows], dim=-1)[None].float()
    image = grid_sample(scaled, lookup, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    covered = ((rows.abs() <= 1) & (columns.abs() <= 1)).float()
    return image * covered, covered


def _ends_of_volume(beam: ConeBeam, grid: VolumeGrid, view: View) -> torch.Tensor:
    """How much of a patient who goes on above and below is inside the volume, ray by ray: (rows, columns) in [0, 1]."""
    depth, width = (1, 2) if view is View.PA else (2, 1)
    far = 100 * max(grid.size)
    sizes = []
    for height in (grid.size[0], far):
        size = [height, 0.0, 0.0]
        size[depth], size[width] = grid.size[depth], far
        sizes.append(beam.ray_support(VolumeGrid((1, 1, 1), size)))
    return torch.from_numpy(sizes[0] / np.maximum(sizes[1], 1e-6)).float().clip(0, 1)


class MatchFieldOfViewd(EachKey):
    """Dictionary-based `MatchFieldOfView`: the films under each key become one tensor."""

    def __init__(
        self,
        keys: KeysCollection,
        grid: VolumeGrid,
        image_size: int,
        geometry: str = "x2ct",
        anchor: str = "head",
        views: Sequence[str] = tuple(View),
        mode: Literal["match", "given"] = "match",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, MatchFieldOfView(grid, image_size, geometry, anchor, views, mode), allow_missing_keys)
