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
    image = read(write(tmp_path / "a.dcm", covered, **tags)).numpy()[0]
    where = np.argwhere(inside)
    box = tuple(slice(a, b + 1) for a, b in zip(where.min(0), where.max(0), strict=True))
    assert image.shape == inside[box].shape
    low, high = np.percentile(PIXELS[inside], (0.5, 99.5))
    expected = np.where(inside, ((PIXELS - low) / (high - low)).clip(0, 1), 0)[box]
    assert (np.abs(image - expected) > 1e-3).mean() < 2e-3  # the edge of a polygon may be rounded otherwise


def test_a_shutter_without_all_its_edges_is_doubted(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=100))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "shutter")
