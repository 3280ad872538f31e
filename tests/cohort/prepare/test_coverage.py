"""What is measured of a made patient, whose every voxel is known."""

import numpy as np
import pytest

from cohort.prepare.coverage import measure_coverage


@pytest.mark.parametrize("shift", [0, 1])
def test_no_skin_is_lost_at_any_place_of_the_blocks(shift):
    """At 1 mm the patient is found in blocks of 2 mm; a block of little skin and much air would be taken for air."""
    rows, columns = np.ogrid[:120, :180]
    patient = ((rows - 55 - shift) / 40) ** 2 + ((columns - 90 + shift) / 70) ** 2 < 1
    volume = np.full((24, 120, 180), -1000, np.int16)
    volume[:, patient] = 0
    volume[:, 112:114] = 200  # a sheet below
    _, body = measure_coverage(volume, np.diag([-1.0, -1, -1, 1]), 1.0)
    assert not (patient & ~body).any()
    assert (body & ~patient).sum() < 0.01 * body.sum()
    assert not body[:, 112:].any()
