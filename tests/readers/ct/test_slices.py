"""Slices that become one volume without a change of any value, in int16 where that is possible."""

import numpy as np
import pytest

from readers.ct.slices import SliceStack


def gather(volume):
    """Gather a volume (slices, rows, columns)."""
    stack = SliceStack(volume.shape)
    for values in volume:
        stack.add(values)
    return stack.volume()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        pytest.param(0.0, np.int16, id="whole"),
        pytest.param(-32767.0, np.int16, id="smallest"),
        pytest.param(32767.0, np.int16, id="largest"),
        pytest.param(32768.0, np.float32, id="too large"),
        pytest.param(-1e9, np.float32, id="too small"),
        pytest.param(0.25, np.float32, id="fraction"),
        pytest.param(np.nan, np.float32, id="NaN"),
        pytest.param(np.inf, np.float32, id="infinite"),
    ],
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_every_value_stays(value, kept, place):
    volume = np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 4) - 1024
    volume[place, 1, 2] = value
    gathered = gather(volume)
    assert gathered.dtype == kept
    np.testing.assert_array_equal(gathered, volume.transpose(2, 1, 0))
