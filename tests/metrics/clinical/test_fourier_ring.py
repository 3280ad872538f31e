"""Correlations are those of the FDA's `frc_utils.FRC` (github.com/DIDSR/sfrc, 2026-11), run on the same pairs."""

import numpy as np
import pytest
import torch

from metrics import false_structure, first_crossing, fourier_ring_correlation, structure_map
from tests.oracle import random_input

FDA_32 = [
    1.0, 0.9985989928245544, 0.9730910658836365, 0.8065611720085144, 0.9127106666564941, 0.9229981303215027,
    0.8951008319854736, 0.7876107096672058, 0.8161917328834534, 0.8237704634666443, 0.7481253743171692,
    0.7609975934028625, 0.7891320586204529, 0.7995895147323608, 0.8179944753646851, 0.8139639496803284,
]  # fmt: skip
FDA_16 = [
    1.0, 0.9967585206031799, 0.9275386929512024, 0.8369063138961792, 0.7987138032913208, 0.7679897546768188,
    0.8064000606536865, 0.8282632827758789,
]  # fmt: skip


@pytest.mark.parametrize(("side", "expected"), [(32, FDA_32), (16, FDA_16)])
def test_the_correlation_is_that_of_the_fdas_code(side, expected):
    """The pair of their run: random images, the second 0.6 of the first, scaled to [0, 1], after their Hann step.

    Their step (`apply_hanning_2d`) multiplies an image by its own transpose; `structure_map` applies the plain window.
    """
    first = np.asarray(random_input("frc_first", (side, side)), dtype=np.float64)
    second = 0.6 * first + 0.4 * np.asarray(random_input("frc_second", (side, side)), dtype=np.float64)
    faded = [(image - image.min()) / np.ptp(image) * np.hanning(side)[:, None] for image in (first, second)]
    pair = [torch.from_numpy(image * image.T) for image in faded]
    np.testing.assert_allclose(fourier_ring_correlation(*pair), expected, atol=1e-5)


def test_the_first_crossing_is_interpolated():
    curve = torch.tensor([1.0, 0.8, 0.4, 0.6, 0.2, 0.0, 0.0, 0.0])
    assert float(first_crossing(curve)) == pytest.approx(1.75 / 16)
    assert float(first_crossing(torch.ones(8))) == torch.inf


@pytest.fixture
def pair():
    """A volume of random structure, and one whose structures finer than a cutoff are others: cycles per voxel."""
    rng = np.random.default_rng(0)
    true, other = (np.fft.fftn(rng.normal(size=(8, 64, 64)), axes=(1, 2)) for _ in range(2))
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))

    def volume(cutoff):
        spectrum = np.where(cycles < cutoff, true, other)
        return torch.from_numpy(np.fft.ifftn(spectrum, axes=(1, 2)).real)[None, None]

    return volume


def test_the_map_finds_the_frequency_up_to_which_structures_agree(pair):
    body = torch.ones(1, 1, 8, 64, 64, dtype=torch.bool)
    body[..., 32:] = False
    truth = pair(1.0)
    for cutoff in (0.1, 0.2, 0.3):
        places = structure_map(pair(cutoff), truth, body)
        assert places.shape == (1, 2, 3, 3)
        assert places[..., 2].isnan().all()  # outside the body
        assert float(places[..., 0].median()) == pytest.approx(cutoff, abs=0.05)
    assert torch.isinf(structure_map(truth, truth, body)[..., 0]).all()


def test_what_has_no_structure_is_false(pair):
    body = torch.ones(1, 1, 8, 64, 64, dtype=torch.bool)
    blank = structure_map(torch.zeros(1, 1, 8, 64, 64), pair(1.0), body)
    assert float(false_structure(blank)) == 1.0
    assert float(false_structure(structure_map(pair(1.0), pair(1.0), body))) == 0.0
    assert false_structure(torch.full((1, 2, 3, 3), torch.nan)).isnan().all()
