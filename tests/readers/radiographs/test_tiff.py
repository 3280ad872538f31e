"""Kinds of TIFF: each is read to what was written, or refused by its kind, and none that is whole is called damaged."""

import struct

import itk
import numpy as np
import pytest
import tifffile

from readers.radiographs import tiff
from tests.readers.radiographs.film_files import read, refusal, same, says, thorax, unit

THORAX = thorax((120, 100))


def samples(dtype):
    """The thorax in numbers of a type, over nearly all of its range."""
    dtype = np.dtype(dtype)
    if dtype.kind in "ui":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return (low + THORAX * (0.98 * high - 0.98 * low)).astype(dtype)
    return (THORAX * 3 - 1).astype(dtype)


def opaque(dtype):
    return np.iinfo(dtype).max if np.dtype(dtype).kind in "ui" else 1


def write(path, pixels, **options):
    tifffile.imwrite(path, pixels, metadata=None, **options)
    return path


TYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("white", [False, True], ids=["black is zero", "white is zero"])
def test_every_type_of_number(tmp_path, dtype, white):
    pixels = samples(dtype)
    image = read(write(tmp_path / "a.tif", pixels, photometric="miniswhite" if white else "minisblack"))
    truth = unit(pixels.astype(float))
    same(image, unit(-pixels.astype(float)) if white else truth, atol=1e-4)
    assert says(image, "changed", "polarity", "zero is white") == white
    assert len(np.unique(image)) > 0.9 * min(len(np.unique(pixels)), 5000)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("channels", "options"),
    [
        pytest.param(
            2, {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}, id="LA"
        ),
        pytest.param(3, {"photometric": "rgb"}, id="RGB"),
        pytest.param(4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, id="RGBA"),
    ],
)
def test_grey_in_several_channels_keeps_its_bits(tmp_path, dtype, channels, options):
    pixels = samples(dtype)
    planes = [pixels] * (channels if channels == 3 else channels - 1)
    planes += [np.full_like(pixels, opaque(dtype))] * (channels != 3)
    image = read(write(tmp_path / "a.tif", np.stack(planes, -1), **options))
    same(image, unit(pixels.astype(float)), atol=1e-4)
    assert says(image, "changed", "channels", "made grey")
    assert len(np.unique(image)) > 0.9 * min(len(np.unique(pixels)), 5000)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_colours_in_planes(tmp_path, dtype):
    pixels = samples(dtype)
    path = write(tmp_path / "a.tif", np.stack([pixels] * 3), photometric="rgb", planarconfig="separate")
    same(read(path), unit(pixels.astype(float)), atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"byteorder": ">"}, id="big endian"),
        pytest.param({"bigtiff": True}, id="BigTIFF"),
        pytest.param({"bigtiff": True, "byteorder": ">"}, id="big-endian BigTIFF"),
        pytest.param({"tile": (32, 32)}, id="tiles"),
        pytest.param({"compression": "zlib"}, id="Deflate"),
        pytest.param({"compression": "lzma"}, id="LZMA"),
        pytest.param({"rowsperstrip": 7}, id="strips"),
    ],
)
def test_every_layout(tmp_path, dtype, options):
    pixels = samples(dtype)
    same(read(write(tmp_path / "a.tif", pixels, **options)), unit(pixels.astype(float)), atol=1e-4)


def compressed(path, pixels, method):
    """Write by ITK, which compresses without another package."""
    image = itk.image_from_array(pixels, is_vector=pixels.ndim == 3)
    codec = itk.TIFFImageIO.New()
    codec.SetCompressor(method)
    itk.ImageFileWriter.New(image, FileName=str(path), ImageIO=codec, UseCompression=True).Update()
    return path


@pytest.mark.parametrize("method", ["LZW", "PackBits", "Deflate"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_compression(tmp_path, method, channels, dtype):
    pixels = samples(dtype)
    planes = pixels if channels == 1 else np.stack([pixels] * channels, -1)
    if channels == 4:
        planes[..., 3] = opaque(dtype)
    same(read(compressed(tmp_path / "a.tif", planes, method)), unit(pixels), atol=1e-4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", ["uint8", "float64"], ids=["by Pillow", "by tifffile"])
def test_the_orientation_is_followed(tmp_path, orientation, dtype):
    upright = samples(dtype)
    stored_as = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright[::-1]),
        8: np.rot90(upright, -1),
    }[orientation]
    path = write(tmp_path / "a.tif", np.ascontiguousarray(stored_as), extratags=[(274, 3, 1, orientation, True)])
    image = read(path)
    same(image, unit(upright.astype(float)), atol=1e-4)
    assert says(image, "changed", "orientation") == (orientation != 1)


def test_sixteen_bits_of_a_palette_are_kept(tmp_path):
    """A palette may use the lower byte alone, of which 8 bits a colour would leave nothing."""
    indices = samples("uint8")
    palette = np.stack([np.arange(256, dtype=np.uint16)] * 3)
    same(read(write(tmp_path / "a.tif", indices, photometric="palette", colormap=palette)), unit(indices), atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_channel_of_unstated_meaning_is_left_out_with_a_doubt(tmp_path, dtype):
    pixels = samples(dtype)
    planes = np.stack([pixels, pixels[::-1]], -1)
    image = read(write(tmp_path / "a.tif", planes, photometric="minisblack", planarconfig="contig"))
    same(image, unit(pixels), atol=1e-4)
    assert says(image, "doubt", "channels", "unstated meaning")


def test_large_numbers_that_differ_little_keep_their_differences(tmp_path):
    pixels = (4_000_000_000 + 1000 * THORAX).astype(np.uint32)
    same(read(write(tmp_path / "a.tif", pixels)), unit(pixels.astype(float)), atol=1e-4)


def patch(path, **tags):
    """Change tags of a little-endian file: width=256, bits=258, compression=259."""
    numbers = {"width": 256, "bits": 258, "compression": 259}
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", data, place)
        for name, value in tags.items():
            if numbers[name] == tag:
                struct.pack_into({3: "<H", 4: "<I"}[kind], data, place + 8, value)
    path.write_bytes(bytes(data))
    return path


def test_twelve_bits_in_three_half_bytes(tmp_path):
    pixels = np.rint(THORAX * 4095).astype(np.uint16)
    one, other = pixels[:, ::2].astype(np.uint32), pixels[:, 1::2].astype(np.uint32)
    packed = np.stack([one >> 4, (one & 15) << 4 | other >> 8, other & 255], -1).astype(np.uint8)
    path = write(tmp_path / "a.tif", packed.reshape(len(pixels), -1))
    same(read(patch(path, width=pixels.shape[1], bits=12)), unit(pixels), atol=1e-4)


@pytest.mark.parametrize(("number", "name"), [(34712, "JPEG 2000"), (34887, "LERC"), (60000, "method 60000")])
@pytest.mark.parametrize("dtype", ["uint8", "uint32"])
def test_an_unknown_compression_is_named(tmp_path, number, name, dtype):
    message = refusal(patch(write(tmp_path / "a.tif", samples(dtype)), compression=number))
    assert f"is a TIFF of {dtype} samples compressed by {name}, which is not read" in message


def tinted(dtype):
    pixels = samples(dtype)
    planes = np.stack([pixels] * 3, -1)
    planes[20:40, 20:40, 0] = opaque(dtype)
    return planes


def see_through(dtype):
    planes = np.stack([samples(dtype), np.full(THORAX.shape, opaque(dtype), dtype)], -1)
    planes[:9, :9, 1] = 0
    return planes


GREY_ALPHA = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (samples("float32").astype("complex64"), {}, "is a TIFF of complex64 samples, which is not read"),
        (np.stack([samples("uint16")] * 4, -1), {"photometric": "separated"}, "with 4 channels (CMYK), which is not"),
        (np.stack([samples("uint8")] * 3, -1), {"photometric": "cielab"}, "with 3 channels (CIELab), which is not"),
        (tinted("uint16"), {"photometric": "rgb"}, "is a colour image (uint16 RGB)"),
        (tinted("float64"), {"photometric": "rgb"}, "is a colour image (float64 RGB)"),
        (see_through("uint16"), GREY_ALPHA, "is transparent in places"),
    ],
)
def test_what_is_no_grey_picture_is_refused_by_its_kind(tmp_path, pixels, options, words):
    message = refusal(write(tmp_path / "a.tif", pixels, **options))
    assert words in message
    assert "damaged" not in message


def test_without_tifffile_what_it_alone_reads_is_refused_by_its_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "has_tifffile", False)
    path = write(tmp_path / "a.tif", see_through("float64"), **GREY_ALPHA)
    assert refusal(path).endswith(
        "is a TIFF of float64 samples with 2 channels, which is not read; export it as 16-bit grey, "
        "or install tifffile (pip install tifffile)"
    )


def cut(path):
    write(path, samples("float64"))
    path.write_bytes(path.read_bytes()[:-1000])


def cut_in_its_tags(path):
    write(path, samples("uint16"))
    path.write_bytes(path.read_bytes()[:60])


def damaged(path):
    noise = np.random.default_rng(0).integers(0, 65536, (120, 100, 3), dtype=np.uint16)
    compressed(path, noise, "LZW")
    data = bytearray(path.read_bytes())
    data[2000:9000] = b"\xff" * 7000
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("make", "words"), [(cut, "is cut off"), (cut_in_its_tags, "is cut off or damaged"), (damaged, "damaged")]
)
def test_what_is_cut_off_or_damaged_is_called_so(tmp_path, make, words):
    make(tmp_path / "a.tif")
    assert words in refusal(tmp_path / "a.tif")
