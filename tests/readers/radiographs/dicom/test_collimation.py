import numpy as np
import pytest

from tests.readers.radiographs.film_files import read, same, says, stored, thorax, unit, write

PIXELS = stored(thorax())


def test_a_frame_of_padding_is_cut_off_and_not_counted(tmp_path):
    framed = np.full((1400, 1200), 65535, np.uint16)
    framed[100:1300, 100:1100] = PIXELS
    image = read(write(tmp_path / "a.dcm", framed, 16, PixelPaddingValue=65535))
    same(image, unit(PIXELS))
    assert says(image, "changed", "crop", "from 1400 x 1200 to 1200 x 1000")


def test_a_range_of_padding_inside_the_image_is_not_counted(tmp_path):
    holed = PIXELS.copy()
    hole = np.zeros(holed.shape, bool)
    hole[500:700, 0:600] = True
    holed[hole] = 4000 + np.arange(hole.sum()) % 96
    image = read(write(tmp_path / "a.dcm", holed, PixelPaddingValue=4000, PixelPaddingRangeLimit=4095)).numpy()[0]
    low, high = np.percentile(PIXELS[~hole], (0.5, 99.5))
    np.testing.assert_allclose(image[~hole], ((PIXELS - low) / (high - low)).clip(0, 1)[~hole], atol=1e-5)
    assert not image[hole].any()


def test_padding_that_would_leave_nothing_is_ignored(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, PixelPaddingValue=0, PixelPaddingRangeLimit=4095))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "padding")


@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
@pytest.mark.parametrize("shape", ["RECTANGULAR", "CIRCULAR", "POLYGONAL"])
def test_shutters_and_collimators(tmp_path, kind, shape):
    covered = PIXELS.copy()
    rows, columns = np.mgrid[1:1201, 1:1001]
    tags = {f"{kind}Shape": shape}
    if shape == "RECTANGULAR":
        edges = {"LeftVertical": 101, "RightVertical": 900, "UpperHorizontal": 51, "LowerHorizontal": 1100}
        tags |= {f"{kind}{name}Edge": edge for name, edge in edges.items()}
        inside = (columns >= 101) & (columns <= 900) & (rows >= 51) & (rows <= 1100)
    elif shape == "CIRCULAR":
        tags |= {f"CenterOfCircular{kind}": [600, 500], f"RadiusOfCircular{kind}": 450}
        inside = (rows - 600) ** 2 + (columns - 500) ** 2 <= 450**2
    else:
        tags[f"VerticesOfThePolygonal{kind}"] = [100, 500, 600, 900, 1100, 500, 600, 100]
        inside = np.abs(rows - 600) / 500 + np.abs(columns - 500) / 400 < 1
    covered[~inside] = 4095
    film = read(write(tmp_path / "a.dcm", covered, **tags))
    image = film.numpy()[0]
    where = np.argwhere(inside)
    box = tuple(slice(a, b + 1) for a, b in zip(where.min(0), where.max(0), strict=True))
    assert image.shape == inside[box].shape
    low, high = np.percentile(PIXELS[inside], (0.5, 99.5))
    expected = np.where(inside, ((PIXELS - low) / (high - low)).clip(0, 1), 0)[box]
    assert (np.abs(image - expected) > 1e-3).mean() < 2e-3  # the edge of a polygon may be rounded otherwise
    valid = film.meta["valid"]
    assert valid is None if shape == "RECTANGULAR" else (np.asarray(valid) != inside[box]).mean() < 2e-3


def test_what_is_valid_is_turned_and_stretched_with_the_film(tmp_path):
    """A round shutter off the centre of a film with oblong pixels that lies on its side."""
    tags = {
        "ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [500, 450], "RadiusOfCircularShutter": 400,
        "PatientOrientation": ["F", "L"], "ImagerPixelSpacing": [0.2, 0.1],
    }  # fmt: skip
    film = read(write(tmp_path / "a.dcm", PIXELS, **tags))
    valid = np.asarray(film.meta["valid"])
    assert valid.shape == film.shape[1:] == (801, 1602)
    y, x = np.mgrid[0:801, 0:1602]
    distance = np.hypot(y - 400, (x - 800.5) / 2)
    assert valid[distance < 398].all()
    assert not valid[distance > 401].any()
    assert not film.numpy()[0][distance > 402].any()


def test_inverting_leaves_the_shutter_black(tmp_path):
    tags = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [600, 500], "RadiusOfCircularShutter": 400}
    film = read(write(tmp_path / "a.dcm", PIXELS, **tags), invert=True)
    assert not film.numpy()[0][~np.asarray(film.meta["valid"])].any()


def test_a_shutter_without_all_its_edges_is_doubted(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=100))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "shutter")
