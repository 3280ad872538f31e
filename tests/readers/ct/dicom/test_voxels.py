"""Stored values to HU: syntaxes, bits, sign, rescale and padding; row 21 and what row 24 lists."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from tests.readers.ct.ct_files import (
    SLICES,
    even_positions,
    fill,
    plane,
    refused,
    right,
    says,
    silent,
    volume,
    write_enhanced,
    write_series,
)
from tests.readers.radiographs.film_files import compress


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_plain_syntaxes(tmp_path, syntax):
    np.testing.assert_array_equal(right(write_series(tmp_path / "ct", syntax=syntax)).volume_hu, volume())


def test_run_lengths(tmp_path):
    folder = write_series(tmp_path / "ct")
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(file)
    scan = right(folder)
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, volume())


@pytest.mark.parametrize(
    ("name", "signed", "count"),
    [
        ("JPEG2000Lossless", False, 35),  # more than are decoded at once
        ("JPEG2000Lossless", True, 12),
        ("JPEGLSLossless", True, 12),
        ("JPEGLosslessProcess14_1", False, 12),
    ],
)
def test_compressed_by_gdcm(tmp_path, name, signed, count):
    folder = write_series(tmp_path / "ct", even_positions(count), signed=signed)
    whole = right(folder).volume_hu
    for file in folder.iterdir():
        compress(file, name)
    scan = right(folder)
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, whole)


def test_compressed_frames_of_one_file(tmp_path):
    path = compress(write_enhanced(tmp_path / "ct.dcm", even_positions()[::-1]), "JPEG2000Lossless")
    np.testing.assert_array_equal(right(path).volume_hu, volume())


def test_a_damaged_stream_is_named(tmp_path):
    folder = write_series(tmp_path / "ct", even_positions(12))
    for number, file in enumerate(sorted(folder.iterdir())):
        compress(file, "JPEG2000Lossless")
        if number == 9:
            dataset = pydicom.dcmread(file)
            data = bytearray(dataset.PixelData)
            data[len(data) // 3 :] = b"\x99" * (len(data) - len(data) // 3)
            dataset.PixelData = bytes(data)
            dataset.save_as(file)
    refused(folder / file.name, "damaged|cut off")


@pytest.mark.parametrize(
    ("bits", "signed", "slope", "intercept"),
    [
        pytest.param(12, False, 1, -1024, id="12 bit"),
        pytest.param(16, True, 1, 0, id="signed HU"),
        pytest.param(12, True, 1, 0, id="12 bit signed"),
        pytest.param(16, False, 0.5, -8192, id="half steps"),
        pytest.param(16, True, 1, -1024, id="signed with intercept"),
    ],
)
def test_bits_sign_and_rescale(tmp_path, bits, signed, slope, intercept):
    folder = write_series(tmp_path / "ct", bits=bits, signed=signed, slope=slope, intercept=intercept)
    scan = right(folder)
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, volume())


def test_rescale_differs_from_slice_to_slice(tmp_path):
    """Row 21."""

    def change(dataset, i):
        if i % 5 == 0:
            dataset.RescaleIntercept, dataset.RescaleSlope = -2048, 2
            fill(dataset, plane(even_positions()[i]), slope=2, intercept=-2048)

    right(write_series(tmp_path / "ct", change=change), off=1)


def test_overlays_above_the_stored_bits_are_left_out(tmp_path):
    def change(dataset, _):
        words = np.frombuffer(dataset.PixelData, "<u2").copy()
        words[::3] |= 0x8000
        dataset.PixelData = words.tobytes()
        dataset.add_new(0x60000102, "US", 15)

    scan = right(write_series(tmp_path / "ct", bits=12, change=change))
    np.testing.assert_array_equal(scan.volume_hu, volume())


@pytest.mark.parametrize("vr", ["SS", "US"])
def test_padding_becomes_air(tmp_path, vr):
    """A round field of GE: -2000 outside, by a tag whose sign may be another than that of the pixels."""
    row, column = np.mgrid[:40, :55]
    outside = np.hypot(row - 19.5, column - 27) > 25

    def change(dataset, _):
        words = np.frombuffer(dataset.PixelData, "<i2").reshape(40, 55).copy()
        words[outside] = -2000
        dataset.PixelData = words.tobytes()
        dataset.add_new("PixelPaddingValue", vr, -2000 if vr == "SS" else 63536)

    scan = right(write_series(tmp_path / "ct", signed=True, change=change), share=1)
    says(scan, "changed", "padding", f"{outside.mean():.1%} of the voxels")
    silent(scan)
    expected = volume()
    expected[outside.T] = -1024
    np.testing.assert_array_equal(scan.volume_hu, expected)


def test_padding_above_the_stored_bits(tmp_path):
    """12 bits are stored, and padding is -2000 in all 16."""

    def change(dataset, _):
        words = np.frombuffer(dataset.PixelData, "<u2").reshape(40, 55).copy()
        words[:4] = 63536
        dataset.PixelData = words.tobytes()
        dataset.PixelPaddingValue = 63536

    scan = right(write_series(tmp_path / "ct", bits=12, change=change), share=1)
    expected = volume()
    expected[:, :4] = -1024
    np.testing.assert_array_equal(scan.volume_hu, expected)


def test_overlays_that_no_tag_states_are_doubted_once(tmp_path):
    def change(dataset, i):
        words = np.frombuffer(dataset.PixelData, "<u2").reshape(40, 55).copy()
        words[10 : 11 + i, 20:40] |= 0x8000
        dataset.PixelData = words.tobytes()

    scan = right(write_series(tmp_path / "ct", bits=12, change=change))
    assert len(scan.record.doubts) == 1
    says(scan, "doubt", "bits", "look like an overlay that no tag states")


@pytest.mark.parametrize(("keyword", "value"), [("BitsStored", 20), ("BitsAllocated", 12), ("BitsStored", None)])
def test_impossible_bits_are_refused(tmp_path, keyword, value):
    def change(dataset, _):
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    text = refused_file(write_series(tmp_path / "ct", change=change))
    assert f"{keyword} {'missing' if value is None else value}" in text
    assert "is impossible" in text


def test_padding_with_a_value_of_the_patient_counts_at_the_edges(tmp_path):
    """Zero is water where the intercept is 0, and some scanners write it outside the field all the same."""

    def change(dataset, i):
        hu = plane(even_positions()[i])
        hu[:3], hu[20:23, 25:30] = 0, 0
        fill(dataset, hu, signed=True, intercept=0)
        dataset.PixelPaddingValue = 0

    scan = right(write_series(tmp_path / "ct", signed=True, intercept=0, change=change), share=1)
    expected = volume()
    expected[:, :3], expected[25:30, 20:23] = -1024, 0
    np.testing.assert_array_equal(scan.volume_hu, expected)


def test_a_range_of_padding(tmp_path):
    def change(dataset, i):
        hu = plane(even_positions()[i])
        hu[:, :4] = -1500
        hu[:, 4] = -1600
        fill(dataset, hu, signed=True, intercept=0)
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = -1500, -1700

    scan = right(write_series(tmp_path / "ct", signed=True, intercept=0, change=change), share=1)
    assert (scan.volume_hu[:5] == -1024).all()
    says(scan, "changed", "padding", "9.1% of the voxels")


def test_what_cannot_be_rescaled_is_refused(tmp_path):
    def slope(dataset, _):
        dataset.RescaleSlope = 0

    text = refused_file(write_series(tmp_path / "slope", change=slope))
    assert "RescaleSlope is 0" in text

    def table(dataset, _):
        dataset.ModalityLUTSequence = [pydicom.Dataset()]

    assert "look-up table" in refused_file(write_series(tmp_path / "table", change=table))

    def unit(dataset, _):
        dataset.RescaleType = "OD"

    says(right(write_series(tmp_path / "unit", change=unit)), "doubt", "rescale", "not HU")


def refused_file(folder):
    """The sentence of a refusal that names one of the files in the folder."""
    from conventions import InputError
    from readers import read_ct

    with pytest.raises(InputError) as caught:
        read_ct(folder)
    assert str(caught.value).startswith(str(folder))
    return str(caught.value)


def test_pixels_that_are_not_there_are_refused(tmp_path):
    def none(dataset, i):
        if i == 3:
            del dataset.PixelData

    assert "header without pixels" in refused_file(write_series(tmp_path / "none", change=none))

    folder = write_series(tmp_path / "cut")
    file = sorted(folder.iterdir())[6]
    file.write_bytes(file.read_bytes()[:-1000])
    assert "cut off" in refused_file(folder)
    assert SLICES == 31
