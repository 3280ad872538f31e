import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.readers.radiographs.film_files import (
    compress,
    picture,
    png_chunk,
    png_of_sixteen_bits,
    read,
    refusal,
    same,
    says,
    stored,
    thorax,
    unit,
    write,
)

THORAX = thorax((700, 600))
EIGHT = stored(THORAX, 8).astype(np.uint8)
SIXTEEN = stored(THORAX, 16)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_eight_bit_grey(tmp_path, suffix):
    image = read(picture(tmp_path / f"a{suffix}", EIGHT, **({"quality": 95} if suffix == ".jpg" else {})))
    same(image, unit(EIGHT), atol=0.05 if suffix == ".jpg" else 1e-5)
    assert (image.meta["spacing"], image.meta["computed"]) == (None, None)
    assert says(image, "assumed", "polarity")
    assert not image.meta["record"].doubts


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey(tmp_path, suffix):
    same(read(picture(tmp_path / f"a{suffix}", SIXTEEN)), unit(SIXTEEN))


def test_dots_per_inch_are_no_spacing(tmp_path):
    assert read(picture(tmp_path / "a.png", EIGHT, dpi=(300, 300))).meta["spacing"] is None


def test_a_film_is_inverted_where_that_is_requested(tmp_path):
    path = picture(tmp_path / "a.png", 255 - EIGHT)
    same(read(path, invert=True), unit(EIGHT))
    assert says(read(path, invert=True), "changed", "polarity", "as requested")


def palette(path):
    order = np.random.default_rng(0).permutation(256)
    indexed = Image.fromarray(order.argsort()[EIGHT].astype(np.uint8)).convert("L")
    indexed.putpalette([level for value in order for level in (value,) * 3])
    indexed.save(path)
    with Image.open(path) as image:
        assert image.mode == "P"


def exif(path, orientation):
    stored_as = {1: EIGHT, 3: EIGHT[::-1, ::-1], 6: np.rot90(EIGHT), 8: np.rot90(EIGHT, -1), 2: EIGHT[:, ::-1]}
    data = Image.Exif()
    data[0x0112] = orientation
    picture(path, np.ascontiguousarray(stored_as[orientation]), exif=data)


def plain(path, mode=None):
    picture(path, EIGHT, mode, format="PNG")


@pytest.mark.parametrize(
    ("suffix", "make", "changed"),
    [
        pytest.param(".png", palette, "channels", id="palette"),
        pytest.param(".png", lambda path: plain(path, "RGBA"), "channels", id="opaque RGBA"),
        pytest.param(".png", lambda path: plain(path, "LA"), "channels", id="opaque LA"),
        pytest.param(".png", lambda path: plain(path, "RGB"), "channels", id="RGB"),
        pytest.param(".png", lambda path: exif(path, 3), "orientation", id="EXIF 3"),
        pytest.param(".png", lambda path: exif(path, 6), "orientation", id="EXIF 6"),
        pytest.param(".png", lambda path: exif(path, 8), "orientation", id="EXIF 8"),
        pytest.param(".png", lambda path: exif(path, 2), "orientation", id="EXIF 2"),
        pytest.param(".png", lambda path: exif(path, 1), None, id="EXIF 1"),
        pytest.param("", plain, None, id="no suffix"),
        pytest.param(".PNG", plain, None, id="upper case"),
        pytest.param(" Thorax à côté, 胸.png", plain, None, id="spaces and umlauts"),
    ],
)
def test_odd_pictures_are_read(tmp_path, suffix, make, changed):
    path = tmp_path / f"a{suffix}"
    make(path)
    image = read(path)
    same(image, unit(EIGHT))
    assert [d["subject"] for d in image.meta["record"].to_list() if d["kind"] == "changed"] == [changed] * bool(changed)


def test_exif_of_a_jpeg(tmp_path):
    data = Image.Exif()
    data[0x0112] = 6
    image = read(picture(tmp_path / "a.jpg", np.ascontiguousarray(np.rot90(EIGHT)), exif=data, quality=95))
    same(image, unit(EIGHT), atol=0.05)


def test_a_grey_jpeg_in_colour(tmp_path):
    image = read(picture(tmp_path / "a.jpg", EIGHT, mode="RGB", quality=90))
    assert image.shape == (1, 700, 600)
    assert np.abs(image.numpy()[0] - unit(EIGHT)).max() < 0.08
    assert says(image, "changed", "channels")


def test_grey_in_cmyk(tmp_path):
    path = tmp_path / "a.tif"
    ink = np.zeros((*EIGHT.shape, 4), np.uint8)
    ink[..., 3] = 255 - EIGHT
    Image.fromarray(ink, mode="CMYK").save(path)
    same(read(path), unit(EIGHT), atol=0.01)


def test_sixteen_bit_using_twelve(tmp_path):
    pixels = stored(THORAX, 12)
    image = read(picture(tmp_path / "a.png", pixels))
    same(image, unit(pixels))
    assert says(image, "found", "bits", "12 of the 16 bits")


SIXTEEN_BIT_CHANNELS = [pytest.param(n, id=name) for n, name in ((2, "grey with alpha"), (3, "RGB"), (4, "RGBA"))]


def planes_of(pixels, channels, opacity=65535):
    """Grey in two to four channels, (rows, columns, channels), the last of two or four being opacity."""
    planes = [pixels] * (channels - (channels != 3)) + [np.full_like(pixels, opacity)] * (channels != 3)
    return np.stack(planes, -1)


@pytest.mark.parametrize("channels", SIXTEEN_BIT_CHANNELS)
@pytest.mark.parametrize("opacity", [65535, 40000])
def test_sixteen_bit_colours_keep_their_bits(tmp_path, channels, opacity):
    pixels = stored(THORAX, 12)
    image = read(png_of_sixteen_bits(tmp_path / "a.png", planes_of(pixels, channels, opacity)))
    same(image, unit(pixels))
    assert says(image, "found", "bits", "12 of the 16 bits")
    assert says(image, "changed", "channels", "made grey from a 16-bit")
    assert len(np.unique(image)) > 3000


@pytest.mark.parametrize("channels", SIXTEEN_BIT_CHANNELS)
def test_sixteen_bit_colours_are_turned_as_exif_says(tmp_path, channels):
    data = Image.Exif()
    data[0x0112] = 6
    sideways = np.rot90(planes_of(SIXTEEN, channels))
    path = png_of_sixteen_bits(
        tmp_path / "a.png", sideways, png_chunk(b"eXIf", data.tobytes().removeprefix(b"Exif\0\0"))
    )
    same(read(path), unit(SIXTEEN))


@pytest.mark.parametrize(
    ("channels", "place", "words"),
    [(3, 0, "is a colour image (16-bit RGB)"), (4, 2, "is a colour image (16-bit RGBA)"), (2, 1, "is transparent in")],
)
def test_sixteen_bit_pictures_that_are_not_grey_are_refused(tmp_path, channels, place, words):
    planes = planes_of(SIXTEEN, channels)
    planes[50:90, 50:90, place] = 0
    assert words in refusal(png_of_sixteen_bits(tmp_path / "a.png", planes))


def test_a_sixteen_bit_picture_with_a_damaged_checksum_is_refused(tmp_path):
    path = png_of_sixteen_bits(tmp_path / "a.png", planes_of(SIXTEEN, 3))
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(bytes(data))
    assert "is cut off or damaged" in refusal(path)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("JPEGExtendedProcess2_4", "is JPEG of 16 bits, which is not read"),
        ("JPEGLosslessProcess14_1", "is lossless JPEG of 16 bits, which is not read"),
        ("JPEGLSLossless", "is JPEG-LS of 16 bits, which is not read"),
    ],
)
def test_a_kind_of_jpeg_that_is_not_read_is_named(tmp_path, syntax, words):
    path = compress(write(tmp_path / "a.dcm", stored(THORAX, 12)), syntax)
    stream = path.read_bytes()
    (tmp_path / "a.jpg").write_bytes(stream[stream.index(b"\xff\xd8\xff") :])
    assert words in refusal(tmp_path / "a.jpg")


def test_float_tiff_with_negative_values_is_scaled(tmp_path):
    pixels = (THORAX * 3 - 1).astype(np.float32)
    image = read(picture(tmp_path / "a.tif", pixels))
    same(image, unit(pixels))
    assert says(image, "found", "bits", "floating-point values from -1")


def test_white_is_zero_in_a_sixteen_bit_tiff(tmp_path):
    path = picture(tmp_path / "a.tif", 65535 - SIXTEEN, tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
    same(read(path), unit(SIXTEEN))


def cut(path):
    picture(path, EIGHT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_checksum(path):
    picture(path, EIGHT)
    data = bytearray(path.read_bytes())
    place = data.index(b"IDAT")
    length = struct.unpack(">I", data[place - 4 : place])[0]
    data[place + 4 + length] ^= 0xFF
    path.write_bytes(bytes(data))


def several(path):
    pages = [Image.fromarray(EIGHT), Image.fromarray(255 - EIGHT)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def colour(path):
    pixels = np.stack([EIGHT, EIGHT[::-1], EIGHT], -1)
    picture(path, pixels)


def tinted(path):
    pixels = np.stack([EIGHT, EIGHT, EIGHT], -1)
    pixels[100:130, 100:130, 0] = 255
    picture(path, pixels)


def transparent(path):
    pixels = np.stack([EIGHT, EIGHT, EIGHT, np.full_like(EIGHT, 255)], -1)
    pixels[:50, :50, 3] = 0
    picture(path, pixels)


def not_a_number(path):
    pixels = THORAX.astype(np.float32)
    pixels[5, 5] = np.nan
    picture(path, pixels)


@pytest.mark.parametrize(
    ("suffix", "make", "words"),
    [
        pytest.param(".png", cut, "is cut off or damaged", id="cut PNG"),
        pytest.param(".jpg", cut, "is cut off or damaged", id="cut JPEG"),
        pytest.param(".tif", cut, "is cut off, pixels are missing", id="cut TIFF"),
        pytest.param(".png", bad_checksum, "is cut off or damaged", id="damaged checksum"),
        pytest.param(".png", transparent, "is transparent in places", id="transparent"),
        pytest.param(".png", colour, "is a colour image (RGB)", id="colour PNG"),
        pytest.param(".jpg", colour, "is a colour image (RGB)", id="colour JPEG"),
        pytest.param(".png", tinted, "is a colour image (RGB)", id="a coloured mark"),
        pytest.param(".png", lambda path: picture(path, EIGHT, "1"), "has one bit a pixel", id="one bit"),
        pytest.param(
            ".png", lambda path: picture(path, np.full((200, 200), 7, np.uint8)), "is constant", id="constant"
        ),
        pytest.param(".png", lambda path: picture(path, EIGHT[:1, :1]), "has 1 x 1 pixels", id="one pixel"),
        pytest.param(
            ".png", lambda path: picture(path, EIGHT[:100, :400]), "longer than 3 times its width", id="narrow"
        ),
        pytest.param(".png", several, "holds 2 pages or frames", id="animated PNG"),
        pytest.param(".tif", several, "holds 2 pages or frames", id="pages of a TIFF"),
        pytest.param(".tif", not_a_number, "are not numbers", id="NaN in a TIFF"),
    ],
)
def test_what_is_no_radiograph_is_refused(tmp_path, suffix, make, words):
    path = tmp_path / f"a{suffix}"
    make(path)
    assert words in refusal(path)


@pytest.mark.parametrize("side", [pytest.param(60000, id="beyond Pillow's cap"), pytest.param(11000, id="beyond ours")])
def test_a_decompression_bomb_is_refused_before_memory_is_taken(tmp_path, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(bytes(10**5)))
        + png_chunk(b"IEND", b"")
    )
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "far more" in message
    assert peak < 20e6


def test_real_pictures(real_data):
    files = [*sorted((real_data / "xray" / "frontal").glob("*.png"))[::20]]
    assert files
    for file in files:
        image = read(file)
        assert not image.meta["record"].doubts
        with Image.open(file) as source:
            kept = image.numel() / (source.width * source.height)
        assert kept >= 0.6
