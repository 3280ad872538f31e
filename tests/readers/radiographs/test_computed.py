"""DRRs are recognised by the mark in their files, whatever the format."""

import json

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.nifti1 import Nifti1Extension
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from conventions import DRR_NOTE, MARK_TAGS, InputError, Mark, MarkKind, mark, read_mark
from export import write_dicom_radiograph, write_nifti, write_png16, write_radiograph_nifti
from readers.radiographs.computed import marked_view
from tests.readers.radiographs.film_files import (
    dataset,
    planes_in_nifti,
    read,
    refusal,
    same,
    says,
    stored,
    thorax,
    unit,
)

SIZE = 64
DETAILS = {"geometry": "chest", "curve": "water", "film_style": "linear"}
UNMARKED = Mark(kind=MarkKind.COMPUTED_RADIOGRAPH)
EXPECTED = read_mark(mark(MarkKind.COMPUTED_RADIOGRAPH, {**DETAILS, "view": "pa"}))
FILM = stored(thorax((300, 300)), 16)


@pytest.fixture
def plane():
    """A plain DRR with a bright mark at the top right."""
    image = np.full((SIZE, SIZE), 0.25)
    image[:8, -8:] = 1.0
    return image


def write_png(path, plane):
    return write_png16(path.with_suffix(".png"), plane, {**DETAILS, "view": "pa", "ct": "Quetzal.nii"})


def write_nifti_drr(path, plane):
    return write_radiograph_nifti(
        path.with_suffix(".nii.gz"), plane, np.eye(4), {**DETAILS, "name": "pa", "ct": "Quetzal.nii"}
    )


def write_dicom(path, plane):
    return write_dicom_radiograph(
        path.with_suffix(".dcm"),
        plane,
        pixel_spacing=(430 / 64, 430 / 64),
        orientation=("L", "F"),
        view_position="PA",
        sdd=1800.0,
        source_to_patient=1760.0,
        record={**DETAILS, "view": "pa", "ct": "Quetzal.nii"},
    )


WRITERS = [
    pytest.param(write_png, id="PNG"),
    pytest.param(write_nifti_drr, id="NIfTI"),
    pytest.param(write_dicom, id="DICOM"),
]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_drr_keeps_its_film_values_and_says_what_made_it(tmp_path, plane, writer):
    image = read(writer(tmp_path / "a", plane))
    same(image, plane)
    assert image.meta["computed"] == EXPECTED
    assert "Not acquired" in image.meta["computed"].statement
    assert says(image, "found", "origin")
    assert not image.meta["record"].doubts


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_but_technical_words_gets_into_a_mark(tmp_path, plane, writer):
    image = read(writer(tmp_path / "a", plane))
    assert "Quetzal" not in repr(image.meta["computed"])


def test_a_drr_is_doubted_where_it_is_given_as_another_view(tmp_path, plane):
    image = read(write_png(tmp_path / "a", plane), "lateral")
    assert says(image, "doubt", "view", "given as lateral, but computed as pa")


@pytest.mark.parametrize(
    ("name", "view"),
    [("pa", "pa"), ("lateral", "lateral"), ("right_lateral", "lateral"), ("oblique_45", None), ("", None)],
)
def test_the_view_that_a_mark_names(name, view):
    assert marked_view(Mark(kind=MarkKind.COMPUTED_RADIOGRAPH, view=name)) == view


# PNG ---------------------------------------------------------------------------------------------------------------


def with_chunk(path, text):
    chunk = PngInfo()
    chunk.add_text("X2CT", text)
    Image.fromarray(FILM).save(path, pnginfo=chunk)
    return path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no JSON", id="no JSON"),
        pytest.param("[]", id="list"),
        pytest.param('{"computed_from_ct": "yes"}', id="a word for true"),
        pytest.param(mark(MarkKind.SYNTHETIC_CT), id="mark of a synthetic CT"),
    ],
)
def test_a_png_without_the_mark_of_a_drr_is_a_film(tmp_path, text):
    image = read(with_chunk(tmp_path / "a.png", text))
    assert image.meta["computed"] is None
    same(image, unit(FILM))


def test_a_png_of_version_0_1_is_recognised(tmp_path):
    said = {"computed_from_ct": True, "statement": "...", "geometry": "x2ct", "curve": "bone", "film": "film"}
    image = read(with_chunk(tmp_path / "a.png", json.dumps({**said, "view": "pa"})))
    same(image, (FILM / 65535).astype(np.float32))
    expected = {"geometry": "x2ct", "curve": "bone", "film_style": "logistic", "view": "pa"}
    assert image.meta["computed"] == Mark(kind=MarkKind.COMPUTED_RADIOGRAPH, **expected)


# DICOM -------------------------------------------------------------------------------------------------------------


def test_a_dicom_drr_states_its_spacing_and_magnification(tmp_path, plane):
    image = read(write_dicom(tmp_path / "a", plane))
    assert image.meta["spacing"] == pytest.approx(430 / 64)
    assert image.meta["magnification"] == pytest.approx(1800 / 1650)


def test_a_dicom_drr_written_again_in_implicit_vr_keeps_its_mark(tmp_path, plane):
    first = pydicom.dcmread(write_dicom(tmp_path / "a", plane))
    first.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    encoding = {"is_implicit_VR": True, "is_little_endian": True, "file_meta": first.file_meta}
    again = pydicom.dataset.FileDataset("", first, preamble=b"\0" * 128, **encoding)
    again[MARK_TAGS[1]].VR = "UN"
    again[MARK_TAGS[1]].value = again[MARK_TAGS[1]].value.encode()
    again.save_as(tmp_path / "b.dcm")
    assert read(tmp_path / "b.dcm").meta["computed"] == EXPECTED


def test_a_dicom_drr_without_private_elements_is_recognised(tmp_path, plane):
    """As version 0.1 wrote it, or as a tool left it that removes private elements."""
    bare = pydicom.dcmread(write_dicom(tmp_path / "a", plane))
    bare.remove_private_tags()
    bare.save_as(tmp_path / "b.dcm")
    image = read(tmp_path / "b.dcm")
    assert image.meta["computed"] == UNMARKED
    same(image, plane)


def test_a_private_element_of_another_maker_is_no_mark(tmp_path):
    film = dataset(stored(thorax((300, 300))), syntax=ExplicitVRLittleEndian)
    film.add_new(MARK_TAGS[0], "LO", "QUETZAL 1.0")
    film.add_new(MARK_TAGS[1], "UT", mark(MarkKind.COMPUTED_RADIOGRAPH, DETAILS))
    film.save_as(tmp_path / "a.dcm")
    assert read(tmp_path / "a.dcm").meta["computed"] is None


def test_a_sentence_about_a_geometry_is_not_read(tmp_path):
    film = dataset(stored(thorax((300, 300))), Manufacturer="X2CT bundle")
    film.DerivationDescription = "View pa; geometry chest, curve water, film linear."
    film.save_as(tmp_path / "a.dcm")
    assert read(tmp_path / "a.dcm").meta["computed"] is None


# NIfTI -------------------------------------------------------------------------------------------------------------


def test_a_nifti_drr_needs_no_sidecar(tmp_path, plane):
    path = write_nifti_drr(tmp_path / "a", plane)
    (tmp_path / "a.json").unlink()
    assert read(path).meta["computed"] == EXPECTED


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        pytest.param(
            {"computed_from_ct": True, "name": "pa", "geometry": "chest", "film": "film", "view": {"sdd": 1800}},
            Mark(kind=MarkKind.COMPUTED_RADIOGRAPH, geometry="chest", film_style="logistic", view="pa"),
            id="sidecar",
        ),
        pytest.param(None, UNMARKED, id="no sidecar"),
        pytest.param([1, 2], UNMARKED, id="another file in its place"),
    ],
)
def test_a_nifti_drr_of_version_0_1_is_recognised_by_its_note(tmp_path, plane, sidecar, expected):
    nifti = nibabel.Nifti1Image(plane.T[..., None].astype(np.float32), np.eye(4))
    nifti.header["descrip"] = DRR_NOTE.encode()
    nibabel.save(nifti, tmp_path / "a.nii.gz")
    if sidecar is not None:
        (tmp_path / "a.json").write_text(json.dumps(sidecar))
    image = read(tmp_path / "a.nii.gz")
    same(image, plane)
    assert image.meta["computed"] == expected


def test_a_comment_that_is_no_mark_is_ignored(tmp_path, plane):
    nifti = nibabel.Nifti1Image(plane.T[..., None].astype(np.float32), np.eye(4))
    nifti.header.extensions.append(Nifti1Extension(6, b"Quetzal was here"))
    nibabel.save(nifti, tmp_path / "a.nii.gz")
    assert "give PNG files" in refusal(tmp_path / "a.nii.gz")


def test_a_synthetic_ct_is_no_drr(tmp_path):
    path = write_nifti(tmp_path / "ct.nii.gz", np.zeros((SIZE, SIZE, 1)), np.eye(4))
    with pytest.raises(InputError, match="give PNG files"):
        read(path)


@pytest.mark.parametrize(("view", "index"), [("pa", 0), ("lateral", 1)])
def test_a_plane_of_a_marked_nifti_file_of_all_views_keeps_its_values(tmp_path, plane, view, index):
    planes = np.stack([plane, plane[::-1]], axis=-1)
    image = read(planes_in_nifti(tmp_path / "two.nii.gz", planes, "chest"), view)
    same(image, planes[..., index])
    assert image.meta["computed"].geometry == "chest"


@pytest.mark.parametrize(("view", "index"), [("pa", 0), ("lateral", 1)])
@pytest.mark.parametrize("scale", [1, 4000], ids=["in [0, 1]", "beyond it"])
def test_a_plane_of_a_nifti_file_without_a_mark_is_a_film_as_in_a_picture(tmp_path, view, index, scale):
    planes = scale * np.stack([thorax((300, 300), name) for name in ("pa", "lateral")], axis=-1)
    image = read(planes_in_nifti(tmp_path / "two.nii.gz", planes), view)
    same(image, unit(planes[..., index]))
    assert image.meta["computed"] is None
    assert says(image, "assumed", "polarity")


def bad_nifti(shape, value=0.5, geometry=None):
    def make(path):
        planes_in_nifti(path, np.full(shape, value), geometry)

    return make


def coloured(path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(np.zeros((SIZE, SIZE, 2), kind), np.eye(4)), path)


def cut(path):
    noise = np.random.default_rng(0).uniform(0, 1, (SIZE, SIZE))
    whole = write_radiograph_nifti(path.with_name("whole.nii.gz"), noise, np.eye(4)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            bad_nifti((SIZE, SIZE, 2), 7.0, "chest"), "marked as DRRs, whose values lie in [0, 1]", id="range"
        ),
        pytest.param(bad_nifti((SIZE, SIZE, 2), np.nan), "are not numbers", id="NaN"),
        pytest.param(bad_nifti((SIZE, SIZE, 2)), "is constant", id="constant film"),
        pytest.param(coloured, "is a colour image", id="colours"),
        pytest.param(bad_nifti((SIZE, SIZE, 3)), "shape (64, 64, 3) is not", id="three planes"),
        pytest.param(bad_nifti((SIZE, SIZE, 1)), "give PNG files", id="one plane"),
        pytest.param(cut, "cannot be read as NIfTI, it is cut off or damaged", id="cut"),
    ],
)
def test_a_nifti_file_without_radiographs_is_refused(tmp_path, make, words):
    make(tmp_path / "bad.nii.gz")
    assert words in refusal(tmp_path / "bad.nii.gz")
