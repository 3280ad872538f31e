import math

import numpy as np
import pytest
import torch

from conventions import InputError
from drr import ConeBeam, ParallelBeam, geometry_tensor, perturb_geometry, preset, views_of_tensor

CHEST = {"sdd": 1800.0, "sod": 1500.0, "detector_shape": (8, 9)}


def test_there_and_back():
    views = (*preset("chest", (8, 9)), ConeBeam.oblique(angle=30, tilt=5, **CHEST))
    assert views_of_tensor(geometry_tensor(views, torch.float64), (8, 9)) == (views,)


def test_a_parallel_beam_is_a_source_at_infinity():
    view = ParallelBeam.oblique(angle=30, tilt=5, detector_shape=(8, 9)).moved((3, 4, 5))
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        ((back,),) = views_of_tensor(geometry_tensor([view], dtype), (8, 9))
        assert isinstance(back, ParallelBeam)
        np.testing.assert_allclose(back.direction, view.direction, atol=tolerance)
        np.testing.assert_allclose(back.detector_centre, view.detector_centre, atol=1e-5)


def test_contradictory_tensors_are_refused():
    with pytest.raises(InputError, match="in the plane of the detector"):
        views_of_tensor(torch.tensor([[[[0.0, 9, 0], [5, 9, 0], [1, 0, 0], [0, 0, -1]]]]), (8, 9))
    with pytest.raises(InputError, match=r"\(B, views, 4, 3\)"):
        views_of_tensor(torch.zeros(4, 3), (8, 9))


def test_perturbations_are_the_constructors_numbers():
    views = [ConeBeam.pa(**CHEST), ConeBeam.lateral(detector_side="left", **CHEST)]
    geometry = geometry_tensor(views, torch.float64)
    torch.testing.assert_close(perturb_geometry(geometry), geometry)

    moved = perturb_geometry(geometry, sdd=20.0, sod=-30.0)
    numbers = {**CHEST, "sdd": 1820.0, "sod": 1470.0}
    expected = geometry_tensor(
        [ConeBeam.pa(**numbers), ConeBeam.lateral(detector_side="left", **numbers)], torch.float64
    )
    torch.testing.assert_close(moved, expected)

    turned = perturb_geometry(geometry[:, :1], angle=25.0, tilt=12.0)
    torch.testing.assert_close(
        turned, geometry_tensor([ConeBeam.oblique(angle=25, tilt=12, **CHEST)], torch.float64), atol=1e-9, rtol=0
    )

    for pose in (
        ConeBeam.pa(**CHEST),
        ConeBeam.ap(**CHEST),
        ConeBeam.lateral(detector_side="left", **CHEST),
        ConeBeam.lateral(detector_side="right", **CHEST),
        ConeBeam.pa(**CHEST).mirrored(),
    ):
        tilted = perturb_geometry(geometry_tensor([pose], torch.float64), tilt=10.0)[0, 0]
        beam = (tilted[1] - tilted[0]) / 1800
        assert float(beam[2]) == pytest.approx(math.sin(math.radians(10)))

    shifted = perturb_geometry(geometry, shift_columns=torch.tensor([[5.0, 6.0]]), shift_rows=7.0)
    expected = geometry_tensor([views[0].moved((5, 0, -7)), views[1].moved((0, 6, -7))], torch.float64)
    torch.testing.assert_close(shifted, expected)


def test_perturbations_are_differentiable():
    geometry = geometry_tensor([ConeBeam.pa(**CHEST)], torch.float64)
    angle = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    perturb_geometry(geometry, angle=angle)[0, 0, 0, 0].backward()  # x of the source, behind the patient
    assert float(angle.grad) == pytest.approx(-1500 * math.pi / 180)
