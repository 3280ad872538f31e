import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from conventions import InputError
from metrics import mask_agreement

SPACING, TOLERANCE = 2.5, 5.0


def ball(centre, radius, shape=(30, 32, 34)):
    axes = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return (axes**2).sum(0) <= radius**2


def tensor(mask):
    return torch.from_numpy(mask)[None, None]


def by_scipy(found, true):
    """Distances between the surfaces, from their voxels, without MONAI."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (found, true)]
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING) for edge in edges]
    return maps[1][edges[0]], maps[0][edges[1]]


@pytest.mark.parametrize("other", [ball((16, 15, 17), 9), ball((14, 16, 18), 6) | ball((22, 8, 8), 3)])
def test_the_figures_are_those_of_scipy_and_of_monai(other):
    true = ball((15, 15, 15), 9)
    found = mask_agreement(tensor(other), tensor(true), SPACING, TOLERANCE)
    to_true, to_other = by_scipy(other, true)
    assert float(found["dice"]) == pytest.approx(2 * (other & true).sum() / (other.sum() + true.sum()), rel=1e-6)
    assert float(found["hd95_mm"]) == pytest.approx(
        max(np.percentile(to_true, 95), np.percentile(to_other, 95)), rel=1e-6
    )
    near = np.concatenate([to_true, to_other]) <= TOLERANCE
    assert float(found["nsd"]) == pytest.approx(near.mean(), rel=1e-6)
    arguments = {"include_background": True, "spacing": [SPACING] * 3}
    monais = compute_hausdorff_distance(tensor(other), tensor(true), percentile=95, **arguments)
    assert float(found["hd95_mm"]) == pytest.approx(float(monais), rel=1e-5)
    monais = compute_surface_dice(tensor(other), tensor(true), [TOLERANCE], **arguments)
    assert float(found["nsd"]) == pytest.approx(float(monais), rel=1e-5)


def test_cases_are_measured_by_themselves():
    true, nothing = ball((15, 15, 15), 9), np.zeros((30, 32, 34), bool)
    predicted = torch.cat([tensor(true), tensor(nothing), tensor(nothing)])
    found = mask_agreement(predicted, torch.cat([tensor(true), tensor(true), tensor(nothing)]), SPACING)
    np.testing.assert_array_equal(found["dice"], [1, 0, np.nan])
    np.testing.assert_array_equal(found["nsd"], [1, 0, np.nan])
    np.testing.assert_array_equal(found["hd95_mm"], [0, np.nan, np.nan])


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="masks to compare"):
        mask_agreement(torch.ones(1, 1, 3, 3, 3) > 0, torch.ones(1, 1, 3, 3, 4) > 0, SPACING)
