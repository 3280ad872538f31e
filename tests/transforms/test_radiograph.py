import numpy as np
import pytest
from PIL import Image

from conventions import InputError, View
from export import write_png16
from tests.readers.radiographs.film_files import planes_in_nifti, says, stored, thorax, unit, write
from transforms import ReadRadiograph, ReadRadiographd

LATERAL = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}

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


def test_a_pair_in_the_wrong_order_is_exchanged(tmp_path):
    mirrored = {"ViewPosition": "LL", "PatientOrientation": ["A", "F"]}
    films = pair(tmp_path, (LATERAL_FILM[:, ::-1], mirrored), (PA_FILM, {}))
    for film, view, written in zip(films, View, (PA_FILM, LATERAL_FILM), strict=True):
        assert film.meta["view"] == view
        assert says(film, "doubt", "view", "the two were exchanged")
        np.testing.assert_allclose(film.numpy()[0], unit(written), atol=1e-5)


def test_two_films_of_one_view_are_doubted(tmp_path):
    films = pair(tmp_path, (PA_FILM, {}), (LATERAL_FILM, {}))
    assert all(says(film, "doubt", "view", "both films say that they are pa") for film in films)


def test_one_file_given_for_both_views_is_refused(tmp_path):
    path = write(tmp_path / "a.dcm", PA_FILM, ViewPosition=None, PatientOrientation=None)
    with pytest.raises(InputError, match=r"a\.dcm: is given as pa and as lateral; give two different films"):
        ReadRadiographd("image")({"image": [path, path]})


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(lambda path, image: image.save(path), id="the same pixels"),
        pytest.param(lambda path, image: image.save(path, quality=60), id="as JPEG"),
        pytest.param(lambda path, image: image.resize((313, 400)).save(path), id="smaller"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_copy_of_a_film_given_for_the_other_view_is_refused(tmp_path, copy, suffix):
    image = Image.fromarray(stored(thorax((500, 400)), 8).astype(np.uint8))
    image.save(tmp_path / "a.png")
    copy(tmp_path / f"b{suffix}", image)
    with pytest.raises(InputError, match=rf"a\.png and .*b\{suffix}: are one film, given as pa and as lateral"):
        ReadRadiographd("image")({"image": [tmp_path / "a.png", tmp_path / f"b{suffix}"]})


def test_planes_of_a_file_that_are_one_film_are_refused(tmp_path):
    planes = np.stack([thorax((300, 300))] * 2, -1)
    with pytest.raises(InputError, match=r"two\.nii: is given as pa and as lateral"):
        ReadRadiographd("image")({"image": planes_in_nifti(tmp_path / "two.nii", planes)})


def test_drrs_that_are_the_same_from_both_sides_are_read(tmp_path):
    plane = np.full((64, 64), 0.5)
    paths = [write_png16(tmp_path / f"{view}.png", plane, {"view": view}) for view in View]
    assert len(ReadRadiographd("image")({"image": paths})["image"]) == 2


def test_real_pairs_are_not_taken_for_one_film(real_data):
    folder = real_data / "restricted" / "xray"
    frontal = {file.name.split("_")[1]: file for file in sorted((folder / "frontal").glob("*.png"))}
    pairs = [
        (frontal[key], file)
        for file in sorted((folder / "lateral").glob("*.png"))
        if (key := file.name.split("_")[1]) in frontal
    ]
    assert len(pairs) > 15
    for paths in pairs:
        ReadRadiographd("image")({"image": paths})


def test_options_reach_the_files(tmp_path):
    path = write(tmp_path / "a.dcm", PA_FILM)
    (film,) = ReadRadiographd("image", views=["pa"], invert=True, spacing=0.2)({"image": path})["image"]
    np.testing.assert_allclose(film.numpy()[0], 1 - unit(PA_FILM), atol=1e-5)
    assert film.meta["spacing"] == 0.2


def test_drrs_in_the_wrong_order_are_exchanged(tmp_path):
    planes = np.random.default_rng(0).random((2, 64, 64))
    paths = [
        write_png16(tmp_path / f"{view}.png", plane, {"view": view}) for view, plane in zip(View, planes, strict=True)
    ]
    films = ReadRadiographd("image")({"image": paths[::-1]})["image"]
    for film, view, plane in zip(films, View, planes, strict=True):
        assert film.meta["view"] == view
        np.testing.assert_allclose(film.numpy()[0], plane, atol=1e-5)


def session(folder):
    """Two DICOM films under names that say nothing, as a server stores what was sent."""
    folder.mkdir()
    write(folder / "tmp8a", LATERAL_FILM, **SPACING, **LATERAL)
    write(folder / "tmp9b", PA_FILM, **SPACING)
    return folder


@pytest.mark.parametrize("given", [lambda folder: folder, lambda folder: [str(folder)], lambda folder: [folder] * 2])
def test_a_folder_of_the_films_that_are_needed_is_a_pair(tmp_path, given):
    films = ReadRadiographd("image")({"image": given(session(tmp_path / "study"))})["image"]
    for film, view, written in zip(films, View, (PA_FILM, LATERAL_FILM), strict=True):
        assert film.meta["view"] == view
        assert not film.meta["record"].doubts
        np.testing.assert_allclose(film.numpy()[0], unit(written), atol=1e-5)


@pytest.mark.parametrize(("view", "written"), zip(View, (PA_FILM, LATERAL_FILM), strict=True))
def test_the_film_of_one_view_is_found_in_a_folder(tmp_path, view, written):
    film = ReadRadiograph(view)(session(tmp_path / "study"))
    np.testing.assert_allclose(film.numpy()[0], unit(written), atol=1e-5)


def test_the_only_film_in_a_folder_is_taken_for_the_view_that_is_asked(tmp_path):
    write(tmp_path / "IM0", PA_FILM, ViewPosition=None, PatientOrientation=None)
    film = ReadRadiograph("lateral")(tmp_path)
    assert says(film, "assumed", "view", "not stated; taken for lateral as asked")


def test_a_folder_of_other_films_than_are_needed_is_refused(tmp_path):
    folder = session(tmp_path / "study")
    write(folder / "tmp9c", PA_FILM)
    with pytest.raises(InputError, match=r"study: holds 2 pa films, such as tmp9c; leave one of them"):
        ReadRadiographd("image")({"image": folder})
    (folder / "tmp9b").unlink()
    (folder / "tmp9c").unlink()
    write(folder / "tmp7.dcm", PA_FILM, ViewPosition=None, PatientOrientation=None)
    sentence = r"study: holds no film whose name or DICOM tags state the view pa \(1 may be films, such as tmp7.dcm\)"
    with pytest.raises(InputError, match=sentence):
        ReadRadiographd("image")({"image": folder})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no film whose name or DICOM tags state the view pa; name such"):
        ReadRadiographd("image")({"image": tmp_path / "empty"})


@pytest.mark.parametrize(
    ("count", "words"),
    [
        pytest.param(1, r"1 radiograph\(s\), this model needs 2 \(pa, lateral\)", id="one film"),
        pytest.param(3, r"3 radiograph\(s\), this model needs 2 \(pa, lateral\)", id="three films"),
    ],
)
def test_another_number_of_films_is_refused(tmp_path, count, words):
    path = write_png16(tmp_path / "pa.png", np.zeros((64, 64)))
    with pytest.raises(InputError, match=words) as caught:
        ReadRadiographd("image")({"image": [path] * count})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            lambda: ReadRadiograph("oblique"), "unknown view 'oblique': choose one of pa, lateral", id="unknown view"
        ),
        pytest.param(lambda: ReadRadiograph(spacing=-1), "spacing is in mm per pixel", id="negative spacing"),
        pytest.param(lambda: ReadRadiographd("image", views=["ap"]), "unknown view 'ap'", id="unknown views"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
