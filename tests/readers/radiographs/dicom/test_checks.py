import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.readers.radiographs.film_files import dataset, read, refusal, same, says, stored, thorax, unit, write

PIXELS = stored(thorax())


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: path.write_bytes(b""), "is an empty file", id="empty"),
        pytest.param(lambda path: path.write_text("no image\n" * 50), "is a text file", id="text"),
        pytest.param(cut(700), "(truncated)", id="cut in the header"),
        pytest.param(cut(200), "", id="cut in the meta header"),
        pytest.param(cut(0.6), "of 2400000 bytes of pixels are there", id="cut in the pixels"),
        pytest.param(without("Rows"), "Rows is missing", id="Rows missing"),
        pytest.param(with_tags(Rows=0), "Rows is 0", id="no rows"),
        pytest.param(without("PixelData"), "there is no image in this object", id="header only"),
        pytest.param(
            class_of("Basic Text SR Storage", Modality="SR"), "is a DICOM Basic Text SR Storage", id="structured report"
        ),
        pytest.param(
            class_of("Grayscale Softcopy Presentation State Storage", Modality="PR"),
            "is a DICOM Grayscale Softcopy Presentation State Storage",
            id="presentation state",
        ),
        pytest.param(
            class_of("Encapsulated PDF Storage", Modality="DOC"), "is a DICOM Encapsulated PDF Storage", id="PDF"
        ),
        pytest.param(
            class_of("Media Storage Directory Storage", Modality=None), "Media Storage Directory Storage", id="DICOMDIR"
        ),
        pytest.param(with_tags(Modality="CT"), "its modality is CT", id="CT"),
        pytest.param(without("PhotometricInterpretation"), "PhotometricInterpretation is missing", id="no photometric"),
        pytest.param(no_syntax, "names no transfer syntax", id="no transfer syntax"),
        pytest.param(without("BitsStored"), "BitsStored is missing", id="BitsStored missing"),
        pytest.param(
            with_tags(BitsStored=20), "BitsStored 20 of BitsAllocated 16 is impossible", id="20 bits stored in 16"
        ),
        pytest.param(colour, "is a colour image", id="colour"),
        pytest.param(with_tags(PhotometricInterpretation="PALETTE COLOR"), "is a colour image", id="palette"),
        pytest.param(frames, "holds 2 frames", id="two frames"),
        pytest.param(with_tags(RescaleSlope=0, RescaleIntercept=0), "RescaleSlope is 0", id="slope 0"),
        pytest.param(
            lambda path: write(path, np.full((300, 300), 900)), "is constant, so it shows nothing", id="constant"
        ),
        pytest.param(float_pixels, "holds floating-point pixels", id="float pixels"),
        pytest.param(lambda path: write(path, PIXELS[:1, :1]), "has 1 x 1 pixels", id="one pixel"),
        pytest.param(lambda path: write(path, PIXELS[500:520, 500:520]), "has 20 x 20 pixels", id="20 pixels a side"),
        pytest.param(lambda path: write(path, PIXELS[:100, :1000]), "longer than 3 times its width", id="narrow"),
    ],
)
def test_what_is_no_radiograph_is_refused(tmp_path, make, words):
    path = tmp_path / "a.dcm"
    make(path)
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        pytest.param(65535, 65535, "claims 65535 x 65535 pixels", id="over the cap"),
        pytest.param(9000, 9000, "is cut off (truncated): 4000 of 162000000 bytes", id="under the cap"),
    ],
)
def test_a_huge_header_is_refused_before_memory_is_taken(tmp_path, rows, columns, words):
    path = write(tmp_path / "a.dcm", PIXELS[:40, :50], Rows=rows, Columns=columns)
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in message
    assert peak < 20e6


def test_a_file_without_preamble_is_read_only_where_that_is_permitted(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS)
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(path.read_bytes()[132:])
    assert "set without_preamble" in refusal(bare)
    same(read(bare, without_preamble=True), unit(PIXELS))


def test_a_file_without_meta_header_is_read_only_where_that_is_permitted(tmp_path):
    path = write(tmp_path / "a.dcm", PIXELS, syntax=ImplicitVRLittleEndian)
    data = path.read_bytes()
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(data[data.index(b"\x08\0\x16\0") :])
    assert "set without_preamble" in refusal(bare)
    image = read(bare, without_preamble=True)
    same(image, unit(PIXELS))
    assert says(image, "assumed", "syntax")


def test_a_deflated_bomb_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("readers.radiographs.dicom.checks.MAX_FILE_BYTES", 2_000_000)
    path = write(tmp_path / "a.dcm", np.zeros((1200, 1000), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 10_000
    assert "unpacks to more than" in refusal(path)


def test_other_modalities_are_doubted(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS, Modality="OT"))
    assert says(image, "doubt", "modality")
