"""PNG, JPEG and TIFF radiographs, and what is no radiograph: cases 83 to 97 and 111 to 112 of the list, and 3, 5."""

import os
import struct
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest
from PIL import Image

from conventions import InputError
from tests.transforms.films.film_files import says, stored, thorax, unit, write
from transforms import ReadRadiograph

THORAX = thorax((700, 600))
EIGHT = stored(THORAX, 8).astype(np.uint8)
SIXTEEN = stored(THORAX, 16)


def read(path, view="pa", **options):
    return ReadRadiograph(view, **options)(path)


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def same(image, expected, atol=1e-5):
    assert image.shape[1:] == expected.shape
    np.testing.assert_allclose(image.numpy()[0], expected, atol=atol)


def picture(path, pixels=EIGHT, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_eight_bit_grey(tmp_path, suffix):
    image = read(picture(tmp_path / f"a{suffix}", **({"quality": 95} if suffix == ".jpg" else {})))
    same(image, unit(EIGHT), atol=0.05 if suffix == ".jpg" else 1e-5)
    assert (image.meta["spacing"], image.meta["computed"]) == (None, None)
    assert says(image, "assumed", "polarity")
    assert not image.meta["record"].doubts


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey(tmp_path, suffix):
    same(read(picture(tmp_path / f"a{suffix}", SIXTEEN)), unit(SIXTEEN))


def test_dots_per_inch_are_no_spacing(tmp_path):
    assert read(picture(tmp_path / "a.png", dpi=(300, 300))).meta["spacing"] is None


def test_an_inverted_film_is_turned_where_it_is_asked(tmp_path):
    path = picture(tmp_path / "a.png", 255 - EIGHT)
    same(read(path, invert=True), unit(EIGHT))
    assert says(read(path, invert=True), "changed", "polarity", "as was asked")


# Accepted oddities -------------------------------------------------------------------------------------------------


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


ACCEPTED = {
    "87 palette": (".png", palette, "channels"),
    "88 opaque RGBA": (".png", lambda path: picture(path, mode="RGBA"), "channels"),
    "88 opaque LA": (".png", lambda path: picture(path, mode="LA"), "channels"),
    "88 RGB": (".png", lambda path: picture(path, mode="RGB"), "channels"),
    "92 EXIF 3": (".png", lambda path: exif(path, 3), "orientation"),
    "92 EXIF 6": (".png", lambda path: exif(path, 6), "orientation"),
    "92 EXIF 8": (".png", lambda path: exif(path, 8), "orientation"),
    "92 EXIF 2": (".png", lambda path: exif(path, 2), "orientation"),
    "92 EXIF 1": (".png", lambda path: exif(path, 1), None),
    "112 no suffix": ("", lambda path: picture(path, format="PNG"), None),
    "112 upper case": (".PNG", picture, None),
    "112 spaces and umlauts": (" Thorax à côté, 胸.png", picture, None),
}


@pytest.mark.parametrize(("suffix", "make", "changed"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_read_right(tmp_path, suffix, make, changed):
    path = tmp_path / f"a{suffix}"
    make(path)
    image = read(path)
    same(image, unit(EIGHT))
    assert [d["subject"] for d in image.meta["record"].to_list() if d["kind"] == "changed"] == [changed] * bool(changed)


def test_92_exif_of_a_jpeg(tmp_path):
    data = Image.Exif()
    data[0x0112] = 6
    image = read(picture(tmp_path / "a.jpg", np.ascontiguousarray(np.rot90(EIGHT)), exif=data, quality=95))
    same(image, unit(EIGHT), atol=0.05)


def test_88_grey_jpeg_in_colour(tmp_path):
    image = read(picture(tmp_path / "a.jpg", mode="RGB", quality=90))
    assert image.shape == (1, 700, 600)
    assert np.abs(image.numpy()[0] - unit(EIGHT)).max() < 0.08
    assert says(image, "changed", "channels")


def test_88_grey_in_cmyk(tmp_path):
    path = tmp_path / "a.tif"
    ink = np.zeros((*EIGHT.shape, 4), np.uint8)
    ink[..., 3] = 255 - EIGHT
    Image.fromarray(ink, mode="CMYK").save(path)
    same(read(path), unit(EIGHT), atol=0.01)


def test_90_sixteen_bit_using_twelve(tmp_path):
    pixels = stored(THORAX, 12)
    image = read(picture(tmp_path / "a.png", pixels))
    same(image, unit(pixels))
    assert says(image, "found", "bits", "12 of the 16 bits")


def test_95_float_tiff_with_negative_values_is_scaled(tmp_path):
    pixels = (THORAX * 3 - 1).astype(np.float32)
    image = read(picture(tmp_path / "a.tif", pixels))
    same(image, unit(pixels))
    assert says(image, "found", "bits", "floating-point values from -1")


def test_white_is_zero_in_a_sixteen_bit_tiff(tmp_path):
    path = picture(tmp_path / "a.tif", 65535 - SIXTEEN, tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
    same(read(path), unit(SIXTEEN))


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "JPEG"), (".jpg", "PNG"), (".dcm", "PNG"), (".dcm", "TIFF")])
def test_3_96_the_content_counts(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(EIGHT).save(path, format=kind)
    image = read(path)
    same(image, unit(EIGHT), atol=0.1 if kind == "JPEG" else 1e-5)
    assert says(image, "found", "format", f"{kind} by its content")


# Refused -----------------------------------------------------------------------------------------------------------


def cut(suffix):
    def make(path):
        picture(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return suffix, make, "is cut off or damaged"


def bad_checksum(path):
    picture(path)
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


def as_written(data):
    return lambda path: path.write_bytes(data)


def nifti(path):
    source = path.with_name("source.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((64, 64, 64), np.float32), np.eye(4)), source)
    path.write_bytes(source.read_bytes())


REFUSED = {
    "83 cut PNG": cut(".png"),
    "83 cut JPEG": cut(".jpg"),
    "83 cut TIFF": cut(".tif"),
    "84 empty": (".png", as_written(b""), "is an empty file"),
    "84 text": (".png", as_written(b"hello " * 99), "is a text file"),
    "84 GIF": (".gif", picture, "is a GIF file"),
    "84 BMP": (".bmp", picture, "is a BMP file"),
    "84 WebP": (".webp", picture, "is a WebP file"),
    "84 JPEG 2000": (".jp2", picture, "is a JPEG 2000 file"),
    "84 PDF": (".pdf", as_written(b"%PDF-1.7\n"), "is a PDF file"),
    "84 bytes": (".png", as_written(bytes(range(256)) * 4), "of an unknown format"),
    "85 damaged checksum": (".png", bad_checksum, "is cut off or damaged"),
    "88 transparent": (".png", transparent, "is transparent in places"),
    "89 colour PNG": (".png", colour, "is a colour image (RGB)"),
    "89 colour JPEG": (".jpg", colour, "is a colour image (RGB)"),
    "89 a coloured mark": (".png", tinted, "is a colour image (RGB)"),
    "91 one bit": (".png", lambda path: picture(path, mode="1"), "has one bit a pixel"),
    "91 constant": (".png", lambda path: picture(path, np.full((200, 200), 7, np.uint8)), "is constant"),
    "91 one pixel": (".png", lambda path: picture(path, EIGHT[:1, :1]), "has 1 x 1 pixels"),
    "91 narrow": (".png", lambda path: picture(path, EIGHT[:100, :400]), "longer than 3 times its width"),
    "93 animated PNG": (".png", several, "holds 2 pages or frames"),
    "93 pages of a TIFF": (".tif", several, "holds 2 pages or frames"),
    "95 NaN in a TIFF": (".tif", not_a_number, "are not numbers"),
    "5 NIfTI named dcm": (".dcm", nifti, "is a NIfTI file by its content"),
}


@pytest.mark.parametrize(("suffix", "make", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path, suffix, make, words):
    path = tmp_path / f"a{suffix}"
    make(path)
    assert words in refusal(path)


@pytest.mark.parametrize("side", [60000, 11000], ids=["86 beyond Pillow's cap", "86 beyond ours"])
def test_a_decompression_bomb_is_refused_before_memory_is_taken(tmp_path, side):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**5)))
        + chunk(b"IEND", b"")
    )
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "far more" in message
    assert peak < 20e6


# Frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shade", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("blurred", [False, True])
def test_97_a_frame_is_cut_off(tmp_path, shade, blurred):
    film = stored(THORAX, 8, 0.2, 0.75).astype(np.uint8)
    framed = np.full((760, 680), shade, np.uint8)
    framed[20:720, 50:650] = film
    if blurred:
        framed[20, 50:650] = (framed[20, 50:650].astype(int) + shade) // 2
    image = read(picture(tmp_path / "a.png", framed))
    assert abs(image.shape[1] - 700) <= 1
    assert image.shape[2] == 600
    same(image, unit(framed[20 + 700 - image.shape[1] : 720, 50:650]))
    assert says(image, "changed", "crop", "from 760 x 680")


def test_97_a_white_frame_around_a_black_one(tmp_path):
    framed = np.full((800, 700), 255, np.uint8)
    framed[20:780, 20:680] = 0
    framed[50:750, 50:650] = stored(THORAX, 8, 0.2, 0.75)
    same(read(picture(tmp_path / "a.png", framed)), unit(framed[50:750, 50:650]))


def test_97_air_and_dense_edges_are_no_frame(tmp_path):
    same(read(picture(tmp_path / "a.png")), unit(EIGHT))
    dense = EIGHT.copy()
    dense[600:] = np.maximum(dense[600:], np.linspace(100, 255, 100)[:, None].astype(np.uint8))
    same(read(picture(tmp_path / "b.png", dense)), unit(dense))


def test_97_no_more_than_40_percent_is_cut_off(tmp_path):
    framed = np.full((1200, 1100), 255, np.uint8)
    framed[250:950, 250:850] = stored(THORAX, 8, 0.2, 0.75)
    image = read(picture(tmp_path / "a.png", framed))
    assert image.shape == (1, 1200, 1100)
    assert says(image, "doubt", "crop", "was not cut off")


# Files -------------------------------------------------------------------------------------------------------------


def make_link(path):
    path.symlink_to(path.with_name("absent"))


FILES = {
    "111 missing": (lambda path: None, "there is no such file"),
    "111 broken link": (make_link, "a link to a file that is not there"),
    "111 folder": (lambda path: path.mkdir(), "is a folder"),
    "111 pipe": (os.mkfifo, "is a pipe or a device"),
}


@pytest.mark.parametrize(("make", "words"), FILES.values(), ids=FILES.keys())
def test_what_is_no_file(tmp_path, make, words):
    path = tmp_path / "a.png"
    make(path)
    assert words in refusal(path)


def test_113_a_file_without_permission(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "cannot be opened (Permission denied)" in refusal(path)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"], ids=["long", "null"])
def test_a_path_that_cannot_be(name):
    with pytest.raises(InputError, match="cannot be looked up"):
        read(name)


def test_a_link_to_a_film_is_read(tmp_path):
    (tmp_path / "link.dcm").symlink_to(write(tmp_path / "a.dcm", stored(THORAX)))
    same(read(tmp_path / "link.dcm"), unit(stored(THORAX)))


def test_real_pictures(real_data):
    files = [*sorted((real_data / "xray" / "frontal").glob("*.png"))[::20]]
    assert files
    for file in files:
        image = read(file)
        assert not image.meta["record"].doubts
        with Image.open(file) as source:
            kept = image.numel() / (source.width * source.height)
        assert kept >= 0.6
