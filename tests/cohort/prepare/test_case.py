"""One prepared CT: what it keeps, what it loses, what its entry says."""

import json
from pathlib import Path

import jsonschema
import nibabel
import numpy as np
import pydicom
import pytest
from scipy.ndimage import affine_transform

import cohort
from cohort import PrepareOptions, prepare_cohort
from cohort.phantoms import thorax_phantom, write_phantoms
from conventions import PHANTOM_NOTE, SYNTHETIC_NOTE
from drr import VolumeGrid
from export import write_dicom_series

SCHEMA = json.loads((Path(cohort.__file__).parent / "prepare" / "schema.json").read_text())
SIDE, SPACING = 80, 4.0
TABLE = (slice(None), slice(-4, -2), slice(8, -8))
"""An 8 mm board behind the patient, (D, H, W)."""


def write(file, volume_hu, note=""):
    image = nibabel.Nifti1Image(np.rint(volume_hu).astype(np.int16), VolumeGrid(SIDE, SPACING).affine((30, -40, 900)))
    image.header["descrip"] = note.encode()
    nibabel.save(image, file)
    return file


@pytest.fixture(scope="module")
def patient():
    """A phantom (D, H, W), moved to the front so that there is room behind it."""
    phantom = thorax_phantom(3, (SIDE,) * 3, SPACING)
    return np.roll(phantom.volume_hu, -8, axis=1)


@pytest.fixture(scope="module")
def made(patient, tmp_path_factory):
    folder = tmp_path_factory.mktemp("case")
    on_table = patient.copy()
    on_table[TABLE] = 200
    write(folder / "smith.nii.gz", on_table)
    return prepare_cohort(folder, folder / "out", PrepareOptions(spacing=SPACING, licence="CC BY 4.0"))


def voxels(made):
    """The prepared volume in the axes (D, H, W)."""
    image = nibabel.load(made.manifest.parent / made.cases[0]["ct"])
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.get_data_dtype() == np.int16
    return np.asarray(image.dataobj).transpose(2, 1, 0)[::-1, ::-1, ::-1], image.affine


def test_the_table_goes_and_the_patient_stays(made, patient):
    volume, affine = voxels(made)
    corner = VolumeGrid(SIDE, SPACING).affine((30, -40, 900)) @ [SIDE - 1, SIDE - 1, SIDE - 1, 1]
    np.testing.assert_allclose(affine[:, 3], corner)
    assert (volume[TABLE] == -1024).all()
    inside = patient > -300
    inside[TABLE] = False
    assert np.abs(volume - np.rint(patient))[inside].max() <= 1
    board_ml = np.prod([SIDE, 2, SIDE - 16]) * SPACING**3 / 1000
    assert made.cases[0]["removed_ml"] == pytest.approx(board_ml, rel=0.1)


def test_the_table_may_stay(patient, tmp_path):
    on_table = patient.copy()
    on_table[TABLE] = 200
    write(tmp_path / "a.nii", on_table)
    made = prepare_cohort(tmp_path / "a.nii", tmp_path / "out", PrepareOptions(spacing=SPACING, keep_table=True))
    assert (voxels(made)[0][TABLE] == 200).all()


def test_the_manifest_follows_its_schema(made):
    manifest = json.loads(made.manifest.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)
    entry = manifest["cases"][0]
    assert set(SCHEMA["$defs"]["case"]["properties"]) - {"radiographs", "films"} == set(
        entry
    )  # the first with HDF5 alone
    assert (entry["licence"], entry["fold"], entry["phantom"]) == ("CC BY 4.0", "train", False)


def test_coverage_says_what_is_cut(patient, tmp_path):
    """Lungs from the atlas of the phantom; slices taken off above and below, columns at one side."""
    for name, part in (("above", np.s_[34:]), ("below", np.s_[:34]), ("side", np.s_[:, :, 26:])):
        image = nibabel.Nifti1Image(np.rint(patient[part]).astype(np.int16), VolumeGrid(SIDE, SPACING).affine())
        nibabel.save(image, tmp_path / f"{name}.nii")
    made = prepare_cohort(tmp_path, tmp_path / "out", PrepareOptions(spacing=SPACING))
    cut = {case["case"]: case["cut"] for case in made.cases}
    assert "apices" in cut["above"]
    assert "bases" in cut["below"]
    assert "sides" in cut["side"]


def test_a_phantom_stays_one_and_a_predicted_ct_is_refused(patient, tmp_path):
    (tmp_path / "in").mkdir()
    write_phantoms(tmp_path / "in", 1, size=64, workers=1)
    write(tmp_path / "in" / "predicted.nii.gz", patient, SYNTHETIC_NOTE)
    write(tmp_path / "in" / "named.nii.gz", patient, "Doe^John 1970")
    made = prepare_cohort(tmp_path / "in", tmp_path / "out", PrepareOptions(spacing=5.0))
    notes = {
        case["case"]: nibabel.load(tmp_path / "out" / case["ct"]).header["descrip"].item().decode()
        for case in made.cases
    }
    assert notes == {"named": "", "phantom_0000": PHANTOM_NOTE}
    assert [case["phantom"] for case in made.cases] == [False, True]
    (refused,) = made.refused
    assert refused[1].endswith("is a CT predicted from radiographs, no truth to train on; leave it out")


def test_real_dicom_is_its_nifti_twin_and_names_nobody(real_data, tmp_path):
    series = real_data / "original" / "rider_pilot_0109_dicom"
    made = prepare_cohort(series, tmp_path / "out", PrepareOptions(spacing=2.5, keep_table=True))
    (case,) = made.cases
    header = pydicom.dcmread(next(series.glob("*.dcm")), stop_before_pixels=True)
    written = (made.manifest.read_text() + (tmp_path / "out/records" / f"{case['case']}.json").read_text()).lower()
    for value in (header.PatientID, header.SeriesInstanceUID, header.StudyInstanceUID, header.get("StudyDate", "")):
        assert not value or str(value).lower() not in written
    ours = nibabel.load(tmp_path / "out" / case["ct"])
    twin = nibabel.as_closest_canonical(nibabel.load(real_data / "ct" / "rider_pilot_0109.nii.gz"))

    def likeness(*shift):
        """Correlation of tissue in both, which lie on different grids, when ours is moved by some mm."""
        place = ours.affine.copy()
        place[:3, 3] += shift
        to_ours = np.linalg.inv(place) @ twin.affine
        there = affine_transform(np.asarray(ours.dataobj, np.float32), to_ours[:3, :3], to_ours[:3, 3], twin.shape,
                                 order=1, cval=np.nan)  # fmt: skip
        both = (there > -1000) & (twin.get_fdata() > -900)
        return np.corrcoef(there[both], twin.get_fdata()[both])[0, 1]

    here = likeness(0, 0, 0)
    assert here > 0.97
    for axis in range(3):
        for step in (-2.5, 2.5):
            assert here > likeness(*(step * (axis == i) for i in range(3)))


def test_a_synthetic_ct_in_dicom_is_no_truth(tmp_path):
    grid = VolumeGrid((24, 40, 40), (10.0, 8.0, 8.0))
    hu = np.full(grid.shape, -1000)
    hu[:, 5:35, 5:35], hu[4:20, 12:28, 8:18] = 40, -800
    write_dicom_series(tmp_path / "cts" / "a", hu, grid.affine())
    made = prepare_cohort(tmp_path / "cts", tmp_path / "cohort")
    [(_, reason)] = made.refused
    assert "is a CT predicted from radiographs, no truth to train on" in reason
