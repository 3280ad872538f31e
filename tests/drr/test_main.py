import json
import subprocess
import sys

import itk
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from conventions import DRR_STATEMENT, InputError, read_mark
from drr import ConeBeam, VolumeGrid, from_dicom_tags, hu_to_mu, preset, project, to_film
from drr.__main__ import render
from transforms import ReadRadiograph

AFFINE = np.diag([-2.5, -2.5, 2.5, 1.0])  # LPS axes: x to the left, y to the back
AFFINE[:3, 3] = [50, 60, -70]


@pytest.fixture
def ct(write_ct, asymmetric_thorax):
    """The thorax with its axes to the left, the back and the head, somewhere off the origin."""
    return write_ct(asymmetric_thorax[::-1, ::-1].copy(), AFFINE)


def pixels(path):
    return np.asarray(Image.open(path)) / 65535


def test_pixels_are_those_of_the_projector(tmp_path, ct, asymmetric_thorax):
    render(str(ct), str(tmp_path / "out"), curve="bone", film_style="logistic", detector_shape="48,40")
    # RAS (x, y, z) to (D, H, W): to the feet, the back and the left.
    volume_hu = torch.from_numpy(asymmetric_thorax[::-1, ::-1, ::-1].transpose(2, 1, 0).copy())
    mu = hu_to_mu(volume_hu, "bone")[None, None]
    expected = to_film(project(mu, VolumeGrid((60, 60, 60), 2.5), preset("chest", (48, 40))), "logistic")[0]
    for name, image in zip(("pa", "lateral"), expected.numpy(), strict=True):
        np.testing.assert_allclose(pixels(tmp_path / "out" / f"{name}.png"), image, atol=2e-5)
        nifti = nibabel.load(tmp_path / "out" / f"{name}.nii.gz").get_fdata()
        np.testing.assert_allclose(nifti[..., 0].T, image, atol=1e-5)
        dataset = pydicom.dcmread(tmp_path / "out" / f"{name}.dcm")
        np.testing.assert_allclose(dataset.pixel_array / 65535, image, atol=2e-5)


def test_the_mark_at_the_left_front_and_head(tmp_path, write_ct, asymmetric_thorax):
    mark = np.where(asymmetric_thorax > 500, 3000, -1000).astype(np.float32)
    mark[20:34, 20:34, 20:34] = 40  # some tissue, darker than the mark
    path = write_ct(mark[::-1, ::-1].copy(), AFFINE)
    render(str(path), str(tmp_path), views="pa,ap,lateral,right_lateral", angles="0,90", detector_shape=64)
    for name in ("pa", "ap", "lateral", "right_lateral", "oblique_0", "oblique_90"):
        image = pixels(tmp_path / f"{name}.png")
        row, column = np.argwhere(image > 0.8 * image.max()).mean(axis=0)
        assert row < 28  # head up
        left_or_front = column < 28 if "lateral" in name or name == "oblique_90" else column > 36
        assert left_or_front, name
    np.testing.assert_array_equal(pixels(tmp_path / "pa.png"), pixels(tmp_path / "oblique_0.png"))


def test_sidecar_and_dicom_tell_the_geometry(tmp_path, ct):
    render(str(ct), str(tmp_path / "out"), views="lateral", angles=45, preset="x2ct", detector_shape=32)
    sidecar = json.loads((tmp_path / "out" / "lateral.json").read_text())
    view = preset("x2ct", (32, 32))[1]
    assert ConeBeam(**sidecar["view"]) == view
    assert sidecar["ct"] == "ct.nii.gz"
    assert [sidecar[key] for key in ("geometry", "curve", "film_style")] == ["x2ct", "water", "linear"]
    assert "not acquired" in sidecar["statement"].lower()
    assert len(sidecar["assumed"]) == 3
    centre_lps = np.array([-50, -60, -70]) + 2.5 * 29.5
    np.testing.assert_allclose(sidecar["isocentre_in_the_scan_lps_mm"], centre_lps, atol=1e-4)
    # The middle of the NIfTI image lies at the detector's centre, seen from the scan's own frame.
    affine = nibabel.load(tmp_path / "out" / "lateral.nii.gz").affine
    middle_lps = (affine @ [15.5, 15.5, 0, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(middle_lps, centre_lps + view.detector_centre, atol=1e-3)

    dataset = pydicom.dcmread(tmp_path / "out" / "lateral.dcm")
    assert from_dicom_tags(dataset)[0] == view
    assert dataset.ViewPosition == "RL"
    assert dataset.PatientOrientation == ["P", "F"]
    assert "curve water" in dataset.DerivationDescription
    assert dataset.DerivationDescription.startswith(DRR_STATEMENT)
    assert "ct.nii" not in str(dataset)
    oblique = pydicom.dcmread(tmp_path / "out" / "oblique_45.dcm")
    assert oblique.PatientOrientation == ["LP", "F"]
    assert "ViewPosition" not in oblique
    assert oblique.StudyInstanceUID == dataset.StudyInstanceUID


def test_every_file_says_what_made_it(tmp_path, ct):
    render(str(ct), str(tmp_path / "out"), views="right_lateral", detector_shape=16)
    with Image.open(tmp_path / "out" / "right_lateral.png") as image:
        mark = read_mark(image.text["X2CT"])
    assert (mark.kind, mark.made_of, mark.view) == ("computed_radiograph", "ct", "right_lateral")
    assert (mark.geometry, mark.curve, mark.film_style) == ("chest", "water", "linear")
    for suffix in (".png", ".nii.gz", ".dcm"):
        film = ReadRadiograph("lateral")(tmp_path / "out" / f"right_lateral{suffix}")
        assert film.meta["computed"] == mark
        assert not film.meta["record"].doubts


def test_an_image_of_itk_gives_the_same(tmp_path, ct, asymmetric_thorax):
    render(str(ct), str(tmp_path / "nifti"), views="pa", detector_shape=32)
    image = itk.image_from_array(np.ascontiguousarray(asymmetric_thorax[::-1, ::-1].transpose(2, 1, 0)))
    image.SetSpacing([2.5] * 3)
    itk.imwrite(image, str(tmp_path / "ct.nrrd"))
    render(str(tmp_path / "ct.nrrd"), str(tmp_path / "nrrd"), views="pa", detector_shape=32)
    np.testing.assert_allclose(pixels(tmp_path / "nrrd/pa.png"), pixels(tmp_path / "nifti/pa.png"), atol=2e-5)


def test_the_grid_holds_the_whole_scan(tmp_path, write_ct, asymmetric_thorax):
    turned = asymmetric_thorax.transpose(2, 0, 1)[:, :50]  # the file's axes: z, x, y
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 4, 2.5, 3, 1
    path = write_ct(np.ascontiguousarray(turned), affine)
    render(str(path), str(tmp_path / "own"), views="parallel_pa", detector_shape=64)
    sidecar = json.loads((tmp_path / "own" / "parallel_pa.json").read_text())
    assert sidecar["spacing_mm"] == 2.5
    seen = pixels(tmp_path / "own" / "parallel_pa.png") > 0
    height, width = np.array(sidecar["field_at_isocentre_mm"]) * [seen.any(axis=1).mean(), seen.any(axis=0).mean()]
    assert height == pytest.approx(60 * 4, abs=10)
    assert width == pytest.approx(44 * 2.5, abs=10)  # the body; the air next to it shows nothing
    render(str(path), str(tmp_path / "coarse"), views="parallel_pa", detector_shape=64, spacing=5)
    assert json.loads((tmp_path / "coarse" / "parallel_pa.json").read_text())["spacing_mm"] == 5
    difference = pixels(tmp_path / "coarse/parallel_pa.png") - pixels(tmp_path / "own/parallel_pa.png")
    assert np.abs(difference).mean() < 0.02


def test_a_second_run_keeps_the_first(tmp_path, ct):
    out = tmp_path / "out"
    for _ in range(2):
        render(str(ct), str(out), views="pa", detector_shape=16)
    stamps = {path.name.split(".")[0].split("_", 1)[1] for path in out.iterdir() if "_" in path.name}
    assert len(stamps) == 1
    assert len(list(out.iterdir())) == 10
    assert sorted(p.name for p in out.iterdir() if "_" not in p.name) == [
        "check.png",
        "pa.dcm",
        "pa.json",
        "pa.nii.gz",
        "pa.png",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"views": "pa,front"}, "unknown view 'front'", id="view"),
        pytest.param({"views": ""}, "no view is asked for", id="no view"),
        pytest.param({"preset": "abdomen"}, "unknown geometry", id="preset"),
        pytest.param({"curve": "steel"}, "unknown attenuation curve", id="curve"),
        pytest.param({"film_style": "sepia"}, "unknown film style", id="film style"),
        pytest.param({"angles": "45,left"}, "--angles must be numbers", id="angles"),
        pytest.param({"spacing": 0}, "--spacing must be positive", id="no spacing"),
        pytest.param({"spacing": "fine"}, "--spacing must be numbers", id="spacing"),
        pytest.param({"detector_shape": "large"}, "--detector_shape must be numbers", id="detector shape"),
        pytest.param({"detector_shape": ""}, "shape must be two positive integers", id="no detector shape"),
        pytest.param(
            {"detector_shape": (1, 2, 3)},
            r"shape must be two positive integers \(rows, columns\), got \(1, 2, 3\)",
            id="three sides",
        ),
        pytest.param({"spacing": 0.01}, "a grid of 15000 x 15000 x 15000 voxels is larger", id="fine spacing"),
        pytest.param({"spacing": 1e-9}, "a grid of 150000000000 x .* voxels is larger", id="finer spacing"),
        pytest.param({"spacing": "inf"}, "--spacing must be numbers", id="endless spacing"),
        pytest.param({"detector_shape": "inf,3"}, "--detector_shape must be numbers", id="endless detector"),
        pytest.param(
            {"detector_shape": 200000}, "200000 x 200000 pixels is larger than 8192 x 8192", id="large detector"
        ),
        pytest.param({"device": "cuda:99"}, "device 'cuda:99' is not", id="device"),
    ],
)
def test_bad_options_end_in_a_sentence(tmp_path, ct, options, words):
    with pytest.raises(InputError, match=words):
        render(str(ct), str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, ct):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        render(str(ct), str(tmp_path / "out"))


@pytest.mark.slow
def test_the_command_ends_in_one_sentence(tmp_path, root):
    command = [sys.executable, "-m", "drr", str(tmp_path / "absent.nii.gz"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
