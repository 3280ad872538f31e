import numpy as np
import pydicom
import pytest
from pydicom.pixel_data_handlers import apply_modality_lut, apply_voi_lut

from tests.readers.radiographs.film_files import lut_item, read, refusal, same, says, stored, thorax, unit, write

PIXELS = stored(thorax())


ENTRIES = (np.linspace(0, 1, 4096) ** 0.5 * 65535).astype(np.uint16)


WINDOW = {"WindowCenter": 1800, "WindowWidth": 2400}


@pytest.mark.parametrize("function", [pytest.param(None, id="no function"), "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_does_what_pydicom_does(tmp_path, function):
    path = write(tmp_path / "a.dcm", PIXELS, **WINDOW, VOILUTFunction=function, RescaleSlope=1.5, RescaleIntercept=-9)
    truth = pydicom.dcmread(path)
    same(read(path), unit(apply_voi_lut(apply_modality_lut(truth.pixel_array, truth), truth)), atol=1e-4)


def test_the_first_of_several_windows_or_the_one_chosen(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, WindowCenter=[1000, 3000], WindowWidth=[1500, 1000])
    truth = pydicom.dcmread(path)
    for index in (0, 1):
        image = read(path, window=index)
        same(image, unit(apply_voi_lut(truth.pixel_array, truth, index=index)), atol=1e-4)
        assert says(image, "found", "tone", f"window {index + 1} of 2")
    same(read(path), read(path, window=0).numpy()[0])
    assert "has no window with index 2, where the first one is 0; number of windows: 2" in refusal(path, window=2)


@pytest.mark.parametrize(
    ("centres", "widths", "counts"),
    [
        pytest.param([1800, 900], 2400, "2 and 1", id="a width is missing"),
        pytest.param(1800, [2400, 900], "1 and 2", id="a centre is missing"),
        pytest.param(["", "1800"], ["900", "2400"], "1 and 2", id="the first centre is empty"),
    ],
)
def test_the_pair_that_exists_is_taken_with_a_doubt(tmp_path, centres, widths, counts):
    path = write(tmp_path / "a.dcm", PIXELS, WindowCenter=centres, WindowWidth=widths)
    image = read(path)
    whole = write(tmp_path / "b.dcm", PIXELS, **WINDOW)
    truth = pydicom.dcmread(whole)
    same(image, unit(apply_voi_lut(truth.pixel_array, truth)), atol=1e-4)
    assert says(image, "doubt", "tone", f"differ ({counts}); the 1 of which both are stated can be used")
    assert says(image, "found", "tone", "window 1 of 1: centre 1800, width 2400")
    assert "number of windows: 1" in refusal(path, window=1)


@pytest.mark.parametrize("tag", ["WindowCenter", "WindowWidth"])
def test_half_a_window_is_doubted(tmp_path, tag):
    image = read(write(tmp_path / "a.dcm", PIXELS, **{tag: 1800}))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "none can be used")


def test_no_window_is_no_doubt(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS))
    assert says(image, "assumed", "tone", "no window or VOI look-up table can be used")
    assert not image.meta["record"].doubts


@pytest.mark.parametrize("width", [pytest.param(0, id="zero"), pytest.param(-5, id="negative")])
def test_an_impossible_window_is_ignored(tmp_path, width):
    image = read(write(tmp_path / "a.dcm", PIXELS, WindowCenter=100, WindowWidth=width))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "is impossible")


def test_a_window_far_from_the_values_is_ignored(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, WindowCenter=60000, WindowWidth=100))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "no contrast")


def test_a_look_up_table_shorter_than_declared_is_ignored(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, VOILUTSequence=[lut_item(ENTRIES[:100], 16, count=4096)])
    image = read(path)
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "shorter than it says")


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_a_look_up_table_of_other_bits_than_the_image(tmp_path, bits):
    entries = (np.linspace(0, 1, 4096) ** 2 * (2**bits - 1)).astype(np.uint16)
    path = write(tmp_path / "a.dcm", PIXELS, VOILUTSequence=[lut_item(entries, bits)], **WINDOW)
    image = read(path)
    same(image, unit(entries[PIXELS]))
    assert says(image, "found", "tone", f"{bits} bits")


def test_a_look_up_table_begins_at_its_first_value_and_clamps(tmp_path):
    entries = np.arange(2000, 0, -1).astype(np.uint16) * 20
    path = write(tmp_path / "a.dcm", PIXELS, VOILUTSequence=[lut_item(entries, 16, first=1000)])
    truth = pydicom.dcmread(path)
    same(read(path), unit(apply_voi_lut(truth.pixel_array, truth)))


def test_a_modality_table_as_pydicom(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, ModalityLUTSequence=[lut_item(ENTRIES, 16)])
    truth = pydicom.dcmread(path)
    same(read(path), unit(apply_modality_lut(truth.pixel_array, truth)))
