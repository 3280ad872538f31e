import itk
import numpy as np
import pydicom
import pytest
from pydicom.pixel_data_handlers import apply_modality_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)

from readers.radiographs.dicom import pixels as decoding
from tests.readers.radiographs.film_files import (
    compress,
    dataset,
    read,
    refusal,
    same,
    says,
    stored,
    thorax,
    unit,
    write,
)

THORAX = thorax()
PIXELS = stored(THORAX)
TWIN = 4095 - PIXELS
"""The same film as MONOCHROME1."""


def raw_as_jpeg_2000(path):
    made = dataset(PIXELS)
    made.save_as(path)
    data = path.read_bytes()
    start = data.index(b"\x02\0\x10\0UI")
    uid = b"1.2.840.10008.1.2.4.90"
    path.write_bytes(data[: start + 6] + len(uid).to_bytes(2, "little") + uid + data[start + 28 :])


def damaged_jpeg_2000(path):
    compress(write(path, PIXELS), "JPEG2000Lossless")
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\x4f\xff\x51")
    data[start + 20 : start + 4000] = b"\x55" * 3980
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            raw_as_jpeg_2000, "cannot be decoded as JPEG 2000 Image Compression (Lossless Only)", id="plain pixels"
        ),
        pytest.param(
            damaged_jpeg_2000, "cannot be decoded as JPEG 2000 Image Compression (Lossless Only)", id="damaged"
        ),
    ],
)
def test_what_is_no_jpeg_2000_is_refused(tmp_path, make, words):
    make(tmp_path / "a.dcm")
    assert words in refusal(tmp_path / "a.dcm")


LOSSLESS = ["RLELossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"]


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("decoders", ["all", "itk alone"])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_compressed_films_equal_the_plain_one(tmp_path, monkeypatch, name, decoders, photometric):
    if decoders == "itk alone":
        monkeypatch.setattr(decoding, "DECODERS", ("itk",))
    pixels = PIXELS if photometric == "MONOCHROME2" else TWIN
    path = compress(write(tmp_path / "a.dcm", pixels, PhotometricInterpretation=photometric, RescaleSlope=2), name)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    image = read(path)
    same(image, unit(PIXELS))
    assert says(image, "changed", "polarity") == (photometric == "MONOCHROME1")


@pytest.mark.parametrize(
    "syntax",
    [
        pytest.param(ImplicitVRLittleEndian, id="implicit"),
        pytest.param(ExplicitVRBigEndian, id="big endian"),
        pytest.param(DeflatedExplicitVRLittleEndian, id="deflated"),
    ],
)
@pytest.mark.parametrize("bits", [8, 12])
def test_other_encodings_equal_the_plain_one(tmp_path, syntax, bits):
    pixels = stored(THORAX, bits)
    same(read(write(tmp_path / "a.dcm", pixels, bits=bits, syntax=syntax)), unit(pixels))


def test_without_any_decoder_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "DECODERS", ())
    path = compress(write(tmp_path / "a.dcm", PIXELS), "JPEGLosslessProcess14_1")
    message = refusal(path)
    assert JPEGLosslessSV1.name in message
    assert "pip install python-gdcm" in message


def test_twelve_bit_jpeg(tmp_path):
    path = compress(write(tmp_path / "a.dcm", PIXELS), "JPEGExtendedProcess2_4")
    same(read(path), unit(PIXELS), atol=0.02)


def test_the_syntax_is_what_the_test_means(tmp_path):
    path = compress(write(tmp_path / "a.dcm", PIXELS), "JPEG2000Lossless")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEG2000Lossless


def test_high_bit_15_with_12_stored_reads_the_upper_bits_and_warns(tmp_path):
    noise = np.random.default_rng(0).integers(0, 16, PIXELS.shape).astype(np.uint16)
    image = read(write(tmp_path / "a.dcm", (PIXELS << 4) | noise, HighBit=15, BitsStored=12))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "bits")


@pytest.mark.parametrize("name", [None, "RLELossless"])
def test_overlay_bits_above_the_stored_ones_are_masked(tmp_path, name):
    overlay = np.zeros_like(PIXELS)
    overlay[300:500, 300:500] = 0x8000
    path = write(tmp_path / "a.dcm", PIXELS | overlay)
    same(read(compress(path, name) if name else path), unit(PIXELS))


def test_signed_with_rescale(tmp_path):
    signed = PIXELS.astype(np.int16) - 2048
    path = write(tmp_path / "a.dcm", signed, PixelRepresentation=1, RescaleSlope=2.5, RescaleIntercept=-300)
    truth = pydicom.dcmread(path)
    same(read(path), unit(apply_modality_lut(truth.pixel_array, truth)))
    same(read(path), unit(PIXELS))


@pytest.mark.parametrize("representation", [0, 1])
def test_sign_and_scale_as_itk(tmp_path, representation):
    pixels = PIXELS.astype(np.int32) - 2048 * representation
    path = write(tmp_path / "a.dcm", pixels, PixelRepresentation=representation, RescaleSlope=-2, RescaleIntercept=7)
    same(read(path), unit(np.squeeze(itk.array_from_image(itk.imread(str(path))))))
