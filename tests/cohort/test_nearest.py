import nibabel
import numpy as np
import pytest
import torch

from cohort import NearestCase, load_datalist, split_cohort, thorax_phantom
from conventions import InputError
from drr import Acquisition, VolumeGrid
from transforms import case_transforms

GRID = VolumeGrid(32, 10.0)


@pytest.fixture
def cohort(tmp_path):
    """A manifest of five phantoms, three of them for training."""
    for number in range(5):
        volume_hu = thorax_phantom(number, GRID.shape, GRID.spacing[0]).volume_hu
        nibabel.save(
            nibabel.Nifti1Image(np.rint(volume_hu).astype(np.int16), GRID.affine()), tmp_path / f"case_{number}.nii.gz"
        )
    return split_cohort(tmp_path, test=1, validation=1)


def test_it_is_the_training_case_with_the_most_similar_radiographs(cohort):
    transform = case_transforms(Acquisition(grid=GRID, detector_shape=16))
    nearest = NearestCase(cohort, transform)
    training = [transform(item) for item in load_datalist(cohort, "train")]
    brighter = torch.stack([torch.as_tensor(training[number]["image"]) + 0.001 for number in (2, 0)])
    found = nearest(brighter)
    assert found.shape == (2, 1, *GRID.shape)
    for volume, number in zip(found, (2, 0), strict=True):
        np.testing.assert_array_equal(volume, training[number]["label"])
    (held_out,) = (transform(item) for item in load_datalist(cohort, "test"))
    far = [np.mean((np.asarray(case["image"]) - np.asarray(held_out["image"])) ** 2) for case in training]
    image = torch.as_tensor(held_out["image"]).as_subclass(torch.Tensor)
    np.testing.assert_array_equal(nearest(image[None])[0], training[int(np.argmin(far))]["label"])


def test_a_cohort_without_training_cases_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such cohort"):
        NearestCase(tmp_path / "none", lambda item: item)
