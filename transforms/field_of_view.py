"""Match films of any size and position to the radiographs that a model was trained on."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from torch.nn.functional import grid_sample, interpolate

from conventions import InputError, Keys, Mark, View
from drr import Acquisition, ConeBeam, VolumeGrid
from readers import DecisionRecord, LungBox, LungPlace, PlacedFilm, check_content, lung_place, pack_films

from .named_views import named_views

CLINICAL_MAGNIFICATION = {View.PA: 1800 / 1650, View.LATERAL: 1800 / 1600}
"""Magnification from the patient's mid-plane to the detector for a film at 180 cm, if the file states none."""

HEIGHTS_DIFFER = 0.15
"""Relative difference of the lungs' heights in two films above which their spacing is doubted."""

LEAST_COVERED = 0.5
"""Share of the volume's shadow below which a film is doubted."""

WHOLLY = 0.99
"""Share of a pixel that must lie on the film, and share of its ray inside the volume, for it to be measured."""

UNUSUAL_HEIGHT_MM = (140.0, 330.0)
"""Smallest and largest height of lungs at which a stated spacing is believed."""


@dataclass(frozen=True)
class _Field:
    """Field that a model sees in one view: its detector, in the plane of the isocentre."""

    view: View
    pitch: float
    """mm per pixel."""
    size: int
    place: LungPlace

    def pixel(self, row_mm: float, column_mm: float) -> tuple[float, float]:
        """Return where a position in the plane of the isocentre appears; edges of pixels are whole numbers."""
        return self.size / 2 + row_mm / self.pitch, self.size / 2 + column_mm / self.pitch


_Matched = tuple[torch.Tensor, torch.Tensor, PlacedFilm]
"""Film values, what of them is measured, and the film that they come from."""


class MatchFieldOfView(Transform):
    """Bring the films of one patient to the geometry that a model was trained for.

    A DRR of that geometry is taken as it is. A real film is scaled so that a pixel means as many mm in the patient's
    mid-plane, by its spacing and magnification or, where these are unknown, by its lungs, which are brought to their
    median size in DRRs; then it is shifted so that its lungs lie where they lie there. The lungs of PA and lateral get
    one height, since a model reads both along the same axis. Beyond the volume that the model predicts the film is
    darkened as if the patient ended there, as in training.

    What is measured is marked as the field of each film: neither what lies outside the film or behind a shutter, nor
    rays that leave the volume at its upper or lower end. In a DRR everything is measured.

    Doubts are noted in each film's record, with the confidences of `readers.check_content`.

    Args:
        acquisition: acquisition that the model was trained for; its geometry is a preset, its views are PA and lateral
            or one of them.
        mode: "match", or "given" for films that cover the detector of the geometry already.
        image_size: rows and columns of the result; None takes those of the acquisition's detector.

    Raises:
        InputError: where the mode is unknown, or the acquisition has other views.
    """

    def __init__(
        self, acquisition: Acquisition, mode: Literal["match", "given"] = "match", image_size: int | None = None
    ) -> None:
        if mode not in ("match", "given"):
            raise InputError(f"field_of_view must be 'match' or 'given', got {mode!r}")
        self.mode = mode
        self.image_size = image_size or acquisition.detector_shape[0]
        self.acquisition = acquisition.replace(detector_shape=self.image_size)
        self.geometry, self.views = named_views(acquisition)
        self.grid = acquisition.grid
        beams: Any = self.acquisition.views
        self.fields = [
            _Field(
                view,
                beam.field_at_isocentre[0] / self.image_size,
                self.image_size,
                lung_place(self.geometry, acquisition.anchor, view),
            )
            for view, beam in zip(self.views, beams, strict=True)
        ]
        self.ends = [_ends_of_volume(beam, self.grid, view) for view, beam in zip(self.views, beams, strict=True)]
        self.shadows = [torch.from_numpy(beam.ray_support(self.grid) > 0).float() for beam in beams]

    def __call__(self, films: Sequence[MetaTensor]) -> MetaTensor:
        """Match films.

        Args:
            films: one for each view, as `ReadRadiographd` returns them: (1, rows, columns) in [0, 1], bright = dense.

        Returns:
            (views, image_size, image_size) float32 in [0, 1]; affine and `spatial_shape` in its meta are those of the
            volume's grid; `films` there is a list of `PlacedFilm`, `geometry` the views, (views, 4, 3), and `field`
            what is measured, (views, image_size, image_size) bool.

        Raises:
            InputError: where no chest can be recognised, or a DRR is of another geometry or not square.
        """
        if len(films) != len(self.views):
            raise InputError(
                f"{len(films)} radiograph(s), this model needs {len(self.views)} ({', '.join(self.views)})"
            )
        if self.mode == "given" or all(film.meta.get("computed") for film in films):
            matched = self._as_they_are(films)
        else:
            matched = self._match(films)
        images, measured, placed = map(list, zip(*matched, strict=True))
        return MetaTensor(
            torch.stack(images),
            affine=self.grid.affine(),
            meta={
                "spatial_shape": np.array(self.grid.shape),
                "geometry": self.acquisition.geometry_tensor(),
                "field": torch.stack(measured),
                "films": placed,
            },
        )

    def _as_they_are(self, films: Sequence[MetaTensor]) -> list[_Matched]:
        """Take radiographs that cover the detector of the geometry."""
        matched = []
        for film, view, ends in zip(films, self.views, self.ends, strict=True):
            record: DecisionRecord = film.meta["record"]
            rows, columns = film.shape[-2:]
            if rows != columns:
                raise InputError(
                    f"{record.file}: {rows} x {columns} pixels are not square; crop or pad it to the detector"
                )
            mark: Mark | None = film.meta.get("computed")
            if mark is not None and mark.geometry not in ("", self.geometry):
                raise InputError(
                    f"{record.file}: was computed for geometry {mark.geometry!r}, this model is for "
                    f"{self.geometry!r}; compute it again"
                )
            for entry in ("curve", "film_style") if mark is not None else ():
                made, wanted = getattr(mark, entry), getattr(self.acquisition, entry)
                if made not in ("", wanted):
                    words = entry.replace("_", " ")
                    record.doubt("tones", f"computed with {words} {made!r}, the model was trained with {wanted!r}")
            pixels = torch.stack([film[0].as_tensor(), _valid(film)])
            if rows != self.image_size:
                size = (self.image_size, self.image_size)
                pixels = interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].clip(0, 1)
            measured = (pixels[1] > WHOLLY) & ((ends > WHOLLY) | (mark is not None))
            placed = PlacedFilm(view, film[0].numpy(), None, (0, rows, 0, columns), record, mark is not None)
            matched.append((pixels[0], measured, placed))
        return matched

    def _match(self, films: Sequence[MetaTensor]) -> list[_Matched]:
        seen = []
        for film, view in zip(films, self.views, strict=True):
            pixels, assessment = check_content(film[0].numpy(), view, film.meta["record"])
            valid = _valid(film).flip(-1) if assessment.mirrored else _valid(film)
            seen.append((pixels, valid, assessment.box))
        scales = self._scales(films, [box for _, _, box in seen])
        matched = []
        for i, (film, field, scale) in enumerate(zip(films, self.fields, scales, strict=True)):
            pixels, valid, box = seen[i]
            record: DecisionRecord = film.meta["record"]
            towards = field.pixel(*_centre(field.place))
            image, covered = _lay(pixels, valid, box.centre, towards, scale, self.image_size)
            share = float((covered * self.shadows[i]).sum() / self.shadows[i].sum())
            if share < LEAST_COVERED:
                record.doubt("field", f"the film covers {share:.0%} of the model's volume; the rest is black")
            (top, left), (bottom, right) = (
                [(edge - to) / scale + at for at, to in zip(box.centre, towards, strict=True)]
                for edge in (0, self.image_size)
            )
            placed = PlacedFilm(field.view, pixels, box, (top, bottom, left, right), record)
            matched.append((image * self.ends[i], covered & (self.ends[i] > WHOLLY), placed))
        return matched

    def _scales(self, films: Sequence[MetaTensor], boxes: Sequence[LungBox]) -> list[float]:
        """Return how many pixels of the result a pixel of each film becomes."""
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
        """Return the mm per pixel in the patient's mid-plane, None if the spacing is unknown or cannot be right."""
        spacing = film.meta.get("spacing")
        if not spacing:
            return None
        magnification = film.meta.get("magnification")
        if not magnification:
            magnification = CLINICAL_MAGNIFICATION[view]
            film.meta["record"].assumed("magnification", f"{magnification:.2f}, as at 180 cm, since it is not stated")
        step = float(spacing) / float(magnification)
        if not UNUSUAL_HEIGHT_MM[0] < box.height * step < UNUSUAL_HEIGHT_MM[1]:
            film.meta["record"].doubt(
                "spacing", f"the lungs would be {box.height * step:.0f} mm high, so it is not believed"
            )
            return None
        return step

    def _usual_height(self, boxes: Sequence[LungBox]) -> float:
        """Return the height of the lungs in mm at which all their sides together have median size."""
        ratios = []
        for box, field in zip(boxes, self.fields, strict=True):
            place = field.place
            ratios.append(place.bottom - place.top)
            ratios.append((place.right - place.left) * box.height / box.width)
        return float(np.exp(np.mean(np.log(ratios))))


def _centre(place: LungPlace) -> tuple[float, float]:
    return (place.top + place.bottom) / 2, (place.left + place.right) / 2


def _valid(film: MetaTensor) -> torch.Tensor:
    """Return 1 where a film is valid and 0 elsewhere, (rows, columns)."""
    valid = film.meta.get("valid")
    return torch.ones(film.shape[-2:]) if valid is None else torch.as_tensor(valid).float()


def _lay(
    pixels: np.ndarray,
    valid: torch.Tensor,
    at: tuple[float, float],
    towards: tuple[float, float],
    scale: float,
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale a film and place its point `at` on the point `towards` of the result.

    Returns:
        (size, size) film values, 0 where the film is not valid and beyond it, and the rest as bool.
    """
    film = torch.stack([torch.from_numpy(np.ascontiguousarray(pixels, np.float32)), valid])[None]
    shape = [max(2, round(n * scale)) for n in pixels.shape]
    scaled = interpolate(film, shape, mode="bilinear", antialias=True) if scale < 1 else film
    axes = []
    for to, source, count in zip(towards, at, pixels.shape, strict=True):
        place = (torch.arange(size) + 0.5 - to) / scale + source  # on the film; edges of pixels are whole numbers
        axes.append(place / count * 2 - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    lookup = torch.stack([columns, rows], dim=-1)[None].float()
    image = grid_sample(scaled, lookup, mode="bilinear", padding_mode="border", align_corners=False)[0]
    covered = (rows.abs() <= 1) & (columns.abs() <= 1) & (image[1] > WHOLLY)
    return image[0] * covered, covered


def _ends_of_volume(beam: ConeBeam, grid: VolumeGrid, view: View) -> torch.Tensor:
    """Return the share of an endless patient that lies inside the volume, ray by ray: (rows, columns) in [0, 1]."""
    depth, width = (1, 2) if view is View.PA else (2, 1)
    far = 100 * max(grid.size)
    sizes = []
    for height in (grid.size[0], far):
        size = [height, 0.0, 0.0]
        size[depth], size[width] = grid.size[depth], far
        sizes.append(beam.ray_support(VolumeGrid((1, 1, 1), size)))
    return torch.from_numpy(sizes[0] / np.maximum(sizes[1], 1e-6)).float().clip(0, 1)


class MatchFieldOfViewd(MapTransform):
    """Dictionary-based `MatchFieldOfView`.

    The films under the key become one tensor. Its views appear under `geometry`, (views, 4, 3) in mm, LPS, what is
    measured under `field`, (views, image_size, image_size) bool, and every decision about the films under `films` and
    `film_pictures` (`readers.unpack_films`).

    Args:
        keys: the one key of the films.
        acquisition: as in `MatchFieldOfView`.
        mode: as in `MatchFieldOfView`.
        image_size: as in `MatchFieldOfView`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        acquisition: Acquisition,
        mode: Literal["match", "given"] = "match",
        image_size: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = MatchFieldOfView(acquisition, mode, image_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Match the films under the key."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = self.transform(item[key])
            item.update(pack_films(image.meta.pop("films")))
            item[Keys.GEOMETRY] = image.meta.pop("geometry")
            item[Keys.FIELD] = image.meta.pop("field")
            item[key] = image
        return item
