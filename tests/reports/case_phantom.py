"""A case whose bright sphere lies at the patient's left, front and head, and nowhere else."""

from __future__ import annotations

import numpy as np
import torch

from drr import Acquisition, VolumeGrid
from reports import CaseContent
from transforms import RayCastDRR

ACQUISITION = Acquisition(grid=VolumeGrid(32, 10.0), detector_shape=32)

SPHERE_LPS = (70.0, -60.0, 80.0)
"""Centre of the sphere in mm: to the left, to the front, to the head."""

SPHERE_HU, BODY_HU, AIR_HU = 1000.0, 40.0, -1000.0


def phantom() -> np.ndarray:
    """The volume (D, H, W) in HU, from positions in the patient frame."""
    z, y, x = np.meshgrid(*(10.0 * (np.arange(32) - 15.5) * sign for sign in (-1, 1, 1)), indexing="ij")
    body = (x / 140) ** 2 + (y / 110) ** 2 < 1
    sphere = sum((a - b) ** 2 for a, b in zip((x, y, z), SPHERE_LPS, strict=True)) < 30**2
    return np.where(sphere, SPHERE_HU, np.where(body, BODY_HU, AIR_HU)).astype(np.float32)


def case(**changes: object) -> CaseContent:
    """What is known about the case after an evaluation; the prediction is 100 HU too high in the body."""
    truth = phantom()
    content = {
        "case": "a <b> & c",
        "prediction_hu": np.where(truth > AIR_HU, truth + 100, truth),
        "truth_hu": truth,
        "acquisition": ACQUISITION,
        "image": RayCastDRR(ACQUISITION)(torch.from_numpy(truth)[None]).numpy(),
        "model": {"network": {"name": "raylift"}, "checkpoint": "model.pt", "sha256": "0" * 64},
        "measures": {"psnr_db/prediction": 21.25, "ssim/prediction": 0.5, "mae_hu/prediction": 61.0},
    }
    return CaseContent(**{**content, **changes})
