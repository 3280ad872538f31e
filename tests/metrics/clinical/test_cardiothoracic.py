import numpy as np
import pytest
import torch

from cohort.phantoms import thorax_phantom
from cohort.phantoms.anatomy import draw_anatomy
from conventions import InputError
from drr import VolumeGrid
from metrics import cardiothoracic, film_widths

GRID = VolumeGrid(128, 2.5)
SOURCE_MM = 1650.0


def drawn_widths(seed):
    """Widths in mm of the ribs (inside) and of the shadow of the heart on a PA film, from the shapes themselves."""
    anatomy = draw_anatomy(np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0]))
    directions = np.random.default_rng(0).normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    surface = np.concatenate(
        [
            np.array(part.centre) + (directions * part.semi_axes) @ np.array(part.axes)
            for part in (part.moved(anatomy.pose) for part in anatomy.heart)
        ]
    )
    shadow = surface[:, 0] * SOURCE_MM / (SOURCE_MM - surface[:, 1])
    return 2 * anatomy.chest.cage.half_width.max(), np.ptp(shadow)


def test_widths_of_phantoms_are_those_of_their_shapes():
    """Limits: thorax within 5 %, heart within 6 mm in the middle case, ratio within 0.03 in the middle case.

    The heart of two of these eight dips below the diaphragm, or the diaphragm rises over it.
    """
    thorax, heart, ratio = [], [], []
    for seed in range(8):
        volume = torch.from_numpy(thorax_phantom(seed).volume_hu)[None, None]
        found = {name: float(value) for name, value in cardiothoracic(volume, GRID).items()}
        true_thorax, true_heart = drawn_widths(seed)
        thorax.append(found["thorax_width_mm"] / true_thorax - 1)
        heart.append(found["heart_width_mm"] - true_heart)
        ratio.append(found["cardiothoracic_ratio"] - true_heart / true_thorax)
    assert np.abs(thorax).max() < 0.05
    assert np.median(np.abs(heart)) < 6
    assert np.abs(heart).max() < 20
    assert np.median(np.abs(ratio)) < 0.03
    assert np.abs(ratio).max() < 0.08


def drawn_film(thorax=120, heart=45, rows=128, columns=256):
    """A frontal image of rectangles: two lungs in dense tissue, a heart of which two thirds are to the left."""
    image = torch.full((rows, columns), 6.0)
    image[:, :20] = image[:, -20:] = 0.0
    middle = columns // 2
    image[16:112, middle - thorax // 2 : middle + thorax // 2] = 2.0
    image[:, middle - 8 : middle + 8] = 7.0
    image[64:112, middle - heart // 3 : middle + 2 * heart // 3] = 7.0
    return image


def test_widths_of_a_drawing_are_those_drawn():
    found = film_widths(torch.stack([drawn_film(), drawn_film(heart=60)]), 2.0)
    np.testing.assert_allclose(found["thorax_width_mm"], [240, 240], atol=4)
    np.testing.assert_allclose(found["heart_width_mm"], [90, 120], atol=4)
    np.testing.assert_allclose(found["cardiothoracic_ratio"], [0.375, 0.5], atol=0.03)


@pytest.mark.parametrize(
    "image", [torch.zeros(64, 64), torch.ones(64, 64), drawn_film()[:, :128].repeat(1, 2)[:, :150]]
)
def test_without_two_lungs_there_is_no_ratio(image):
    assert film_widths(image[None], 2.0)["cardiothoracic_ratio"].isnan().all()


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="widths are measured"):
        film_widths(torch.zeros(64, 64), 2.0)
