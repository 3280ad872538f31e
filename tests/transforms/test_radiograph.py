import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from conventions import InputError, View
from drr import VolumeGrid
from export import write_dicom_radiograph, write_png16, write_radiograph_nifti
from tests.transforms.films.film_files import says, stored, thorax, unit, write
from transforms import MatchFieldOfView, MatchFieldOfViewd, ReadRadiograph, ReadRadiographd

GRID = VolumeGrid((64, 64, 64), 5.0)
SIZE = 64
MADE = {"geometry": "x2ct", "curve": "plastimatch", "film": "x2ct"}
LATERAL = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}


@pytest.fixture
def pixels():
    """Two views with a bright mark at the top right of the first and the bottom left of the second."""
    views = np.full((2, SIZE, SIZE), 0.25)
    views[0, :8, -8:] = 1.0
    views[1, -8:, :8] = 0.75
    return views


def save(folder, views):
    return [
        write_png16(folder / f"{view}.png", plane, {**MADE, "view": view})
        for view, plane in zip(View, views, strict=False)
    ]


def stack(paths, size=SIZE):
    return MatchFieldOfView(GRID, size)(ReadRadiographd("image")({"image": paths})["image"])


# Computed radiographs ----------------------------------------------------------------------------------------------


def test_our_own_png_keeps_its_film_values_and_says_what_made_it(tmp_path, pixels):
    image = ReadRadiograph()(save(tmp_path, pixels)[0])
    np.testing.assert_array_equal(image.numpy()[0], (np.rint(pixels[0] * 65535) / 65535).astype(np.float32))
    computed = image.meta["computed"]
    assert computed["computed_from_ct"] is True
    assert "Not acquired" in computed["statement"]
    assert {key: computed[key] for key in MADE} == MADE
    assert computed["view"] == "pa"
    assert says(image, "found", "origin")


def test_the_same_picture_without_our_chunk_is_a_film_like_any_other(tmp_path):
    film = stored(thorax((300, 300)), 16)
    Image.fromarray(film).save(tmp_path / "a.png")
    image = ReadRadiograph()(tmp_path / "a.png")
    assert image.meta["computed"] is None
    np.testing.assert_allclose(image.numpy()[0], unit(film), atol=1e-5)


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"computed_from_ct": "yes"}', json.dumps({"geometry": "x2ct"})])
def test_a_chunk_that_does_not_say_computed_is_passed_over(tmp_path, text):
    chunk = PngInfo()
    chunk.add_text("X2CT", text)
    Image.fromarray(stored(thorax((300, 300)), 16)).save(tmp_path / "a.png", pnginfo=chunk)
    assert ReadRadiograph()(tmp_path / "a.png").meta["computed"] is None


def test_our_own_dicom_keeps_its_film_values_and_spacing(tmp_path, pixels):
    path = write_dicom_radiograph(
        tmp_path / "a.dcm",
        pixels[0],
        pixel_spacing=(430 / 64, 430 / 64),
        orientation=("L", "F"),
        view_position="PA",
        sdd=1800.0,
        source_to_patient=1600.0,
        derivation="Computed. View pa; parallel rays; geometry chest, curve water, film linear. Assumed: nothing.",
    )
    image = ReadRadiograph()(path)
    np.testing.assert_allclose(image.numpy()[0], pixels[0], atol=1e-5)
    assert image.meta["spacing"] == pytest.approx(430 / 64)
    assert image.meta["magnification"] == pytest.approx(1.125)
    expected = {"computed_from_ct": True, "view": "pa", "geometry": "chest", "curve": "water", "film": "linear"}
    assert image.meta["computed"] == expected
    assert not image.meta["record"].doubts


def test_our_own_nifti_and_its_sidecar(tmp_path, pixels):
    path = write_radiograph_nifti(
        tmp_path / "a.nii.gz", pixels[0], np.eye(4), {**MADE, "name": "pa", "ct": "Quetzal.nii"}
    )
    image = ReadRadiograph()(path)
    np.testing.assert_allclose(image.numpy()[0], pixels[0], atol=1e-6)
    assert {key: image.meta["computed"][key] for key in MADE} == MADE
    assert "ct" not in image.meta["computed"]


@pytest.mark.parametrize(("view", "index"), [("pa", 0), ("lateral", 1)])
def test_a_plane_of_a_nifti_file_of_all_views(tmp_path, pixels, view, index):
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(pixels, 0, -1).astype(np.float32), np.eye(4)), tmp_path / "two.nii.gz")
    image = ReadRadiograph(view)(tmp_path / "two.nii.gz")
    np.testing.assert_allclose(image.numpy()[0], pixels[index], atol=1e-6)
    assert image.meta["computed"] == {"computed_from_ct": True}


# Pairs -------------------------------------------------------------------------------------------------------------

PA_FILM, LATERAL_FILM = (stored(thorax((500, 400), view)) for view in View)
SPACING = {"ImagerPixelSpacing": [0.8, 0.8]}


def pair(tmp_path, first, second):
    paths = [
        write(tmp_path / "1.dcm", first[0], **SPACING, **first[1]),
        write(tmp_path / "2.dcm", second[0], **SPACING, **second[1]),
    ]
    return ReadRadiographd("image")({"image": paths})["image"]


def test_a_pair_is_a_list_in_the_order_asked_for(tmp_path):
    films = pair(tmp_path, (PA_FILM, {}), (LATERAL_FILM, LATERAL))
    for film, view, written in zip(films, View, (PA_FILM, LATERAL_FILM), strict=True):
        assert film.meta["view"] == view
        assert not film.meta["record"].doubts
        np.testing.assert_allclose(film.numpy()[0], unit(written), atol=1e-5)


def test_41_a_pair_given_the_wrong_way_is_exchanged(tmp_path):
    mirrored = {"ViewPosition": "LL", "PatientOrientation": ["A", "F"]}
    films = pair(tmp_path, (LATERAL_FILM[:, ::-1], mirrored), (PA_FILM, {}))
    for film, view, written in zip(films, View, (PA_FILM, LATERAL_FILM), strict=True):
        assert film.meta["view"] == view
        assert says(film, "doubt", "view", "the two were exchanged")
        np.testing.assert_allclose(film.numpy()[0], unit(written), atol=1e-5)


def test_41_two_films_of_one_view_are_doubted(tmp_path):
    films = pair(tmp_path, (PA_FILM, {}), (PA_FILM, {}))
    assert all(says(film, "doubt", "view", "both films say that they are pa") for film in films)


def test_41_computed_radiographs_given_the_wrong_way_are_exchanged(tmp_path, pixels):
    image = stack(save(tmp_path, pixels)[::-1])
    np.testing.assert_allclose(image.numpy(), pixels, atol=1e-5)


def test_options_reach_the_files(tmp_path):
    path = write(tmp_path / "a.dcm", PA_FILM)
    (film,) = ReadRadiographd("image", views=["pa"], invert=True, spacing=0.2)({"image": path})["image"]
    np.testing.assert_allclose(film.numpy()[0], 1 - unit(PA_FILM), atol=1e-5)
    assert film.meta["spacing"] == 0.2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ReadRadiograph("oblique"), "unknown view 'oblique': choose one of pa, lateral"),
        (lambda: ReadRadiograph(spacing=-1), "spacing is mm per pixel"),
        (lambda: ReadRadiographd("image", views=["ap"]), "unknown view 'ap'"),
    ],
)
def test_what_cannot_be_asked_for(make, words):
    with pytest.raises(InputError, match=words):
        make()


# Stacking ----------------------------------------------------------------------------------------------------------


def test_a_stack_has_the_affine_of_the_grid(tmp_path, pixels):
    image = stack(save(tmp_path, pixels))
    assert image.dtype == torch.float32
    np.testing.assert_allclose(image.numpy(), pixels, atol=0.5 / 65535 + 1e-6)
    np.testing.assert_array_equal(image.affine.numpy(), GRID.affine())
    assert tuple(image.meta["spatial_shape"]) == GRID.shape


def test_one_two_plane_nifti_is_the_same(tmp_path, pixels):
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(pixels, 0, -1).astype(np.float32), np.eye(4)), tmp_path / "two.nii.gz")
    item = ReadRadiographd("image")({"image": str(tmp_path / "two.nii.gz"), "model": "x2ct"})
    np.testing.assert_allclose(MatchFieldOfViewd("image", GRID, SIZE)(item)["image"].numpy(), pixels, atol=1e-6)


def test_other_sizes_are_resampled(tmp_path, pixels):
    image = stack(save(tmp_path, pixels.repeat(3, axis=1).repeat(3, axis=2)))
    assert image.shape == (2, SIZE, SIZE)
    assert abs(float(image[0, 2, -3]) - 1.0) < 1e-3
    assert abs(float(image[1, -3, 2]) - 0.75) < 1e-3


def case(tmp_path, pixels, kind):
    good = save(tmp_path, pixels)[0]
    if kind == "missing":
        return [good, tmp_path / "absent.png"]
    if kind == "one view":
        return [good]
    if kind == "three views":
        return [good] * 3
    if kind == "oblong":
        write_png16(tmp_path / "bad.png", pixels[0][:32], MADE)
    if kind == "garbage":
        (tmp_path / "bad.png").write_bytes(b"no picture")
    if kind in ("range", "shape", "one plane"):
        data = np.full((SIZE, SIZE, {"range": 2, "shape": 3, "one plane": 1}[kind]), 7.0, np.float32)
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "bad.nii.gz")
        return [tmp_path / "bad.nii.gz"]
    if kind == "cut":
        noise = np.random.default_rng(0).uniform(0, 1, (SIZE, SIZE))
        whole = write_radiograph_nifti(tmp_path / "whole.nii.gz", noise, np.eye(4)).read_bytes()
        (tmp_path / "bad.nii.gz").write_bytes(whole[: len(whole) // 2])
        return [tmp_path / "bad.nii.gz"]
    return [good, tmp_path / "bad.png"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "there is no such file"),
        ("one view", r"1 radiograph\(s\), this model needs 2 \(pa, lateral\)"),
        ("three views", r"3 radiograph\(s\), this model needs 2 \(pa, lateral\)"),
        ("oblong", "32 x 64 pixels are not square"),
        ("garbage", "is a text file"),
        ("range", r"lie in \[0, 1\]"),
        ("shape", r"shape \(64, 64, 3\) is not"),
        ("one plane", "give PNG files"),
        ("cut", "cannot be read as NIfTI, it is cut off or damaged"),
    ],
)
def test_what_is_no_radiograph_is_refused(tmp_path, pixels, kind, words):
    with pytest.raises(InputError, match=words) as caught:
        stack(case(tmp_path, pixels, kind))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
