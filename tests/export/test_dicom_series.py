"""A synthetic CT as DICOM: what other readers and validators find in it, and what is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import itk
import nibabel
import numpy as np
import pydicom
import pytest

from conventions import SYNTHETIC_STATEMENT, InputError, MarkKind, read_mark
from drr import Acquisition, VolumeGrid
from export import read_film_study, read_synthetic_ct, write_dicom_series, write_nifti
from readers import read_ct
from tests.readers.radiographs.film_files import IDENTIFYING, refusal, stored, thorax, write

GRID = VolumeGrid((20, 24, 28), (9.0, 8.0, 7.0))
CENTRE = (1.5, -20.25, 300.5)
RECORD = {
    "network": {"name": "raylift", "arguments": {}},
    "acquisition": Acquisition(geometry="chest", curve="water", film_style="linear").record(),
    "sha256": "0f" * 32,
}
RADIOGRAPHS = [{"view": "pa", "decisions": [{"kind": "doubt", "subject": "spacing", "text": "unknown"}]}]
PERSON = {**IDENTIFYING, "PatientName": "Müller^Änne", "SpecificCharacterSet": "ISO_IR 100", "PatientSex": "F"}
VALID = {"StudyTime": "101112", "StudyID": "7", "InstanceNumber": 1, "SeriesNumber": 1}


def volume_hu():
    """(D, H, W) HU in the frame of the networks: lungs, soft tissue, and bone at the patient's left, front and head."""
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[:, 3:21, 3:25] = 40
    hu[4:16, 7:17, 6:12] = hu[4:16, 7:17, 16:22] = -800
    hu[1:4, 4:8, 20:24] = 900  # D to the feet, H to the back, W to the left
    hu[10, 10, 10], hu[11, 11, 11] = -1024, 3071
    return hu


def film(folder, view, **tags):
    number = {"PA": 1, "LL": 2}[view]
    uid = f"1.3.6.1.4.1.99999.7.{number}"
    kind = "pa" if view == "PA" else "lateral"
    tags = {**PERSON, **VALID, "SOPInstanceUID": uid, "ViewPosition": view, **tags}
    return write(folder / f"{kind}.dcm", stored(thorax((120, 100), kind)), **tags)


@pytest.fixture
def films(tmp_path):
    return [film(tmp_path, "PA"), film(tmp_path, "LL")]


def series(folder, films=(), **options):
    return write_dicom_series(folder, volume_hu(), GRID.affine(CENTRE), RECORD, films, RADIOGRAPHS, **options)


def first(folder):
    return pydicom.dcmread(folder / "0001.dcm")


def itk_volume(folder):
    names = itk.GDCMSeriesFileNames.New(Directory=str(folder))
    (uid,) = names.GetSeriesUIDs()
    return itk.imread(list(names.GetFileNames(uid)), itk.SS)


def test_itk_finds_every_voxel_in_its_place(tmp_path, films):
    image = itk_volume(series(tmp_path / "ct", films))
    hu = volume_hu()
    assert itk.size(image)[0] * itk.size(image)[1] * itk.size(image)[2] == hu.size
    for index in np.ndindex(*hu.shape):
        d, h, w = index
        # head and feet, front and back, right and left, by the definition of the volume's axes
        lps = [CENTRE[0] + (w - 13.5) * 7, CENTRE[1] + (h - 11.5) * 8, CENTRE[2] - (d - 9.5) * 9]
        assert image.GetPixel(image.TransformPhysicalPointToIndex(lps)) == hu[index]


def test_what_lies_at_the_left_of_the_patient_lies_at_plus_x(tmp_path, films):
    bone = []
    for file in series(tmp_path / "ct", films).iterdir():
        dataset = pydicom.dcmread(file)
        hu = dataset.pixel_array.astype(int) * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept)
        row, column = np.nonzero(hu == 900)
        axes = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        spacing = np.array(dataset.PixelSpacing, float)
        offset = column[:, None] * axes[0] * spacing[1] + row[:, None] * axes[1] * spacing[0]
        bone += list(np.array(dataset.ImagePositionPatient, float) + offset)
    x, y, z = np.mean(bone, 0) - CENTRE
    np.testing.assert_allclose((x, y, z), ((21.5 - 13.5) * 7, (5.5 - 11.5) * 8, (9.5 - 2) * 9))
    assert x > 0 > y  # LPS: left and front


def test_simpleitk_reads_the_same(tmp_path, films):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK, a second reader, is not installed")
    folder = series(tmp_path / "ct", films)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume_hu()[::-1])
    assert image.GetSpacing() == (7, 8, 9)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    origin = (CENTRE[0] - 13.5 * 7, CENTRE[1] - 11.5 * 8, CENTRE[2] - 9.5 * 9)
    np.testing.assert_allclose(image.GetOrigin(), origin)


def test_our_own_reader_finds_the_same_hu_and_affine(tmp_path, films):
    scan = read_ct(series(tmp_path / "ct", films))
    np.testing.assert_array_equal(scan.volume_hu, volume_hu().transpose(2, 1, 0)[:, :, ::-1])
    expected = np.diag([-7.0, -8.0, 9.0, 1.0])
    expected[:3, 3] = [-CENTRE[0] + 13.5 * 7, -CENTRE[1] + 11.5 * 8, CENTRE[2] - 9.5 * 9]
    np.testing.assert_allclose(scan.affine, expected, atol=1e-6)


@pytest.mark.parametrize("axes", ["RAS", "LIP", "SPL"])
def test_axes_in_any_order_give_the_same_series(tmp_path, axes):
    image = nibabel.Nifti1Image(volume_hu(), GRID.affine(CENTRE))
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes)
    )
    turned = image.as_reoriented(turn)
    folder = write_dicom_series(tmp_path / axes, turned.dataobj, turned.affine, RECORD, (), RADIOGRAPHS)
    assert first(folder).SeriesInstanceUID == first(series(tmp_path / "ct")).SeriesInstanceUID


def test_it_says_in_every_slice_that_it_is_synthetic_and_by_what(tmp_path, films):
    folder = series(tmp_path / "ct", films)
    assert len(list(folder.iterdir())) == GRID.shape[0]
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == pydicom.uid.CTImageStorage
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert dataset[0x0008, 0x001C].value == "YES"
        assert dataset.SeriesDescription.startswith("SYNTHETIC CT - NOT FOR DIAGNOSTIC USE")
        assert dataset.ImageComments.startswith("SYNTHETIC CT")
        assert "pa: spacing: unknown" in dataset.ImageComments
        assert dataset.DerivationDescription.startswith(SYNTHETIC_STATEMENT)
        assert dataset.ContentQualification == "RESEARCH"
        assert dataset.BurnedInAnnotation == "NO"
        assert read_mark(dataset.private_block(0x0099, "X2CT")[0x01].value).kind is MarkKind.SYNTHETIC_CT
        (equipment,) = dataset.ContributingEquipmentSequence
        (purpose,) = equipment.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
        assert equipment.ManufacturerModelName == "raylift"
        assert equipment.SoftwareVersions[1] == "0f" * 32
        assert "PixelPaddingValue" not in dataset


def test_it_joins_the_study_of_its_films_with_what_is_allowed_and_no_more(tmp_path, films):
    dataset = first(series(tmp_path / "ct", films))
    source = pydicom.dcmread(films[0])
    shared = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate")
    for keyword in (*shared, "StudyTime", "AccessionNumber", "StudyDescription", "ReferringPhysicianName"):
        assert dataset[keyword].value == source[keyword].value
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert "FrameOfReferenceUID" in dataset
    referred = [item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence]
    assert referred == [pydicom.dcmread(file).SOPInstanceUID for file in films]
    assert {item.PurposeOfReferenceCodeSequence[0].CodeValue for item in dataset.SourceImageSequence} == {"121322"}
    text = (tmp_path / "ct" / "0001.dcm").read_bytes()
    for keyword in ("InstitutionName", "DeviceSerialNumber"):
        assert IDENTIFYING[keyword].encode() not in text
    assert b"Xanthippe upright" not in text


def test_films_of_no_dicom_give_a_patient_without_name(tmp_path):
    (tmp_path / "pa.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    dataset = first(series(tmp_path / "ct", [tmp_path / "pa.png"]))
    assert dataset.PatientName == "Anonymous^Patient"
    assert dataset.PatientID.startswith("ANON-")
    assert dataset.StudyInstanceUID
    assert "SourceImageSequence" not in dataset


def test_the_same_ct_has_the_same_bytes_and_another_one_other_uids(tmp_path, films):
    one, again = series(tmp_path / "one", films), series(tmp_path / "again", films)
    for file in one.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()
    other_hu = volume_hu()
    other_hu[0, 0, 0] += 1
    other = write_dicom_series(tmp_path / "other", other_hu, GRID.affine(CENTRE), RECORD, films, RADIOGRAPHS)
    model = {**RECORD, "sha256": "ab" * 32}
    another = write_dicom_series(tmp_path / "model", volume_hu(), GRID.affine(CENTRE), model, films, RADIOGRAPHS)
    moved = write_dicom_series(tmp_path / "moved", volume_hu(), GRID.affine((0, 0, 1)), RECORD, films, RADIOGRAPHS)
    found = [pydicom.dcmread(file) for folder in (one, other, another, moved) for file in folder.iterdir()]
    for keyword, count in (("SeriesInstanceUID", 4), ("FrameOfReferenceUID", 4), ("SOPInstanceUID", 80)):
        assert len({dataset[keyword].value for dataset in found}) == count
        assert all(dataset[keyword].value.is_valid for dataset in found)
    assert len({dataset.StudyInstanceUID for dataset in found}) == 1


def test_the_corner_text_covers_a_corner_alone(tmp_path):
    grid = VolumeGrid((3, 96, 128), 2.5)
    hu = np.zeros(grid.shape, np.int16)
    folder = write_dicom_series(tmp_path / "ct", hu, grid.affine(), corner_text=True)
    for file in folder.iterdir():
        shown = pydicom.dcmread(file).pixel_array.astype(int) - 1024
        burnt = shown != 0
        assert 0.1 < (shown[burnt] == 1000).mean() < 0.6
        assert set(np.unique(shown[burnt])) == {-1000, 1000}
        assert burnt[:20, :100].sum() == burnt.sum() > 300
    with pytest.raises(InputError, match="too small for a text"):
        series(tmp_path / "small", corner_text=True)


def test_a_film_that_was_compressed_with_loss_makes_a_lossy_ct(tmp_path):
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
    dataset = first(series(tmp_path / "ct", [film(tmp_path, "PA", **lossy), film(tmp_path, "LL")]))
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionRatio) == ("01", 12.5)


def run_validator(*words):
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed (Debian package dicom3tools)")
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, errors="replace")
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("with_films", [True, False], ids=["films", "pictures"])
def test_dciodvfy_finds_no_error_but_the_tag_it_does_not_know(tmp_path, films, with_films):
    folder = series(tmp_path / "ct", films if with_films else ())
    for file in (folder / "0001.dcm", folder / f"{GRID.shape[0]:04d}.dcm"):
        errors = run_validator("dciodvfy", file)
        assert all("(0x0008,0x001c)" in error for error in errors), errors
        assert len(errors) <= 1
    assert run_validator("dciodvfy", tmp_path / "pa.dcm")  # it does find errors, in a crude film


def test_dcentvfy_finds_ct_and_films_consistent(tmp_path, films):
    files = sorted(series(tmp_path / "ct", films).iterdir())
    assert run_validator("dcentvfy", *files, *films) == []
    other = film(tmp_path, "PA", PatientBirthDate="19530101")
    assert run_validator("dcentvfy", *files, other)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PatientID": "MRN-2"}, "different patients by their PatientID"),
        ({"PatientBirthDate": "19530101"}, "different patients by their PatientBirthDate"),
        ({"PatientName": "Meier^Otto"}, "different patients by their PatientName"),
        ({"StudyInstanceUID": "1.2.3"}, "different studies"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID is missing"),
    ],
)
def test_films_that_do_not_belong_together_are_refused(tmp_path, tags, words):
    pair = [film(tmp_path, "PA"), film(tmp_path, "LL", **tags)]
    with pytest.raises(InputError, match=words) as caught:
        series(tmp_path / "ct", pair)
    message = str(caught.value)
    assert "\n" not in message
    assert not any(value in message for value in (*IDENTIFYING.values(), "MRN-2", "19530101", "Meier"))
    assert not (tmp_path / "ct").exists()


def test_a_name_spelt_otherwise_is_the_same_patient(tmp_path):
    study = read_film_study([film(tmp_path, "PA"), film(tmp_path, "LL", PatientName="MÜLLER^ÄNNE^")])
    assert study.shared["PatientName"] == "Müller^Änne"


def test_a_dicom_film_and_a_picture_are_refused(tmp_path, films):
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="one film is DICOM and one is not"):
        read_film_study([films[0], tmp_path / "b.png"])


@pytest.mark.parametrize(
    ("hu", "affine", "words"),
    [
        (np.full((3, 3, 3), np.nan), np.eye(4), "not finite"),
        (np.zeros((3, 3)), np.eye(4), "three axes"),
        (np.full((3, 3, 3), 4000), np.eye(4), "values from 4000 to 4000 are not those of a CT in HU"),
        (np.zeros((3, 3, 3)), np.array([[1, 0, 0.2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "axes .* lean"),
    ],
)
def test_what_is_no_ct_is_not_written(tmp_path, hu, affine, words):
    with pytest.raises(InputError, match=words):
        write_dicom_series(tmp_path / "ct", hu, affine)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_content_is_left_alone(tmp_path):
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        series(tmp_path / "ct")
    assert [file.name for file in (tmp_path / "ct").iterdir()] == ["notes.txt"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    written = []

    def save(self, file):
        written.append(file)
        if len(written) == 5:
            raise OSError(28, "No space left on device")
        Path(file).write_bytes(b"x")

    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", save)
    with pytest.raises(InputError, match=r"cannot be written .*No space left"):
        series(tmp_path / "ct")
    assert not list(tmp_path.iterdir())


def test_a_slice_is_refused_as_a_film_and_as_a_truth(tmp_path, films):
    folder = series(tmp_path / "ct", films)
    assert "its modality is CT" in refusal(folder / "0001.dcm")
    stripped = first(folder)
    stripped.remove_private_tags()
    stripped.save_as(tmp_path / "stripped.dcm")
    assert "its modality is CT" in refusal(tmp_path / "stripped.dcm")


def command(*words):
    run = [sys.executable, "-m", "export", "dicom", *map(str, words)]
    return subprocess.run(run, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])


def nifti(folder, **options):
    return write_nifti(folder / "ct.nii.gz", volume_hu(), GRID.affine(CENTRE), RECORD, RADIOGRAPHS, **options)


@pytest.mark.slow
def test_the_command_writes_what_the_function_writes(tmp_path, films):
    done = command(nifti(tmp_path), "--pa", films[0], "--lateral", films[1], "--output", tmp_path / "dicom")
    assert done.returncode == 0, done.stderr
    direct = series(tmp_path / "direct", films)
    for file in direct.iterdir():
        assert file.read_bytes() == (tmp_path / "dicom" / file.name).read_bytes()
    again = command(nifti(tmp_path), "--output", tmp_path / "dicom")
    assert again.returncode == 1
    assert again.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert "exists already" in again.stderr


def test_a_predicted_ct_is_read_back(tmp_path):
    voxels, affine, sidecar = read_synthetic_ct(nifti(tmp_path))
    np.testing.assert_array_equal(voxels, volume_hu())
    np.testing.assert_allclose(affine, GRID.affine(CENTRE))
    assert sidecar["model"]["sha256"] == "0f" * 32


def test_what_is_no_predicted_ct_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(volume_hu(), np.eye(4)), tmp_path / "real.nii.gz")
    with pytest.raises(InputError, match="no mark of a synthetic CT"):
        read_synthetic_ct(tmp_path / "real.nii.gz")
    with pytest.raises(InputError, match="holds expected absolute error"):
        read_synthetic_ct(nifti(tmp_path, quantity="expected absolute error in HU"))
    (tmp_path / "ct.json").unlink()
    with pytest.raises(InputError, match=r"its sidecar ct\.json"):
        read_synthetic_ct(tmp_path / "ct.nii.gz")
    (tmp_path / "no.nii.gz").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        read_synthetic_ct(tmp_path / "no.nii.gz")
    with pytest.raises(InputError, match="there is no such file"):
        read_synthetic_ct(tmp_path / "none.nii.gz")
