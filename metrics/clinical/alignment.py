"""Align a predicted volume with the true one, by the rigid motion that brings its lungs onto the true lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from conventions import HU_AIR

MOTION_MEASURES = (
    "shift_left_mm",
    "shift_back_mm",
    "shift_head_mm",
    "turn_about_left_deg",
    "turn_about_back_deg",
    "turn_about_head_deg",
)
"""Names of the six numbers of a `RigidMotion`, in their order."""

BAND_MM = 15.0
"""Distance from the surface of the true lungs within which distances are compared."""

FARTHEST_MM = 60.0
"""Distance beyond which a surface is only far, so that no stray part decides."""

USUAL_MM = 5.0
"""Difference of distances above which a point counts less: there the lungs have another shape, and no motion helps."""

MOST_POINTS = 5_000
"""Number of points that are compared; more of them change nothing that can be measured."""

ARM_MM = 100.0
"""Distance from the axis at which turns are weighed against shifts."""

INDEX_TO_LPS = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""Steps along the axes (D, H, W) of a volume -> steps to the patient's left, back and head."""


@dataclass(frozen=True)
class RigidMotion:
    """A turn about the middle of the grid, then a shift: how a predicted volume has to be moved."""

    shift_mm: tuple[float, float, float]
    """Shift to the patient's left, back and head (LPS) in mm."""
    turn_deg: tuple[float, float, float]
    """Turn as a rotation vector in degrees: its direction is the axis in LPS, right-handed; of a small turn, the
    components are the turns about the axes to the left, the back and the head."""

    def numbers(self) -> tuple[float, ...]:
        """Return the six numbers in the order of `MOTION_MEASURES`."""
        return (*self.shift_mm, *self.turn_deg)

    def backwards(self, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        """Return matrix (3, 3) and offset (3,), in voxels from the middle, from a moved voxel to where it was."""
        turn = Rotation.from_rotvec(self.turn_deg, degrees=True).as_matrix()
        matrix = INDEX_TO_LPS.T @ turn.T
        return matrix @ INDEX_TO_LPS, -matrix @ (np.array(self.shift_mm) / spacing)


def align_lungs(moving: torch.Tensor, fixed: torch.Tensor, spacing: float) -> RigidMotion | None:
    """Find the rigid motion that brings lungs onto the true ones.

    It makes the distances from the surface of both masks agree near the surface of the true lungs, by least squares
    in which what lies far off hardly counts (SciPy's `least_squares`), beginning with the masks' centres on each other.

    Args:
        moving: (D, H, W) bool, the lungs to move.
        fixed: (D, H, W) bool, the true lungs.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        The motion; None where one of the masks is empty.
    """
    masks = [mask.cpu().numpy() for mask in (moving, fixed)]
    if not all(mask.any() for mask in masks):
        return None
    middle = (np.array(fixed.shape) - 1) / 2
    moving_mm, fixed_mm = (_signed_distance(mask, spacing) for mask in masks)
    there = np.argwhere(np.abs(fixed_mm) < BAND_MM)
    points = there[:: -(-len(there) // MOST_POINTS)]
    wanted, offsets = fixed_mm[tuple(points.T)], points - middle

    def motion_of(numbers: np.ndarray) -> RigidMotion:
        shift, turn = numbers[:3].tolist(), np.rad2deg(numbers[3:] / ARM_MM).tolist()
        return RigidMotion((shift[0], shift[1], shift[2]), (turn[0], turn[1], turn[2]))

    def differences(numbers: np.ndarray) -> np.ndarray:
        matrix, offset = motion_of(numbers).backwards(spacing)
        places = offsets @ matrix.T + offset + middle
        found: np.ndarray = ndimage.map_coordinates(moving_mm, places.T, order=1, mode="nearest") - wanted
        return found

    centres = [np.array(ndimage.center_of_mass(mask)) for mask in masks]
    start = np.concatenate([INDEX_TO_LPS @ (centres[1] - centres[0]) * spacing, np.zeros(3)])
    return motion_of(least_squares(differences, start, loss="cauchy", f_scale=USUAL_MM).x)


def move(volume_hu: torch.Tensor, motion: RigidMotion, spacing: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a volume, by linear interpolation.

    Args:
        volume_hu: (D, H, W) HU.
        motion: the motion.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        The moved volume on the same grid, float32, air where nothing came from; and where something did, bool.
    """
    array = volume_hu.cpu().numpy().astype(np.float32, copy=False)
    matrix, offset = motion.backwards(spacing)
    middle = (np.array(array.shape) - 1) / 2
    options = {"matrix": matrix, "offset": middle + offset - matrix @ middle, "order": 1, "mode": "constant"}
    moved = ndimage.affine_transform(array, cval=HU_AIR, **options)
    covered = ndimage.affine_transform(np.ones_like(array), cval=0.0, **options) > 0.999
    return torch.from_numpy(moved).to(volume_hu.device), torch.from_numpy(covered).to(volume_hu.device)


def _signed_distance(mask: np.ndarray, spacing: float) -> np.ndarray:
    """Return the distance of each voxel from the surface of a mask in mm, negative inside, `FARTHEST_MM` at most."""
    inside, outside = (ndimage.distance_transform_edt(part, sampling=spacing) for part in (mask, ~mask))
    signed = np.where(mask, spacing / 2 - inside, outside - spacing / 2)
    return signed.clip(-FARTHEST_MM, FARTHEST_MM).astype(np.float32)
