"""Measure thorax, heart and the cardiothoracic ratio on a frontal radiograph, as a radiologist does with a ruler."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d

from conventions import InputError
from drr import Acquisition, VolumeGrid, hu_to_mu, project

CARDIOTHORACIC_MEASURES = ("thorax_width_mm", "heart_width_mm", "cardiothoracic_ratio")
"""Names of what `cardiothoracic` returns."""

WIDTH_PIXELS = 256
"""Side of the radiograph on which widths are measured, that of a chest film: PA, source at 180 cm."""

SMOOTHED_ROWS = 7
"""Number of rows that are averaged; columns are not, since that would pull the borders inwards."""

PROMINENCE = 0.08
"""Smallest depth of a lung below what lies on both sides of it, as a share of the largest line integral of the row."""

LEAST_ROWS = 0.15
"""Smallest height of a lung field, as a share of the image."""

LATERAL = 0.8
"""Place between the midline and the chest wall, as a share, where the diaphragm is looked for, beside the heart."""

ABOVE_DIAPHRAGM = 0.04
"""Distance from the diaphragm to the lowest row in which the heart is measured, as a share of the image."""

STEEP = 0.5
"""Slope of the outline of the heart, as a share of the steepest one between lung and midline."""


def cardiothoracic(volume_hu: torch.Tensor, grid: VolumeGrid) -> dict[str, torch.Tensor]:
    """Measure thorax, heart and their ratio on the frontal DRR of a volume.

    The DRR is a PA chest film (180 cm) whatever radiographs a model reads, so that widths of all models compare.

    Args:
        volume_hu: (B, 1, D, H, W) HU.
        grid: its grid.

    Returns:
        As `film_widths`.
    """
    film = Acquisition(grid=grid, geometry="chest", view_names=["pa"], detector_shape=WIDTH_PIXELS)
    lines = project(hu_to_mu(volume_hu.float()), grid, film.views)[:, 0]
    view = film.views[0]
    pixel = torch.tensor(view.column_step).norm().item() / view.magnification()
    return film_widths(lines, pixel)


def film_widths(lines: torch.Tensor, pixel_mm: float) -> dict[str, torch.Tensor]:
    """Measure thorax, heart and their ratio on frontal radiographs.

    In each row and on each side of the midline, the lung is the deepest trough of the line integrals. The thorax is
    widest where the steepest rises outside the troughs are farthest apart. The heart reaches from its farthest border
    to the right to its farthest one to the left, in the rows between the middle of the lungs and the diaphragm, where a
    border is the outermost steep rise from the lung towards the midline.

    Args:
        lines: line integrals (B, rows, columns), the patient upright, his left at the right.
        pixel_mm: size of a pixel in mm in the plane of the isocentre.

    Returns:
        `thorax_width_mm`, `heart_width_mm` and `cardiothoracic_ratio`, each (B,) float64; NaN where two lungs cannot be
        made out.

    Raises:
        InputError: where the images have another number of axes.
    """
    if lines.ndim != 3:
        raise InputError(f"widths are measured on images (B, rows, columns), got {tuple(lines.shape)}")
    widths = torch.tensor([_widths(_smooth(image.double())) for image in lines.cpu()]).double() * pixel_mm
    ratio = widths[:, 1] / widths[:, 0]
    return dict(zip(CARDIOTHORACIC_MEASURES, [*widths.unbind(1), ratio], strict=True))


def _smooth(image: torch.Tensor) -> torch.Tensor:
    """Average each pixel with its neighbours above and below."""
    rows = (SMOOTHED_ROWS, 1)
    return avg_pool2d(image[None], rows, 1, (SMOOTHED_ROWS // 2, 0), count_include_pad=False)[0]


def _widths(image: torch.Tensor) -> tuple[float, float]:
    """Return the widths of thorax and heart in pixels; NaN where there are no two lungs."""
    middle = _midline(image)
    # Each side runs from the midline outwards.
    halves = [image[:, :middle].flip(1), image[:, middle:]]
    traces = [_trace(half, image.amax(1)) for half in halves]
    if any(trace is None for trace in traces):
        return torch.nan, torch.nan
    outer, inner, rows = zip(*(trace for trace in traces if trace is not None), strict=True)
    both = rows[0] & rows[1]
    if not both.any():
        return torch.nan, torch.nan
    thorax = _median_of_five((outer[0] + outer[1])[both]).max()
    extents = []
    for half, wall, border, lung in zip(halves, outer, inner, rows, strict=True):
        top = int(lung.nonzero()[0])
        base = _diaphragm(half, wall, lung)
        level = slice((top + base) // 2, base - int(ABOVE_DIAPHRAGM * len(half)))
        seen = _median_of_five(border[level][lung[level]])
        if not len(seen):
            return torch.nan, torch.nan
        extents.append(float(seen.max()))
    return float(thorax), sum(extents)


def _midline(image: torch.Tensor) -> int:
    """Find the column that divides the lungs: the densest one near the middle of the body."""
    shadow = image.sum(0)
    body = (shadow >= shadow.max() / 4).nonzero()[:, 0]
    first, last = int(body[0]), int(body[-1])
    third = (last - first) // 3
    return first + third + int(shadow[first + third : last - third].argmax())


def _trace(half: torch.Tensor, densest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Follow the outer and the inner border of a lung from row to row.

    Args:
        half: (rows, columns), from the midline outwards.
        densest: largest value of each row.

    Returns:
        Distance of both borders from the midline in pixels, and where there is a lung, each (rows,); None without one.
    """
    towards_middle = half.cummax(1).values
    outwards = half.flip(1).cummax(1).values.flip(1)
    depth, trough = (torch.minimum(towards_middle, outwards) - half).max(1)
    lung = depth > PROMINENCE * densest
    rows = _longest_run(lung)
    if rows.sum() < LEAST_ROWS * len(half):
        return None
    column = torch.arange(half.shape[1])
    slope = torch.gradient(half, dim=1)[0]
    wall = torch.where(column > trough[:, None], half, -torch.inf).argmax(1)
    rise = torch.where((column > trough[:, None]) & (column <= wall[:, None]), slope, -torch.inf)
    outer = rise.argmax(1).double()
    fall = torch.where(column < trough[:, None], -slope, 0.0)
    peak = fall.amax(1, keepdim=True)
    crest = (fall >= fall.roll(1, 1)) & (fall >= fall.roll(-1, 1)) & (fall >= STEEP * peak)
    inner = torch.where(crest, column, 0).amax(1).double()
    return outer, inner, rows


def _longest_run(seen: torch.Tensor) -> torch.Tensor:
    """Keep the longest run of true values."""
    best, start, kept = 0, 0, torch.zeros_like(seen)
    for row, there in enumerate([*seen.tolist(), False]):
        if not there:
            if row - start > best:
                best = row - start
                kept = torch.zeros_like(seen)
                kept[start:row] = True
            start = row + 1
    return kept


def _diaphragm(half: torch.Tensor, outer: torch.Tensor, lung: torch.Tensor) -> int:
    """Find the row of the diaphragm: the steepest rise downwards in the lower half of the lung, beside the heart."""
    rows = lung.nonzero()[:, 0]
    column = int(LATERAL * outer[rows].median())
    strip = half[:, max(0, column - 2) : column + 3].mean(1)
    rise = torch.gradient(strip)[0]
    first = int(rows[len(rows) // 2])
    return first + int(rise[first : int(rows[-1]) + 1].argmax())


def _median_of_five(values: torch.Tensor) -> torch.Tensor:
    """Replace each value by the median of five neighbours, so that no single row decides."""
    if len(values) < 5:
        return values
    return values.unfold(0, 5, 1).median(1).values
