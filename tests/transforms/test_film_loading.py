"""Films read, matched and toned by the workers of a loader, as inferring does."""

import numpy as np
import pytest
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose

from conventions import View
from drr import Acquisition
from readers import unpack_films
from tests.film_phantom import DETECTOR_MM, PIXELS, films
from tests.readers.radiographs.film_files import write
from transforms import MatchFieldOfViewd, ReadRadiographd, StyleTransferd

CHEST = Acquisition(geometry="chest", curve="water", film_style="linear", detector_shape=(64, 64), anchor="centre")
TAGS = {
    View.PA: {"DistanceSourceToDetector": 1820, "DistanceSourceToPatient": 1780},
    View.LATERAL: {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]},
}


def load(items, num_workers):
    steps = Compose(
        [ReadRadiographd("image"), MatchFieldOfViewd("image", CHEST), StyleTransferd("image", "histogram", CHEST)]
    )
    loader = DataLoader(Dataset(items, steps), batch_size=1, num_workers=num_workers)
    return [item for batch in loader for item in decollate_batch(batch)]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Two cases of DICOM films, the PA of the second one inverted."""
    folder = tmp_path_factory.mktemp("films")
    cases = []
    for seed in (0, 1):
        paths = []
        for view, film in zip(View, films(seed), strict=True):
            values = 1 - film if seed and view is View.PA else film
            pixels = np.rint(4095 * values).astype(np.uint16)
            spacing = {"ImagerPixelSpacing": [DETECTOR_MM / PIXELS] * 2}
            paths.append(str(write(folder / f"{seed}_{view}.dcm", pixels, **spacing, **TAGS[view])))
        cases.append({"case": str(seed), "image": paths})
    return cases


def test_decisions_travel_from_the_workers(items):
    here, there = load(items, 0), load(items, 2)
    assert [item["case"] for item in there] == ["0", "1"]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one["image"].numpy(), other["image"].numpy())
        np.testing.assert_array_equal(other["geometry"].numpy(), CHEST.geometry_tensor().numpy())
        assert one["field"].shape == (2, 64, 64)
        np.testing.assert_array_equal(other["field"].numpy(), one["field"].numpy())
        for film, same in zip(unpack_films(one), unpack_films(other), strict=True):
            assert same.record.to_list() == film.record.to_list()
            assert (same.view, same.frame, same.lungs) == (film.view, film.frame, film.lungs)
            np.testing.assert_array_equal(same.picture, film.picture)


def test_every_step_left_its_decisions(items):
    upright, inverted = (unpack_films(item) for item in load(items, 2))
    assert [film.view for film in upright] == list(View)
    for film in upright:
        subjects = {decision.subject for decision in film.record.decisions}
        assert {"polarity", "spacing", "magnification", "orientation", "lungs", "style"} <= subjects
    assert "polarity" in [doubt.subject for doubt in inverted[0].record.doubts]
    assert not any(film.record.doubts for film in (*upright, inverted[1]))
