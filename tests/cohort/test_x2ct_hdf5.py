"""The authors' HDF5 files: read into a cohort, written from one, and refused where they are not what they seem."""

import json
import subprocess
import sys

import h5py
import jsonschema
import nibabel
import numpy as np
import pytest
from PIL import Image

from cohort import cohort_to_hdf5, load_datalist, split_cohort, thorax_phantom, validate_cohort
from cohort.phantoms import write_phantoms
from cohort.prepare import PrepareOptions, prepare_cohort
from cohort.prepare.hdf5 import read_hdf5_case
from cohort.x2ct_hdf5 import cast_radiographs
from conventions import PHANTOM_NOTE, SYNTHETIC_NOTE, InputError
from tests.oracle import random_state

CASE = "LIDC-IDRI-0001.20000101.30178.1"


@pytest.fixture(scope="module")
def stored():
    """A phantom as the authors store a CT, 64 voxels of 5 mm per side, and two images of whole numbers."""
    ct = np.rint(thorax_phantom(3, (64, 64, 64), 5.0).volume_hu).astype(np.int16) + np.int16(1024)
    images = [random_state(f"xray{n}").randint(0, 256, (64, 64)).astype(np.uint8) for n in (1, 2)]
    return {"ct": ct, "xray1": images[0], "xray2": images[1]}


def write(folder, content, case=CASE):
    file = folder / case / "ct_xray_data.h5"
    file.parent.mkdir(parents=True)
    with h5py.File(file, "w") as made:
        for name, array in content.items():
            made[name] = array
    return file


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_a_case_becomes_a_ct_where_its_values_say(stored, tmp_path, dtype):
    write(tmp_path / "source", {**stored, "ct": stored["ct"].astype(dtype), "ori_size": 320, "spacing": np.ones(3)})
    made = prepare_cohort(tmp_path / "source", tmp_path / "cohort")
    assert not made.refused
    (case,) = made.cases
    assert case["case"] == CASE
    image = nibabel.load(tmp_path / "cohort" / case["ct"])
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    # RAS against (D, H, W) to the feet, the back and the left: every axis runs the other way.
    expected = np.maximum(stored["ct"][::-1, ::-1, ::-1].transpose(2, 1, 0) - 1024, -1024)
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
    np.testing.assert_array_equal(image.affine[:3], np.c_[np.eye(3) * 5, [-157.5] * 3])  # the cube's centre at 0
    for view, name in (("pa", "xray1"), ("lateral", "xray2")):
        picture = np.asarray(Image.open(tmp_path / "cohort" / case["radiographs"][view]), dtype=float)
        np.testing.assert_array_equal(picture / 257, stored[name])
    texts = " ".join(one["text"] for one in case["decisions"])
    assert f"the CT is {np.dtype(dtype)}, the radiographs are uint8" in texts
    assert "1024 is subtracted" in texts


def test_the_cohort_is_one_that_everything_reads(stored, tmp_path, root):
    for number in range(3):
        write(
            tmp_path / "source", {**stored, "ct": np.roll(stored["ct"], number, 1)}, f"LIDC-IDRI-000{number}.1.{number}"
        )
    made = prepare_cohort(tmp_path / "source", tmp_path / "cohort", PrepareOptions(licence="CC BY 3.0"))
    assert validate_cohort(made.manifest) == []
    manifest = json.loads(made.manifest.read_text())
    jsonschema.validate(manifest, json.loads((root / "cohort" / "prepare" / "schema.json").read_text()))
    assert {case["spacing"] for case in manifest["cases"]} == {5.0}
    assert len(load_datalist(made.manifest, "train")) == 1
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "cohort").rglob("*") if file.is_file()}
    prepare_cohort(tmp_path / "source", tmp_path / "cohort", PrepareOptions(licence="CC BY 3.0"))
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cohort").rglob("*") if file.is_file()} == stamps


def test_a_changed_case_is_read_again_and_the_earlier_is_kept(stored, tmp_path):
    file = write(tmp_path / "source", stored)
    first = prepare_cohort(tmp_path / "source", tmp_path / "cohort").cases[0]["sha256"]
    with h5py.File(file, "a") as content:
        content["ct"][...] = np.roll(stored["ct"], 2, 1)
    assert prepare_cohort(tmp_path / "source", tmp_path / "cohort").cases[0]["sha256"] != first
    assert len(list((tmp_path / "cohort" / "cases").iterdir())) == 2
    assert len(list((tmp_path / "cohort" / "radiographs").iterdir())) == 4


def test_one_bad_case_does_not_stop_the_rest(stored, tmp_path, root):
    write(tmp_path / "source", stored)
    bad = write(tmp_path / "source", {**stored, "ct": stored["ct"] * 0 + 500}, "bad")
    (tmp_path / "source" / "text.h5").write_text("neither")
    command = [sys.executable, "-m", "cohort", "prepare", tmp_path / "source", tmp_path / "cohort"]
    done = subprocess.run([*map(str, command)], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert f"refused: {bad}: " in done.stdout
    assert "not a chest CT in Hounsfield units" in done.stdout
    assert "text.h5: cannot be read as HDF5 (" in done.stdout
    assert "2 refused" in done.stdout
    assert sorted(file.name for file in (tmp_path / "cohort" / "cases").iterdir()) == [f"{CASE}.nii.gz"]
    assert not list((tmp_path / "cohort").rglob(".*"))


def changed(**arrays):
    return lambda stored: {**stored, **{name: change(stored) for name, change in arrays.items()}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda s: {"ct": s["ct"]}, r"holds no xray1, but ct; give the authors' files", id="missing"),
        pytest.param(changed(ct=lambda s: s["ct"][0]), r"its ct has the shape \(64, 64\), where 3 axes", id="rank"),
        pytest.param(changed(ct=lambda s: s["ct"][1:]), r"shape \(63, 64, 64\), where a cube", id="no cube"),
        pytest.param(changed(ct=lambda s: s["ct"] - 1024), r"so it holds HU, where HU \+ 1024", id="HU"),
        pytest.param(changed(ct=lambda s: np.full((9, 9, 9), b"a")), r"its ct holds \|S1, where numbers", id="text"),
        pytest.param(changed(ct=lambda s: s["ct"] * np.nan), "its ct holds values that are not finite", id="NaN"),
        pytest.param(changed(ct=lambda s: np.zeros((0, 9, 9))), r"shape \(0, 9, 9\)", id="empty"),
        pytest.param(changed(xray1=lambda s: s["xray1"] / 255), "xray1 runs from 0 to 1, where 0 to 255", id="to one"),
        pytest.param(changed(xray2=lambda s: s["xray2"] * 16.0), "xray2 runs from 0 to 4080", id="12 bit"),
        pytest.param(changed(xray2=lambda s: np.ones((64, 64, 3))), r"its xray2 has the shape \(64, 64, 3\)", id="RGB"),
        pytest.param(changed(xray2=lambda s: s["xray2"][1:]), "its radiographs have the shapes", id="two shapes"),
        pytest.param(changed(ct=lambda s: h5py.SoftLink("/nowhere")), "its ct is a link to", id="soft link"),
        pytest.param(changed(ct=lambda s: h5py.ExternalLink("/etc/passwd", "ct")), "its ct is a link", id="external"),
    ],
)  # fmt: skip
def test_what_is_not_such_a_case(stored, tmp_path, change, words):
    file = write(tmp_path, change(stored))
    with pytest.raises(InputError, match=words) as caught:
        read_hdf5_case(file)
    assert str(file) in str(caught.value)


def test_groups_huge_arrays_and_arrays_elsewhere(stored, tmp_path):
    for number, (make, words) in enumerate(
        [
            (lambda content: content.create_group("ct"), "its ct is a group"),
            (lambda content: content.create_dataset("ct", (100000,) * 3, "f8", chunks=True), "100000, 100000, 100000"),
            (
                lambda content: content.create_dataset("ct", (64,) * 3, "i2", external=[("raw.bin", 0, 64**3 * 2)]),
                "its ct lies in another file",
            ),
        ]
    ):
        file = write(tmp_path, {"xray1": stored["xray1"], "xray2": stored["xray2"]}, str(number))
        with h5py.File(file, "a") as content:
            make(content)
        with pytest.raises(InputError, match=words):
            read_hdf5_case(file)


def test_damaged_files(stored, tmp_path):
    file = write(tmp_path, stored)
    whole = file.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as HDF5 \(.*\); copy or unpack it again"):
            read_hdf5_case(file)
    file.unlink()
    with pytest.raises(InputError, match="holds no CT"):
        prepare_cohort(tmp_path, tmp_path / "cohort")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A cohort of a phantom of 5 mm, of a predicted CT, and their HDF5 files."""
    folder = tmp_path_factory.mktemp("phantoms")
    _, predicted, _ = write_phantoms(folder, 3, size=64, workers=1)
    image = nibabel.load(predicted)
    image.header["descrip"] = SYNTHETIC_NOTE.encode()
    voxels = np.asarray(image.dataobj)
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), predicted)
    turned = nibabel.Nifti1Image(voxels, _turned(20) @ image.affine)
    nibabel.save(turned, folder / "phantom_0002.nii.gz")
    manifest = split_cohort(folder, test=1, validation=0)
    files, refused = cohort_to_hdf5(manifest, folder / "hdf5")
    return manifest, files, refused


def _turned(degrees):
    turn = np.eye(4)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[:2, :2] = [[c, -s], [s, c]]
    return turn


def test_a_cohort_is_written(exported):
    manifest, files, refused = exported
    assert [file.parent.name for file in files] == ["phantom_0000"]
    assert "is a CT predicted from radiographs" in refused[0][1]
    assert "its axes lean; straighten it" in refused[1][1]
    fold = json.loads(manifest.read_text())["cases"][0]["fold"]
    assert (files[0].parents[1] / f"{fold}.txt").read_text() == "phantom_0000\n"
    with h5py.File(files[0]) as content:
        assert content["ct"].shape == (256, 256, 256)
        assert content["xray1"].shape == content["xray2"].shape == (256, 256)
        assert {content[name].dtype for name in ("ct", "xray1", "xray2")} == {np.dtype("float32")}
        assert content["ori_size"][()].tolist() == [320] * 3
        assert content["spacing"][()].tolist() == [1] * 3
        ct = content["ct"][()]
        assert content["xray1"][()].max() == 255
    # The same anatomy, computed on a finer grid; both in blocks of 5 mm.
    fine = thorax_phantom(0, (128, 128, 128), 2.5).volume_hu
    blocks = (ct - 1024).reshape(64, 4, 64, 4, 64, 4).mean((1, 3, 5))
    coarse = fine.reshape(64, 2, 64, 2, 64, 2).mean((1, 3, 5))
    assert np.corrcoef(blocks.ravel(), coarse.ravel())[0, 1] > 0.98
    assert np.corrcoef(blocks[:, :, ::-1].ravel(), coarse.ravel())[0, 1] < 0.97  # mirrored


def test_a_second_run_keeps_what_is_there(exported):
    manifest, files, _ = exported
    stamps = [file.stat().st_mtime_ns for file in files]
    again, _ = cohort_to_hdf5(manifest, files[0].parents[1])
    assert [file.stat().st_mtime_ns for file in again] == stamps
    assert len(list(files[0].parent.iterdir())) == 1


@pytest.mark.slow
def test_there_and_back(exported, tmp_path):
    file = exported[1][0]
    made = prepare_cohort(file.parents[1], tmp_path / "cohort")
    assert made.cases[0]["phantom"]
    assert nibabel.load(tmp_path / "cohort" / made.cases[0]["ct"]).header["descrip"].item().decode() == PHANTOM_NOTE
    (back,), refused = cohort_to_hdf5(made.manifest, tmp_path / "hdf5")
    assert not refused
    with h5py.File(file) as first, h5py.File(back) as second:
        np.testing.assert_array_equal(second["xray1"], first["xray1"])
        np.testing.assert_array_equal(second["xray2"], first["xray2"])
        np.testing.assert_array_equal(second["ct"], np.rint(np.clip(first["ct"], 0, 4095)))


def test_drrs_lie_as_in_the_authors_program(oracle):
    readings = json.loads((oracle / "x2ct" / "orientation.json").read_text())
    pixel, magnification = 500 / 320, 949 / 541
    shift = (159.5 - readings["z_plus_xray1"]["row"]) * pixel / magnification
    slip = 0.5 * magnification / pixel  # of the isocentre, which was not in the readings
    place = np.arange(64) * 5.0 - 157.5
    towards = {"x": (0, 0, shift), "y": (0, shift, 0), "z": (-shift, 0, 0)}  # (D, H, W)
    for axis, centre in towards.items():
        d, h, w = (np.exp(-((place - c) ** 2) / (2 * 8.0**2)) for c in centre)
        marker = (1500 * d[:, None, None] * h[None, :, None] * w[None, None, :]).astype(np.float32)
        for number, image in enumerate(cast_radiographs(marker).values(), start=1):
            reading = readings[f"{axis}_plus_xray{number}"]
            rows, columns = (np.arange(256) + 0.5) * 320 / 256 - 0.5, (np.arange(256) + 0.5) * 320 / 256 - 0.5
            assert (image.sum(1) @ rows) / image.sum() == pytest.approx(reading["row"] - slip, abs=0.4)
            assert (image.sum(0) @ columns) / image.sum() == pytest.approx(reading["col"], abs=0.4)


def test_drrs_show_what_the_authors_program_shows(oracle):
    mapped = json.loads((oracle / "x2ct" / "hu_map.json").read_text())["mu_per_mm_relative_to_water"]
    stored = np.zeros((64, 64, 64), np.float32)
    for column, hu in ((16, -800), (32, -700), (48, 0)):
        stored[24:40, 24:40, column - 4 : column + 4] = hu + 1000  # their ray casting subtracts 1000
    pa = cast_radiographs(stored)["pa"]
    middle = pa[120:136]
    found = {hu: middle[:, column - 3 : column + 3].max() / 255 for hu, column in ((-800, 71), (-700, 128), (0, 185))}
    assert found[-800] == mapped["-800"]
    assert found[-700] == pytest.approx(mapped["-700"], abs=0.03)
    assert found[0] == pytest.approx(1, abs=0.03)
