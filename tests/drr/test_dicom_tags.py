import pydicom
import pytest

from conventions import InputError
from drr import from_dicom_tags

TAGS = {
    "DistanceSourceToDetector": 1800,
    "DistanceSourceToPatient": 1746,
    "ImagerPixelSpacing": [0.14, 0.15],
    "Rows": 3000,
    "Columns": 2800,
    "ViewPosition": "PA",
}
"""The distances of a real chest film: DiffDRR's issue 372."""


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


def test_the_pose_of_the_user_wins():
    assert from_dicom_tags(TAGS, "right")[0].source[0] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ViewPosition": "XX"}, "ViewPosition is 'XX': pass pose"),
        ({"ImagerPixelSpacing": None}, "size of a pixel is not known"),
        ({"ImagerPixelSpacing": [0.1, -0.1]}, "must be positive"),
        ({"ImagerPixelSpacing": 0.14}, "must be two numbers in mm, got 0.14"),
        ({"ImagerPixelSpacing": [0.14]}, "must be two numbers"),
        ({"ImagerPixelSpacing": "0.14"}, "must be two numbers"),
        ({"ImagerPixelSpacing": None, "PixelSpacing": [1, 2, 3]}, "^PixelSpacing must be two numbers"),
        ({"Rows": None}, "the image has no size"),
        ({"DistanceSourceToDetector": "far"}, "must be a number, got 'far'"),
        ({"DistanceSourceToPatient": 1900}, "must be less than DistanceSourceToDetector"),
        ({"DistanceSourceToPatient": 50}, "too short"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        from_dicom_tags({**TAGS, **changes})
