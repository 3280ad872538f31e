import numpy as np
import pytest
import torch

from conventions import HU_WINDOW, InputError, hu_to_unit, unit_to_hu


def test_paper_window_is_hu_plus_1024_over_2500():
    hu = torch.tensor([-1024.0, -774.0, 226.0, 1476.0])
    assert torch.equal(hu_to_unit(hu), torch.tensor([0.0, 0.1, 0.5, 1.0]))
    assert HU_WINDOW[1] - HU_WINDOW[0] == 2500


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_round_trip_and_clipping(kind):
    hu = kind(np.array([-3024.0, -1024.0, 0.0, 1000.0, 3071.0], dtype=np.float32))
    back = np.asarray(unit_to_hu(hu_to_unit(hu)))
    np.testing.assert_allclose(back, [-1024, -1024, 0, 1000, 1476], atol=1e-3)


@pytest.mark.parametrize("window", [(100, -100), (5, 5)])
def test_an_empty_window_is_refused(window):
    for convert in (hu_to_unit, unit_to_hu):
        with pytest.raises(InputError, match="low below high"):
            convert(torch.zeros(1), window)


def test_another_window():
    assert float(hu_to_unit(torch.tensor(0.0), (-1000, 1000))) == 0.5
    assert float(unit_to_hu(torch.tensor(0.25), (-1000, 1000))) == -500
