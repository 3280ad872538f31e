import numpy as np
import pytest

from tests.readers.radiographs.film_files import dataset, read, same, says, stored, thorax, unit, write

PIXELS = stored(thorax())


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("nan\\nan", id="nan"),
        pytest.param("0\\0", id="zero"),
        pytest.param("-1\\-1", id="negative"),
        pytest.param("abc\\def", id="text"),
        pytest.param("0.35", id="one value"),
        pytest.param("10\\10", id="ten mm"),
        pytest.param("1e-6\\1e-6", id="one nanometre"),
    ],
)
def test_an_impossible_spacing_is_unknown(tmp_path, value):
    made = dataset(PIXELS, ImagerPixelSpacing=None)
    made.add_new("ImagerPixelSpacing", "LO", value.split("\\"))
    made.save_as(tmp_path / "a.dcm")
    image = read(tmp_path / "a.dcm")
    same(image, unit(PIXELS))
    assert image.meta["spacing"] is None
    assert image.meta["record"].doubts


def test_text_in_a_decimal_string(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS)
    path.write_bytes(path.read_bytes().replace(b"0.35\\0.35", b"0.xx\\0.yy"))
    image = read(path)
    assert image.meta["spacing"] is None
    assert image.meta["record"].doubts


PIXEL = {"ImagerPixelSpacing": None, "PixelSpacing": [0.3, 0.3]}
CALIBRATED = {**PIXEL, "PixelSpacingCalibrationType": "GEOMETRY"}


@pytest.mark.parametrize(
    ("tags", "spacing", "kind"),
    [
        pytest.param({"PixelSpacing": [0.3, 0.3]}, 0.35, "found", id="imager before pixel"),
        pytest.param(PIXEL, 0.3, "assumed", id="pixel"),
        pytest.param(CALIBRATED, 0.3, "doubt", id="calibrated in the patient"),
        pytest.param(
            {**CALIBRATED, "EstimatedRadiographicMagnificationFactor": 1.1},
            0.33,
            "changed",
            id="calibrated and magnified",
        ),
        pytest.param({**PIXEL, "NominalScannedPixelSpacing": [0.4, 0.4]}, 0.4, "found", id="scanned before pixel"),
        pytest.param({"ImagerPixelSpacing": None}, None, "assumed", id="none"),
        pytest.param({"ImagerPixelSpacing": [0.1, 0.1]}, 0.1, "doubt", id="small field"),
    ],
)
def test_which_spacing_is_taken(tmp_path, tags, spacing, kind):
    image = read(write(tmp_path / "a.dcm", PIXELS, **tags))
    assert image.meta["spacing"] == (None if spacing is None else pytest.approx(spacing))
    assert says(image, kind, "spacing")


def test_oblong_pixels_become_square(tmp_path):
    tall = thorax((1200, 1000))
    path = write(tmp_path / "a.dcm", stored(tall[:, ::2]), ImagerPixelSpacing=[0.3, 0.6])
    image = read(path)
    assert image.shape == (1, 1200, 1000)
    assert image.meta["spacing"] == pytest.approx(0.3)
    difference = np.abs(image.numpy()[0] - unit(PIXELS))
    assert difference.mean() < 0.01
    assert says(image, "changed", "spacing", "1200 x 1000 square pixels")


def test_the_aspect_without_spacing(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS[::2], ImagerPixelSpacing=None, PixelAspectRatio=[2, 1])
    image = read(path)
    assert image.shape == (1, 1200, 1000)
    assert image.meta["spacing"] is None


LATERAL = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}


def shadow_by_similar_triangles(sdd, surface, half_thickness):
    """Length of the shadow of 1 mm in the mid-plane: rays from (0, 0) through its ends, met by the detector."""
    mid_plane = surface - half_thickness
    ends = [np.array([mid_plane, y]) for y in (0.0, 1.0)]
    low, high = (end[1] * sdd / end[0] for end in ends)
    return high - low


@pytest.mark.parametrize(
    ("tags", "view", "half_thickness"),
    [
        pytest.param({"ViewPosition": "PA"}, "pa", 110, id="PA"),
        pytest.param({"ViewPosition": "AP"}, "pa", 110, id="AP"),
        pytest.param(LATERAL, "lateral", 160, id="left lateral"),
        pytest.param(LATERAL, "pa", 160, id="left lateral given as PA"),
        pytest.param({"ViewPosition": None, "PatientOrientation": None}, "lateral", 160, id="view not stated"),
    ],
)
def test_the_stated_distances_give_the_magnification_of_the_mid_plane(tmp_path, tags, view, half_thickness):
    distances = {"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1760}
    image = read(write(tmp_path / "a.dcm", PIXELS, **distances, **tags), view)
    expected = shadow_by_similar_triangles(1800, 1760, half_thickness)
    assert image.meta["magnification"] == pytest.approx(expected)
    assert says(image, "found", "magnification", f"mid-plane {1760 - half_thickness} mm")
    assert says(image, "assumed", "magnification", f"{half_thickness} mm before the surface")


def test_a_chest_film_is_magnified_by_nine_per_cent(tmp_path):
    distances = {"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1760}
    assert read(write(tmp_path / "a.dcm", PIXELS, **distances)).meta["magnification"] == pytest.approx(1800 / 1650)


def test_a_stated_magnification_goes_before_distances(tmp_path):
    distances = {"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1760}
    image = read(write(tmp_path / "a.dcm", PIXELS, EstimatedRadiographicMagnificationFactor=1.15, **distances))
    assert image.meta["magnification"] == pytest.approx(1.15)


@pytest.mark.parametrize(
    ("tags", "doubted"),
    [
        pytest.param({"DistanceSourceToDetector": 1800}, False, id="one distance missing"),
        pytest.param({"DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 1800}, True, id="detector in front"),
        pytest.param({"DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 100}, True, id="source inside"),
        pytest.param({"DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 300}, True, id="fivefold"),
        pytest.param({"DistanceSourceToDetector": 1000, "DistanceSourceToPatient": -5}, True, id="negative"),
        pytest.param({"EstimatedRadiographicMagnificationFactor": 0.5}, True, id="reduced"),
    ],
)
def test_a_magnification_that_is_not_stated_or_impossible_is_unknown(tmp_path, tags, doubted):
    image = read(write(tmp_path / "a.dcm", PIXELS, **tags))
    assert image.meta["magnification"] is None
    assert says(image, "doubt", "magnification") is doubted


def test_a_spacing_that_is_given_wins(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS), spacing=0.2)
    assert image.meta["spacing"] == 0.2
    assert says(image, "found", "spacing", "as given")
