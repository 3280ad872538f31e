"""Describe what every DRR tool of `benchmarks.drr` projects: volumes and views.

It runs in each tool's own environment, so it imports only numpy and the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class View:
    """A view whose central ray hits the centre of the detector at a right angle, as all tools can express it."""

    numbers: np.ndarray
    """(4, 3) source, detector centre, column step, row step in LPS mm."""

    @cached_property
    def sdd(self) -> float:
        """Source-detector distance in mm."""
        return float(np.linalg.norm(self.numbers[1] - self.numbers[0]))

    @cached_property
    def pitch(self) -> tuple[float, float]:
        """Pixel spacing along (columns, rows) in mm."""
        return float(np.linalg.norm(self.numbers[2])), float(np.linalg.norm(self.numbers[3]))

    @cached_property
    def axes(self) -> np.ndarray:
        """Unit vectors as the rows of (3, 3): right in the image, down in the image, along the beam."""
        right, down = self.numbers[2] / self.pitch[0], self.numbers[3] / self.pitch[1]
        return np.stack([right, down, (self.numbers[1] - self.numbers[0]) / self.sdd])

    def camera_to_ras(self, down: float) -> np.ndarray:
        """Return (4, 4) from a camera at the source (x right, y down or, for -1, up, z along the beam) to RAS mm."""
        pose = np.eye(4)
        pose[:3, :3] = (self.axes * [[1], [down], [1]]).T
        pose[:3, 3] = self.numbers[0]
        return np.diag([-1, -1, 1, 1]) @ pose


@dataclass(frozen=True)
class Scene:
    """The volumes and the views to project."""

    volumes: np.ndarray
    spacing: float
    views: list[View]
    shape: tuple[int, int]
    weights: np.ndarray
    """(V, rows, columns): the gradient is that of sum(image * weights)."""
    device: str

    @property
    def towards_head(self) -> np.ndarray:
        """Volumes with z, y, x rising along (D, H, W), as in files in LPS."""
        return self.volumes[:, ::-1]

    @property
    def first_voxel(self) -> float:
        """Position of a cube's first voxel centre on each axis in mm."""
        return -(self.volumes.shape[-1] - 1) / 2 * self.spacing
