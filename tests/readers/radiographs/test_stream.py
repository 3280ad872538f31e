import numpy as np
import pydicom
import pytest

from readers.radiographs.stream import stream_facts
from tests.readers.radiographs.film_files import compress, stored, thorax, write

FILM = thorax((90, 70))


@pytest.mark.parametrize(
    ("syntax", "name", "signed"),
    [
        ("JPEGBaselineProcess1", "JPEG", None),
        ("JPEGLosslessProcess14_1", "lossless JPEG", None),
        ("JPEGLSLossless", "JPEG-LS", None),
        ("JPEG2000Lossless", "JPEG 2000", False),
    ],
)
def test_what_gdcm_has_written(tmp_path, syntax, name, signed):
    data = pydicom.dcmread(compress(write(tmp_path / "a.dcm", stored(FILM, 8), bits=8), syntax)).PixelData
    facts = stream_facts(data)
    assert (facts.name, facts.bits, facts.signed, facts.shape, facts.channels) == (name, 8, signed, (90, 70), 1)


def test_what_is_no_stream_has_no_facts():
    assert stream_facts(b"") is None
    assert stream_facts(np.random.default_rng(0).bytes(5000).replace(b"\xff", b"\0")) is None
    assert stream_facts(b"\xff\xd8\xff\xe0\0\x10JFIF") is None
    assert stream_facts(b"\xff\x4f\xff\x51" + b"\x55" * 80) is None
