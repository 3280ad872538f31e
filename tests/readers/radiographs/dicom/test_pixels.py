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


OVERLAY = np.zeros_like(PIXELS)
OVERLAY[300:500, 300:500] = 0x8000


@pytest.mark.parametrize("name", [None, "RLELossless"])
def test_overlay_bits_above_the_stored_ones_are_masked(tmp_path, name):
    path = write(tmp_path / "a.dcm", PIXELS | OVERLAY)
    image = read(compress(path, name) if name else path)
    same(image, unit(PIXELS))
    assert says(image, "doubt", "bits", "look like an overlay that no tag states")


def test_an_overlay_that_the_tags_state_is_masked_without_a_doubt(tmp_path):
    made = dataset(PIXELS | OVERLAY)
    made.add_new(0x60020100, "US", 16)
    made.add_new(0x60020102, "US", 15)
    made.save_as(tmp_path / "a.dcm")
    image = read(tmp_path / "a.dcm")
    same(image, unit(PIXELS))
    assert not image.meta["record"].doubts


def test_a_padding_value_of_more_bits_is_masked_without_a_doubt(tmp_path):
    padded = PIXELS.copy()
    padded[:, :100] = 63536
    image = read(write(tmp_path / "a.dcm", padded, PixelPaddingValue=63536))
    assert image.shape[2] == PIXELS.shape[1] - 100
    assert not image.meta["record"].doubts


ABOVE = [(14, 12, None), (12, 10, None), (16, 15, None), (16, 12, None)]
COMPRESSED = [(14, 12, name) for name in ("RLELossless", "JPEGLosslessProcess14_1", "JPEG2000Lossless")]


@pytest.mark.parametrize(("used", "said", "name"), [*ABOVE, *COMPRESSED])
@pytest.mark.parametrize("representation", [0, 1], ids=["unsigned", "signed"])
def test_bits_above_those_stated_are_read_with_a_doubt(tmp_path, used, said, representation, name):
    numbers = stored(THORAX, used, 0, 1).astype(np.int32) - 2 ** (used - 1) * representation
    path = write(tmp_path / "a.dcm", numbers, bits=16, PixelRepresentation=representation)
    if name:
        compress(path, name)
    made = pydicom.dcmread(path)
    made.BitsStored, made.HighBit = said, said - 1
    made.save_as(path)
    image = read(path)
    same(image, unit(numbers))
    there = 16 if representation else used
    assert says(image, "doubt", "bits", f"which no overlay explains; {there} bits are read, not {said}")


def narrow(path, values, bits, name, **tags):
    """Write a stream of fewer bits than its words, which GDCM alone does not.

    The first prediction of lossless JPEG and the level shift of JPEG 2000 are half of the range, so that a stream of 16
    bits becomes one of fewer if its precision is changed and its numbers have the difference of these halves added.
    """
    compress(write(path, values + 2**15 - 2 ** (bits - 1), bits=16), name)
    made = pydicom.dcmread(path)
    stream = bytearray(made.PixelData)
    if name == "JPEG2000Lossless":
        stream[stream.index(b"\xff\x4f\xff\x51") + 42] = bits - 1
    else:
        stream[stream.index(b"\xff\xc3") + 4] = bits
    made.PixelData = bytes(stream)
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.save_as(path)
    return path


@pytest.mark.parametrize("name", ["JPEG2000Lossless", "JPEGLosslessProcess14_1"])
@pytest.mark.parametrize("said", [10, 12, 16])
@pytest.mark.parametrize("decoders", [("pydicom",), ("itk",)], ids=["by GDCM", "by ITK"])
def test_the_precision_of_a_stream_counts(tmp_path, monkeypatch, name, said, decoders):
    monkeypatch.setattr(decoding, "DECODERS", decoders)
    image = read(narrow(tmp_path / "a.dcm", PIXELS, 12, name, BitsStored=said, HighBit=said - 1))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "bits", "12 bits are read, not 10") == (said == 10)
    assert says(image, "found", "bits", "stream has 12 bits, not 16 as the header says") == (said == 16)


@pytest.mark.parametrize("name", ["JPEG2000Lossless", "JPEGLosslessProcess14_1"])
def test_the_sign_is_the_highest_bit_of_a_stream(tmp_path, name):
    signed = PIXELS.astype(np.int32) - 2048
    path = narrow(tmp_path / "a.dcm", signed & 0xFFF, 12, name, BitsStored=16, HighBit=15, PixelRepresentation=1)
    same(read(path), unit(PIXELS))


def test_a_signed_stream_with_an_unsigned_header_is_read_as_signed(tmp_path):
    signed = PIXELS.astype(np.int32) - 2048
    path = compress(write(tmp_path / "a.dcm", signed, bits=16, PixelRepresentation=1), "JPEG2000Lossless")
    made = pydicom.dcmread(path)
    made.PixelRepresentation = 0
    made.save_as(path)
    image = read(path)
    same(image, unit(PIXELS))
    assert says(image, "doubt", "bits", "the JPEG 2000 stream is signed, unlike the header")


def test_pixels_of_more_bytes_than_the_header_says_are_doubted(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, BitsAllocated=8, BitsStored=8, HighBit=7))
    assert says(image, "doubt", "bits", "2400000 bytes of pixels are there, 1200000 are needed")


@pytest.mark.parametrize("name", ["JPEG2000Lossless", "JPEGLSLossless"])
def test_a_stream_of_another_size_is_named(tmp_path, name):
    path = compress(write(tmp_path / "a.dcm", PIXELS), name)
    made = pydicom.dcmread(path)
    made.Rows = 1000
    made.save_as(path)
    assert "stream has 1200 x 1000 pixels, its header says 1000 x 1000" in refusal(path)


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
