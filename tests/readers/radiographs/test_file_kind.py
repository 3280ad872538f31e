import os

import nibabel
import numpy as np
import pytest
from PIL import Image

from conventions import InputError
from tests.readers.radiographs.film_files import picture, read, refusal, same, says, stored, thorax, unit, write

THORAX = thorax((700, 600))
EIGHT = stored(THORAX, 8).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "JPEG"), (".jpg", "PNG"), (".dcm", "PNG"), (".dcm", "TIFF")])
def test_the_content_decides(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(EIGHT).save(path, format=kind)
    image = read(path)
    same(image, unit(EIGHT), atol=0.1 if kind == "JPEG" else 1e-5)
    assert says(image, "found", "format", f"{kind} by its content")


def as_written(data):
    return lambda path: path.write_bytes(data)


def nifti(path):
    source = path.with_name("source.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((64, 64, 64), np.float32), np.eye(4)), source)
    path.write_bytes(source.read_bytes())


def make_link(path):
    path.symlink_to(path.with_name("absent"))


@pytest.mark.parametrize(
    ("suffix", "make", "words"),
    [
        pytest.param(".png", as_written(b""), "is an empty file", id="empty"),
        pytest.param(".png", as_written(b"hello " * 99), "is a text file", id="text"),
        pytest.param(".gif", lambda path: picture(path, EIGHT), "is a GIF file", id="GIF"),
        pytest.param(".bmp", lambda path: picture(path, EIGHT), "is a BMP file", id="BMP"),
        pytest.param(".webp", lambda path: picture(path, EIGHT), "is a WebP file", id="WebP"),
        pytest.param(".jp2", lambda path: picture(path, EIGHT), "is a JPEG 2000 file", id="JPEG 2000"),
        pytest.param(".pdf", as_written(b"%PDF-1.7\n"), "is a PDF file", id="PDF"),
        pytest.param(".png", as_written(bytes(range(256)) * 4), "of an unknown format", id="bytes"),
        pytest.param(".dcm", nifti, "is a NIfTI file by its content", id="NIfTI named dcm"),
    ],
)
def test_other_formats_are_refused(tmp_path, suffix, make, words):
    path = tmp_path / f"a{suffix}"
    make(path)
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: None, "there is no such file", id="missing"),
        pytest.param(make_link, "a link to a file that is not there", id="broken link"),
        pytest.param(lambda path: path.mkdir(), "holds no film", id="folder"),
        pytest.param(os.mkfifo, "is a pipe or a device", id="pipe"),
    ],
)
def test_what_is_no_file(tmp_path, make, words):
    path = tmp_path / "a.png"
    make(path)
    assert words in refusal(path)


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png", EIGHT)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "cannot be opened (Permission denied)" in refusal(path)


@pytest.mark.parametrize("name", [pytest.param("a" * 300, id="long"), pytest.param("a\0b", id="null")])
def test_an_impossible_path(name):
    with pytest.raises(InputError, match="cannot be looked up"):
        read(name)


def test_a_link_to_a_film_is_read(tmp_path):
    (tmp_path / "link.dcm").symlink_to(write(tmp_path / "a.dcm", stored(THORAX)))
    same(read(tmp_path / "link.dcm"), unit(stored(THORAX)))
