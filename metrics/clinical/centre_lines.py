"""Measure how far spine and ribs of a predicted volume lie from the true ones, by the centre lines of bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.utils import optional_import
from scipy import ndimage
from scipy.spatial import cKDTree

skeletonize, _ = optional_import("skimage.morphology", name="skeletonize")

CENTRE_LINE_MEASURES = ("spine_distance_mm", "ribs_distance_mm")
"""Names of what `centre_line_distances` returns."""

FLOOR_HU, CEILING_HU = 100.0, 800.0
"""HU between which a voxel counts for the spine, by how far it exceeds the first: a blurred vertebra keeps its centre,
muscle does not count, and metal counts no more than cortex."""

COLUMN_MM = 12.0
"""Standard deviation of the Gaussian by which the densest column is found, about the radius of a vertebra."""

BACK = 0.55
"""Depth of the body, as a share, behind which the column is looked for; the heart may be full of contrast medium."""

REACH_MM = 35.0
"""Distance from the centre within which dense tissue counts as spine: body, arch, processes and heads of ribs."""

LEAST_SPINE = 100.0
"""Smallest sum over a slice of the spine, in HU above the floor times cm2; a vertebra has 1,000 and more."""

SMOOTHED_MM = 25.0
"""Height over which centres are averaged, about that of a vertebra, so that no process of one slice decides."""

LEAST_COMMON = 0.5
"""Smallest share of the true spine's slices in which the prediction must have one, for their distance to be stated."""


@dataclass(frozen=True, eq=False)
class CentreLines:
    """The centre lines of the bones of a volume."""

    spine: torch.Tensor
    """As `spine_line` returns it."""
    ribs: torch.Tensor
    """(n, 3) indices (d, h, w) of the skeleton of all bone that is not spine: sternum, shoulder blades and collar bones
    too."""
    spacing: float
    """Voxel spacing in mm."""


def spine_line(volume_hu: torch.Tensor, body: torch.Tensor, spacing: float) -> torch.Tensor:
    """Find the centre line of the spine: the densest column in the back of the body, followed slice by slice.

    Nothing is learned. The line is the centre of what is dense within `REACH_MM`, averaged over the height of a
    vertebra. It runs behind the centres of the vertebral bodies, since arches and processes count, and contrast medium
    in the aorta next to the spine draws it there.

    Args:
        volume_hu: (D, H, W) HU.
        body: (D, H, W) bool, the patient.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        (D, 2) float64: index (h, w) of the centre in each slice; NaN where there is no spine.
    """
    inside = body.cpu().numpy()
    dense = np.clip(volume_hu.cpu().numpy().astype(np.float32), FLOOR_HU, CEILING_HU) - FLOOR_HU
    dense *= inside
    line = np.full((len(dense), 2), np.nan)
    if not dense.any():
        return torch.from_numpy(line)
    depth = np.flatnonzero(inside.any((0, 2)))
    shared = ndimage.gaussian_filter(dense.sum(0), COLUMN_MM / spacing)
    # A peak of its own, so that the flank of a heart full of contrast medium in front is none.
    shared[shared < ndimage.maximum_filter(shared, 3)] = 0
    shared[: round(depth[0] + BACK * (depth[-1] - depth[0]))] = 0
    column = np.array(np.unravel_index(shared.argmax(), shared.shape), np.float64)
    h, w = np.indices(dense.shape[1:])
    start = int((dense * (np.hypot(h - column[0], w - column[1]) * spacing <= REACH_MM)).sum((1, 2)).argmax())
    for numbers in (range(start, len(dense)), range(start - 1, -1, -1)):  # to the feet, to the head
        centre = column if numbers.step > 0 or np.isnan(line[start, 0]) else line[start]
        for number in numbers:
            here = dense[number] * (np.hypot(h - centre[0], w - centre[1]) * spacing <= REACH_MM)
            if here.sum() * spacing**2 / 100 >= LEAST_SPINE:
                centre = np.array([(here * h).sum(), (here * w).sum()], np.float64) / here.sum()
                line[number] = centre
    return torch.from_numpy(_smoothed(line, max(1, round(SMOOTHED_MM / spacing))))


def centre_lines(volume_hu: torch.Tensor, bones: torch.Tensor, body: torch.Tensor, spacing: float) -> CentreLines:
    """Find the centre lines of bones: that of the spine, and the skeleton of all others (Lee 1994, scikit-image).

    Args:
        volume_hu: (D, H, W) HU.
        bones: (D, H, W) bool.
        body: (D, H, W) bool, the patient.
        spacing: voxel spacing in mm, the same along all axes.
    """
    spine = spine_line(volume_hu, body, spacing)
    mask, centres = bones.cpu().numpy(), torch.nan_to_num(spine, -1e6).numpy()
    h, w = np.arange(mask.shape[1])[:, None], np.arange(mask.shape[2])
    away = (h - centres[:, 0, None, None]) ** 2 + (w - centres[:, 1, None, None]) ** 2
    others = mask & (away * spacing**2 > REACH_MM**2)
    if not others.any():
        return CentreLines(spine, torch.empty(0, 3, dtype=torch.long), spacing)
    [box] = ndimage.find_objects(others.astype(np.uint8))
    ribs = np.argwhere(skeletonize(others[box])) + [edges.start for edges in box]
    return CentreLines(spine, torch.from_numpy(ribs), spacing)


def centre_line_distances(prediction: CentreLines, target: CentreLines) -> dict[str, float]:
    """Measure the distance of spine and ribs from the true ones.

    The spine's is the mean distance of both lines within the slices that have both; a shift along the spine changes
    nothing. The ribs' is the mean distance from each voxel of a skeleton to the nearest one of the other, averaged over
    both directions: ribs that are missing add the distance to those that are there, and a shift along a rib adds
    nothing.

    Args:
        prediction: lines of the predicted bones.
        target: lines of the true bones, of the same grid.

    Returns:
        `spine_distance_mm`, NaN where the prediction has no spine in half of the true spine's slices, and
        `ribs_distance_mm`, NaN where one of them has none.
    """
    off = (prediction.spine - target.spine).norm(dim=1) * target.spacing
    both, true = off.isfinite(), target.spine[:, 0].isfinite()
    found = both.any() and both.sum() >= LEAST_COMMON * true.sum()
    values = (float(off[both].mean()) if found else float("nan"), _nearest(prediction, target))
    return dict(zip(CENTRE_LINE_MEASURES, values, strict=True))


def _smoothed(line: np.ndarray, window: int) -> np.ndarray:
    """Average a line (D, 2) over a number of slices, leaving out what is NaN; NaN stays NaN."""
    known = np.isfinite(line)
    sums, shares = (
        ndimage.uniform_filter1d(values, window, axis=0, mode="constant")
        for values in (np.where(known, line, 0.0), known.astype(np.float64))
    )
    return np.where(known, sums / np.maximum(shares, 1e-12), np.nan)


def _nearest(prediction: CentreLines, target: CentreLines) -> float:
    """Return the mean distance from each voxel of a skeleton to the nearest one of the other in mm, both ways."""
    pair = [lines.ribs.numpy() for lines in (prediction, target)]
    if not all(len(ribs) for ribs in pair):
        return float("nan")
    found = [cKDTree(other).query(own)[0].mean() for own, other in (pair, pair[::-1])]
    return float(np.mean(found)) * target.spacing
