"""DICOM radiographs: cases 1 to 47 of the list of malformed and tricky inputs, the number first in each id."""

import time
import tracemalloc

import itk
import numpy as np
import pydicom
import pytest
from pydicom.pixel_data_handlers import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)

from conventions import InputError
from tests.transforms.films.film_files import (
    DX_PROCESSING,
    compress,
    dataset,
    lut_item,
    says,
    stored,
    thorax,
    unit,
    write,
)
from transforms import ReadRadiograph
from transforms.films import stored as decoding

THORAX = thorax()
PIXELS = stored(THORAX)
TWIN = 4095 - PIXELS
"""The same film as MONOCHROME1."""


def read(path, view="pa", **options):
    return ReadRadiograph(view, **options)(path)


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def same(image, expected, atol=1e-5):
    np.testing.assert_allclose(image.numpy()[0], expected, atol=atol)


def test_a_plain_film_is_the_array_that_was_written(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS))
    same(image, unit(PIXELS))
    assert (image.meta["view"], image.meta["spacing"], image.meta["computed"]) == ("pa", 0.35, None)
    assert not image.meta["record"].doubts
    assert "filename_or_obj" not in image.meta


def test_a_large_film_takes_less_than_two_seconds(tmp_path):
    path = write(tmp_path / "a.dcm", stored(thorax((3000, 2500))), WindowCenter=2000, WindowWidth=3500)
    started = time.perf_counter()
    read(path)
    assert time.perf_counter() - started < 2


# What is no image --------------------------------------------------------------------------------------------------


def class_of(name, **tags):
    def make(path):
        uid = next(uid for uid, entry in pydicom.uid.UID_dictionary.items() if entry[0] == name)
        made = dataset(PIXELS, SOPClassUID=uid, **tags)
        del made.PixelData
        made.save_as(path)

    return make


def without(*keywords):
    def make(path):
        made = dataset(PIXELS)
        for keyword in keywords:
            delattr(made, keyword)
        made.save_as(path)

    return make


def with_tags(**tags):
    return lambda path: write(path, PIXELS, **tags)


def cut(share):
    def make(path):
        write(path, PIXELS)
        path.write_bytes(path.read_bytes()[: share if share > 1 else int(path.stat().st_size * share)])

    return make


def no_syntax(path):
    content = dataset(PIXELS)
    content.save_as(path)
    data = path.read_bytes()
    start = data.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(data[start + 6 : start + 8], "little")
    path.write_bytes(data[:start] + data[start + 8 + length :])


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


def float_pixels(path):
    made = dataset(PIXELS)
    del made.PixelData
    made.BitsAllocated = 32
    made.BitsStored = made.HighBit = None
    made.BitsStored, made.HighBit = 32, 31
    made.add_new("FloatPixelData", "OF", PIXELS.astype("<f4").tobytes())
    made.save_as(path)


def colour(path):
    made = dataset(PIXELS.astype(np.uint8), bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    made.PlanarConfiguration = 0
    made.PixelData = np.repeat(PIXELS.astype(np.uint8)[..., None], 3, -1).tobytes()
    made.save_as(path)


def frames(path):
    made = dataset(PIXELS, NumberOfFrames=2)
    made.PixelData = PIXELS.tobytes() * 2
    made.save_as(path)


REFUSED = {
    "1 empty": (lambda path: path.write_bytes(b""), "is an empty file"),
    "2 text": (lambda path: path.write_text("no image\n" * 50), "is a text file"),
    "7 cut in the header": (cut(700), "(truncated)"),
    "7 cut in the meta header": (cut(200), ""),
    "8 cut in the pixels": (cut(0.6), "of 2400000 bytes of pixels are there"),
    "9 rows missing": (without("Rows"), "Rows is missing"),
    "10 no rows": (with_tags(Rows=0), "Rows is 0"),
    "12 header only": (without("PixelData"), "there is no image in this object"),
    "13 structured report": (class_of("Basic Text SR Storage", Modality="SR"), "is a DICOM Basic Text SR Storage"),
    "13 presentation state": (
        class_of("Grayscale Softcopy Presentation State Storage", Modality="PR"),
        "is a DICOM Grayscale Softcopy Presentation State Storage",
    ),
    "13 PDF": (class_of("Encapsulated PDF Storage", Modality="DOC"), "is a DICOM Encapsulated PDF Storage"),
    "13 DICOMDIR": (class_of("Media Storage Directory Storage", Modality=None), "Media Storage Directory Storage"),
    "13 CT": (with_tags(Modality="CT"), "its modality is CT"),
    "14 no photometry": (without("PhotometricInterpretation"), "PhotometricInterpretation is missing"),
    "15 no syntax": (no_syntax, "names no transfer syntax"),
    "16 raw as JPEG 2000": (raw_as_jpeg_2000, "cannot be decoded as JPEG 2000 Image Compression (Lossless Only)"),
    "17 damaged JPEG 2000": (damaged_jpeg_2000, "cannot be decoded as JPEG 2000 Image Compression (Lossless Only)"),
    "20 bits stored missing": (without("BitsStored"), "BitsStored is missing"),
    "21 20 bits in 16": (with_tags(BitsStored=20), "BitsStored 20 of BitsAllocated 16 cannot be"),
    "27 colour": (colour, "is a colour image"),
    "27 palette": (with_tags(PhotometricInterpretation="PALETTE COLOR"), "is a colour image"),
    "28 two frames": (frames, "holds 2 frames"),
    "29 slope 0": (with_tags(RescaleSlope=0, RescaleIntercept=0), "RescaleSlope is 0"),
    "33 no such window": (None, "there is none with index 2; choose 0 to 1"),
    "35 constant": (lambda path: write(path, np.full((300, 300), 900)), "is constant, there is no content"),
    "44 float pixels": (float_pixels, "holds floating-point pixels"),
    "46 one pixel": (lambda path: write(path, PIXELS[:1, :1]), "has 1 x 1 pixels"),
    "46 twenty pixels": (lambda path: write(path, PIXELS[500:520, 500:520]), "has 20 x 20 pixels"),
    "46 long": (lambda path: write(path, PIXELS[:100, :1000]), "longer than 3 times its width"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path, make, words):
    path = tmp_path / "a.dcm"
    if make is None:
        write(path, PIXELS, WindowCenter=[1000, 2000], WindowWidth=[2000, 3000])
        assert words in refusal(path, window=2)
    else:
        make(path)
        assert words in refusal(path)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [(65535, 65535, "claims 65535 x 65535 pixels"), (9000, 9000, "is cut off (truncated): 4000 of 162000000 bytes")],
    ids=["11 over the cap", "11 under the cap"],
)
def test_a_huge_header_is_refused_before_memory_is_taken(tmp_path, rows, columns, words):
    path = write(tmp_path / "a.dcm", PIXELS[:40, :50], Rows=rows, Columns=columns)
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in message
    assert peak < 20e6


# Formats -----------------------------------------------------------------------------------------------------------


def test_4_dicom_named_png_is_read_by_its_content(tmp_path):
    image = read(write(tmp_path / "a.png", PIXELS))
    same(image, unit(PIXELS))
    assert says(image, "found", "format", "DICOM by its content")


def test_6_without_preamble_only_where_it_is_permitted(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS)
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(path.read_bytes()[132:])
    assert "set without_preamble" in refusal(bare)
    same(read(bare, without_preamble=True), unit(PIXELS))


def test_6_without_meta_header(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, syntax=ImplicitVRLittleEndian)
    data = path.read_bytes()
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(data[data.index(b"\x08\0\x16\0") :])
    assert "set without_preamble" in refusal(bare)
    image = read(bare, without_preamble=True)
    same(image, unit(PIXELS))
    assert says(image, "assumed", "syntax")


LOSSLESS = ["RLELossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"]


@pytest.mark.parametrize("name", LOSSLESS, ids=[f"18 45 {name}" for name in LOSSLESS])
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
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=["45 implicit", "45 big endian", "45 deflated"],
)
@pytest.mark.parametrize("bits", [8, 12])
def test_other_encodings_equal_the_plain_one(tmp_path, syntax, bits):
    pixels = stored(THORAX, bits)
    same(read(write(tmp_path / "a.dcm", pixels, bits=bits, syntax=syntax)), unit(pixels))


def test_18_without_any_decoder_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "DECODERS", ())
    path = compress(write(tmp_path / "a.dcm", PIXELS), "JPEGLosslessProcess14_1")
    message = refusal(path)
    assert JPEGLosslessSV1.name in message
    assert "pip install python-gdcm" in message


def test_19_twelve_bit_jpeg(tmp_path):
    path = compress(write(tmp_path / "a.dcm", PIXELS), "JPEGExtendedProcess2_4")
    same(read(path), unit(PIXELS), atol=0.02)


def test_17_the_syntax_is_what_the_test_means(tmp_path):
    path = compress(write(tmp_path / "a.dcm", PIXELS), "JPEG2000Lossless")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEG2000Lossless


def test_45_a_deflated_bomb_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.films.header.MAX_FILE_BYTES", 2_000_000)
    path = write(tmp_path / "a.dcm", np.zeros((1200, 1000), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 10_000
    assert "unpacks to more than" in refusal(path)


# Bits --------------------------------------------------------------------------------------------------------------


def test_22_high_bit_15_with_12_stored_reads_the_upper_bits_and_warns(tmp_path):
    noise = np.random.default_rng(0).integers(0, 16, PIXELS.shape).astype(np.uint16)
    image = read(write(tmp_path / "a.dcm", (PIXELS << 4) | noise, HighBit=15, BitsStored=12))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "bits")


@pytest.mark.parametrize("name", [None, "RLELossless"])
def test_23_overlay_bits_above_the_stored_ones_are_masked(tmp_path, name):
    overlay = np.zeros_like(PIXELS)
    overlay[300:500, 300:500] = 0x8000
    path = write(tmp_path / "a.dcm", PIXELS | overlay)
    same(read(compress(path, name) if name else path), unit(PIXELS))


def test_30_signed_with_rescale(tmp_path):
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


# Polarity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "kind", "words"),
    [
        ({}, "changed", "MONOCHROME1"),
        ({"PresentationLUTShape": "INVERSE"}, "changed", "INVERSE"),
        ({"PresentationLUTShape": "IDENTITY"}, "doubt", "MONOCHROME1 holds"),
    ],
    ids=["24 monochrome1", "25 inverse too", "26 identity"],
)
def test_monochrome1_is_inverted_once(tmp_path, tags, kind, words):
    image = read(write(tmp_path / "a.dcm", TWIN, PhotometricInterpretation="MONOCHROME1", **tags))
    same(image, unit(PIXELS))
    assert says(image, kind, "polarity", words)


ENTRIES = (np.linspace(0, 1, 4096) ** 0.5 * 65535).astype(np.uint16)
WINDOW = {"WindowCenter": 1800, "WindowWidth": 2400}
TWIN_WINDOW = {"WindowCenter": 4095 - 1800 + 1, "WindowWidth": 2400}
EXACT_TWIN = {"WindowCenter": 4095 - 1800, "WindowWidth": 2400}
PROCESSING = {"SOPClassUID": DX_PROCESSING, "PresentationIntentType": "FOR PROCESSING"}


def both(**tags):
    return tags, tags


TWINS = {
    "plain": both(),
    "8 bit": both(bits=8),
    "16 bit": both(bits=16),
    "rescaled": ({"RescaleSlope": 2}, {"RescaleSlope": 2, "RescaleIntercept": 5}),
    "window": (WINDOW, TWIN_WINDOW),
    "exact window": ({**WINDOW, "VOILUTFunction": "LINEAR_EXACT"}, {**EXACT_TWIN, "VOILUTFunction": "LINEAR_EXACT"}),
    "sigmoid": ({**WINDOW, "VOILUTFunction": "SIGMOID"}, {**EXACT_TWIN, "VOILUTFunction": "SIGMOID"}),
    "look-up table": (
        {"VOILUTSequence": [lut_item(ENTRIES, 16)]},
        {"VOILUTSequence": [lut_item(65535 - ENTRIES[::-1], 16)]},
    ),
    "modality table": (
        {"ModalityLUTSequence": [lut_item(ENTRIES, 16)]},
        {"ModalityLUTSequence": [lut_item(65535 - ENTRIES[::-1], 16)]},
    ),
    **{
        f"processing {name}": tuple(
            {**PROCESSING, "PixelIntensityRelationship": name, "PixelIntensityRelationshipSign": sign}
            for sign in (-1, 1)
        )
        for name in ("LIN", "LOG", "DISP")
    },
    "processing without sign": both(**PROCESSING, PixelIntensityRelationship="LOG"),
    "padded": ({"PixelPaddingValue": 4095}, {"PixelPaddingValue": 0}),
    "shutter": both(
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge=51,
        ShutterRightVerticalEdge=950,
        ShutterUpperHorizontalEdge=31,
        ShutterLowerHorizontalEdge=1170,
    ),
}


@pytest.mark.parametrize(("tags", "twin_tags"), TWINS.values(), ids=[f"24 {name}" for name in TWINS])
def test_the_monochrome1_twin_equals_the_monochrome2_twin(tmp_path, tags, twin_tags):
    bits = tags.get("bits", 12)
    pixels = stored(THORAX, bits)
    tags, twin_tags = ({k: v for k, v in t.items() if k != "bits"} for t in (tags, twin_tags))
    one = read(write(tmp_path / "2.dcm", pixels, bits, **tags))
    inverted = (2**bits - 1 - pixels.astype(int)).astype(np.uint16)
    twin_tags = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE", **twin_tags}
    other = read(write(tmp_path / "1.dcm", inverted, bits, **twin_tags))
    np.testing.assert_allclose(other.numpy(), one.numpy(), atol=2e-5)
    if one.numel() == THORAX.size:
        assert np.corrcoef(one.numpy().ravel(), THORAX.ravel())[0, 1] > 0.9


# Tone --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"], ids=lambda name: f"33 {name or 'no function'}"
)
def test_a_window_does_what_pydicom_does(tmp_path, function):
    path = write(tmp_path / "a.dcm", PIXELS, **WINDOW, VOILUTFunction=function, RescaleSlope=1.5, RescaleIntercept=-9)
    truth = pydicom.dcmread(path)
    same(read(path), unit(apply_voi_lut(apply_modality_lut(truth.pixel_array, truth), truth)), atol=1e-4)


def test_33_the_first_of_several_windows_or_the_one_chosen(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, WindowCenter=[1000, 3000], WindowWidth=[1500, 1000])
    truth = pydicom.dcmread(path)
    for index in (0, 1):
        image = read(path, window=index)
        same(image, unit(apply_voi_lut(truth.pixel_array, truth, index=index)), atol=1e-4)
        assert says(image, "found", "tone", f"window {index + 1} of 2")
    same(read(path), read(path, window=0).numpy()[0])


@pytest.mark.parametrize("width", [0, -5], ids=["31 zero", "31 negative"])
def test_a_window_that_cannot_be_is_passed_over(tmp_path, width):
    image = read(write(tmp_path / "a.dcm", PIXELS, WindowCenter=100, WindowWidth=width))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "cannot be")


def test_31_a_window_beside_the_values_is_passed_over(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, WindowCenter=60000, WindowWidth=100))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "no contrast")


def test_32_a_look_up_table_shorter_than_declared_is_passed_over(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, VOILUTSequence=[lut_item(ENTRIES[:100], 16, count=4096)])
    image = read(path)
    same(image, unit(PIXELS))
    assert says(image, "doubt", "tone", "shorter than it says")


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_34_a_look_up_table_of_other_bits_than_the_image(tmp_path, bits):
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


def test_a_detector_that_is_linear_in_exposure_becomes_attenuation(tmp_path):
    line_integral = 6 * THORAX
    exposure = np.rint(50000 * np.exp(-line_integral)).astype(np.uint16)
    path = write(
        tmp_path / "a.dcm",
        exposure,
        16,
        **PROCESSING,
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
        PhotometricInterpretation="MONOCHROME1",
    )
    image = read(path)
    same(image, unit(line_integral), atol=0.02)
    assert says(image, "changed", "tone", "logarithm")


# Spacing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["nan\\nan", "0\\0", "-1\\-1", "abc\\def", "0.35", "10\\10", "1e-6\\1e-6"],
    ids=["36 nan", "36 zero", "36 negative", "36 text", "36 one value", "39 ten mm", "39 a nanometre"],
)
def test_a_spacing_that_cannot_be_is_unknown(tmp_path, value):
    made = dataset(PIXELS, ImagerPixelSpacing=None)
    made.add_new("ImagerPixelSpacing", "LO", value.split("\\"))
    made.save_as(tmp_path / "a.dcm")
    image = read(tmp_path / "a.dcm")
    same(image, unit(PIXELS))
    assert image.meta["spacing"] is None
    assert image.meta["record"].doubts


def test_36_text_in_a_decimal_string(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS)
    path.write_bytes(path.read_bytes().replace(b"0.35\\0.35", b"0.xx\\0.yy"))
    image = read(path)
    assert image.meta["spacing"] is None
    assert image.meta["record"].doubts


@pytest.mark.parametrize(
    ("tags", "spacing", "kind"),
    [
        ({"PixelSpacing": [0.3, 0.3]}, 0.35, "found"),
        ({"ImagerPixelSpacing": None, "PixelSpacing": [0.3, 0.3]}, 0.3, "assumed"),
        (
            {"ImagerPixelSpacing": None, "PixelSpacing": [0.3, 0.3], "PixelSpacingCalibrationType": "GEOMETRY"},
            0.3,
            "doubt",
        ),
        (
            {
                "ImagerPixelSpacing": None,
                "PixelSpacing": [0.3, 0.3],
                "PixelSpacingCalibrationType": "FIDUCIAL",
                "EstimatedRadiographicMagnificationFactor": 1.1,
            },
            0.33,
            "changed",
        ),
        (
            {"ImagerPixelSpacing": None, "NominalScannedPixelSpacing": [0.4, 0.4], "PixelSpacing": [0.3, 0.3]},
            0.4,
            "found",
        ),
        ({"ImagerPixelSpacing": None}, None, "assumed"),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, 0.1, "doubt"),
    ],
    ids=["37 imager", "pixel", "37 calibrated", "37 calibrated and magnified", "scanned", "none", "39 small"],
)
def test_which_spacing_is_taken(tmp_path, tags, spacing, kind):
    image = read(write(tmp_path / "a.dcm", PIXELS, **tags))
    assert image.meta["spacing"] == (None if spacing is None else pytest.approx(spacing))
    assert says(image, kind, "spacing")


def test_38_oblong_pixels_become_square(tmp_path):
    tall = thorax((1200, 1000))
    path = write(tmp_path / "a.dcm", stored(tall[:, ::2]), ImagerPixelSpacing=[0.3, 0.6])
    image = read(path)
    assert image.shape == (1, 1200, 1000)
    assert image.meta["spacing"] == pytest.approx(0.3)
    difference = np.abs(image.numpy()[0] - unit(PIXELS))
    assert difference.mean() < 0.01
    assert says(image, "changed", "spacing", "1200 x 1000 square pixels")


def test_38_aspect_without_spacing(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS[::2], ImagerPixelSpacing=None, PixelAspectRatio=[2, 1])
    image = read(path)
    assert image.shape == (1, 1200, 1000)
    assert image.meta["spacing"] is None


@pytest.mark.parametrize(
    ("tags", "magnification"),
    [
        ({"EstimatedRadiographicMagnificationFactor": 1.15, "DistanceSourceToDetector": 1800}, 1.15),
        ({"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1600}, 1.125),
        ({"DistanceSourceToDetector": 1800}, None),
        ({"DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 1800}, None),
    ],
)
def test_magnification(tmp_path, tags, magnification):
    found = read(write(tmp_path / "a.dcm", PIXELS, **tags)).meta["magnification"]
    assert found == (None if magnification is None else pytest.approx(magnification))


def test_a_spacing_that_is_given_wins(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS), spacing=0.2)
    assert image.meta["spacing"] == 0.2
    assert says(image, "found", "spacing", "as was given")


# View and orientation ----------------------------------------------------------------------------------------------


def code(value, scheme="SCT"):
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "a view"
    return {"ViewPosition": None, "PatientOrientation": None, "ViewCodeSequence": [item]}


@pytest.mark.parametrize(
    ("tags", "view", "kind", "words"),
    [
        ({}, "pa", "found", "PA"),
        ({"ViewPosition": "AP"}, "pa", "doubt", "AP, which the model is not made for"),
        ({"ViewPosition": "RAO"}, "pa", "doubt", "oblique"),
        ({"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}, "pa", "doubt", "given as pa, but the tags say left"),
        ({"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}, "lateral", "found", "left side at the detector"),
        ({"ViewPosition": None, "PatientOrientation": None}, "lateral", "assumed", "taken for lateral as asked"),
        ({"ViewPosition": "QUETZAL", "PatientOrientation": None}, "pa", "doubt", "a term that is not known"),
        ({"ViewPosition": None, "PatientOrientation": ["P", "F"]}, "pa", "doubt", "lateral by PatientOrientation"),
        ({"PatientOrientation": ["P", "F"]}, "pa", "doubt", "PatientOrientation is that of a lateral film"),
        (code("399348003"), "pa", "doubt", "AP"),
        (code("R-10206", "SRT"), "pa", "doubt", "AP"),
        (code("272479007"), "pa", "found", "PA"),
        (code("399198007"), "lateral", "found", "right lateral"),
    ],
    ids=lambda value: f"40 {value}" if isinstance(value, str) and " " in value else None,
)
def test_what_the_tags_say_of_the_view(tmp_path, tags, view, kind, words):
    image = read(write(tmp_path / "a.dcm", PIXELS, **tags), view)
    assert image.meta["view"] == view
    assert says(image, kind, "view", words)
    if "given as" in words:
        assert image.meta["record"].doubts[-1].confidence == 1


PLACES = {
    ("L", "F"): lambda film: film,
    ("R", "F"): lambda film: film[:, ::-1],
    ("L", "H"): lambda film: film[::-1],
    ("R", "H"): lambda film: film[::-1, ::-1],
    ("F", "L"): lambda film: film.T,
    ("F", "R"): lambda film: film[:, ::-1].T,
    ("H", "L"): lambda film: film[::-1].T,
    ("H", "R"): lambda film: film[::-1, ::-1].T,
}
"""How the upright film is stored, by the directions of its rows and columns."""


@pytest.mark.parametrize("view", ["pa", "lateral"])
@pytest.mark.parametrize("letters", PLACES, ids="".join)
def test_every_turn_is_undone(tmp_path, letters, view):
    film = stored(thorax(view=view))
    words = [letter.translate(str.maketrans("LR", "PA")) if view == "lateral" else letter for letter in letters]
    tags = {"PatientOrientation": words, "ViewPosition": "PA" if view == "pa" else "LL"}
    path = write(tmp_path / "a.dcm", np.ascontiguousarray(PLACES[letters](film)), **tags)
    image = read(path, view)
    same(image, unit(film))
    assert says(image, "found" if letters == ("L", "F") else "changed", "orientation")


@pytest.mark.parametrize("words", [None, ["L", "R"], ["Z", "F"], ["L"]], ids=str)
def test_an_orientation_that_does_not_tell_is_assumed(tmp_path, words):
    image = read(write(tmp_path / "a.dcm", PIXELS, PatientOrientation=words))
    same(image, unit(PIXELS))
    assert says(image, "assumed", "orientation")


def test_a_transposed_film_of_oblong_pixels(tmp_path):
    film = stored(thorax()[:, ::2])
    tags = {"ImagerPixelSpacing": [0.6, 0.3], "PatientOrientation": ["F", "L"]}
    image = read(write(tmp_path / "a.dcm", np.ascontiguousarray(film.T), **tags))
    assert image.shape == (1, 1200, 1000)
    assert np.abs(image.numpy()[0] - unit(PIXELS)).mean() < 0.01


# Field -------------------------------------------------------------------------------------------------------------


def test_47_a_frame_of_padding_is_cut_off_and_not_counted(tmp_path):
    framed = np.full((1400, 1200), 65535, np.uint16)
    framed[100:1300, 100:1100] = PIXELS
    image = read(write(tmp_path / "a.dcm", framed, 16, PixelPaddingValue=65535))
    same(image, unit(PIXELS))
    assert says(image, "changed", "crop", "from 1400 x 1200 to 1200 x 1000")


def test_47_a_range_of_padding_inside_the_image_is_not_counted(tmp_path):
    holed = PIXELS.copy()
    hole = np.zeros(holed.shape, bool)
    hole[500:700, 0:600] = True
    holed[hole] = 4000 + np.arange(hole.sum()) % 96
    image = read(write(tmp_path / "a.dcm", holed, PixelPaddingValue=4000, PixelPaddingRangeLimit=4095)).numpy()[0]
    low, high = np.percentile(PIXELS[~hole], (0.5, 99.5))
    np.testing.assert_allclose(image[~hole], ((PIXELS - low) / (high - low)).clip(0, 1)[~hole], atol=1e-5)
    assert not image[hole].any()


def test_padding_that_would_leave_nothing_is_passed_over(tmp_path):
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


def test_a_shutter_that_cannot_be_told_is_doubted(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=100))
    same(image, unit(PIXELS))
    assert says(image, "doubt", "shutter")


def test_43_burned_in_text_is_doubted(tmp_path):
    assert says(read(write(tmp_path / "a.dcm", PIXELS, BurnedInAnnotation="YES")), "doubt", "annotation")


def test_other_modalities_are_doubted(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, Modality="OT"))
    assert says(image, "doubt", "modality")


# Real films --------------------------------------------------------------------------------------------------------

DOUBTS = {
    "nema_rg1_chest_mono1_j2k.dcm": {"spacing", "collimator"},  # its edges, -184 to 184, are no columns
    "offis_modality_lut_18.dcm": {"modality"},
    "offis_voi_lut_04.dcm": {"modality"},
    "rsna_cr_patientC.dcm": {"spacing", "view"},
    "rsna_cr_patientE.dcm": {"spacing", "view"},
    **{f"rsna_cr_patient{name}.dcm": {"spacing"} for name in "ABDF"},
}


def test_real_dicom_films(real_data):
    files = sorted((real_data / "xray" / "dicom").glob("*.dcm"))
    assert len(files) == 14
    for file in files:
        if "wrong_modality" in file.name:
            assert "its modality is CT" in refusal(file)
            continue
        image = read(file)
        assert {doubt.subject for doubt in image.meta["record"].doubts} == DOUBTS.get(file.name, set()), file.name
        assert float(image.std()) > 0.1
