import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from cohort import TolerantDataset, radiograph_pairs
from conventions import InputError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def header(path, study, view, code=None):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    encoding = {"is_implicit_VR": False, "is_little_endian": True}
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128, **encoding)
    dataset.StudyInstanceUID, dataset.ViewPosition = study, view
    if code:
        item = Dataset()
        item.CodeValue = code
        dataset.ViewCodeSequence = [item]
    dataset.PatientName = "Muster^Erika"
    dataset.save_as(path)


def of(items):
    return {item["case"]: [path.rsplit("/", 1)[-1] for path in item["image"]] for item in items}


def test_two_files_are_one_case():
    items = radiograph_pairs(pa="a.png", lateral="b.dcm", case="smith")
    assert items == [{"image": ["a.png", "b.dcm"], "case": "smith"}]
    assert radiograph_pairs(pa="a.png", views=("pa",)) == [{"image": ["a.png"], "case": "synthetic_ct"}]
    assert radiograph_pairs(pa="both.nii.gz") == [{"image": "both.nii.gz", "case": "synthetic_ct"}]


def test_a_film_that_is_not_given_is_a_problem_of_the_item(tmp_path):
    """A workflow without films can be looked at; it ends when they are read."""
    item = radiograph_pairs(pa="a.png")[0]
    assert item["image"] == ["a.png"]
    assert item["problem"] == (
        "this model reads pa and lateral: give --lateral FILE too, or with RayLift --views \"['pa']\" for that film "
        "alone, or --dataset_dir FOLDER"
    )
    [item] = data = radiograph_pairs(case="smith")
    assert item["case"] == "smith"
    sentence = "this model reads pa and lateral: give --pa FILE and --lateral FILE, or --dataset_dir FOLDER"
    assert item["problem"] == sentence
    with pytest.raises(InputError, match=sentence):
        TolerantDataset(data, dict)[0]


def test_files_are_grouped_by_name(tmp_path):
    touch(
        tmp_path, "smith_pa.png", "smith_lateral.jpg", "jones-PA.tif", "jones-LAT.tif", "x1/frontal.png", "x1/side.png"
    )
    touch(tmp_path, "notes.txt", ".hidden_pa.png", "README")
    assert of(radiograph_pairs(tmp_path)) == {
        "jones": ["jones-PA.tif", "jones-LAT.tif"],
        "smith": ["smith_pa.png", "smith_lateral.jpg"],
        "x1": ["frontal.png", "side.png"],
    }


def test_one_frontal_and_one_lateral_in_a_folder_are_a_case_whatever_their_names_begin_with(tmp_path):
    for patient in ("patient00001/study1", "patient00001/study2", "patient00002/study1"):
        touch(tmp_path / "CheXpert", f"{patient}/view1_frontal.jpg", f"{patient}/view2_lateral.jpg")
    found = radiograph_pairs(tmp_path / "CheXpert")
    assert of(found) == {
        name: ["view1_frontal.jpg", "view2_lateral.jpg"]
        for name in ("patient00001_study1", "patient00001_study2", "patient00002_study1")
    }
    assert not any("problem" in item for item in found)
    study = tmp_path / "CheXpert" / "patient00001" / "study1"
    assert of(radiograph_pairs(study)) == {"study1": ["view1_frontal.jpg", "view2_lateral.jpg"]}


def test_a_folder_of_a_frontal_and_a_lateral_alone_is_a_case_of_its_name(tmp_path):
    touch(tmp_path / "smith", "pa.png", "lateral.png")
    assert of(radiograph_pairs(tmp_path / "smith")) == {"smith": ["pa.png", "lateral.png"]}


def test_a_view_by_name_and_one_by_tags_alone_in_a_folder_are_a_case(tmp_path):
    touch(tmp_path, "smith/pa.png")
    header(tmp_path / "smith" / "IM1", "1.9.1", "LL")
    assert of(radiograph_pairs(tmp_path)) == {"smith": ["pa.png", "IM1"]}


def test_two_films_of_different_studies_are_two_cases_also_alone_in_a_folder(tmp_path):
    header(tmp_path / "IM0.dcm", "1.9.1", "PA")
    header(tmp_path / "IM1.dcm", "1.9.2", "LL")
    found = {item["case"]: item.get("problem", "") for item in radiograph_pairs(tmp_path)}
    assert "the lateral film of case study_001 is missing" in found["study_001"]
    assert "the pa film of case study_002 is missing" in found["study_002"]


@pytest.mark.parametrize("study", ["1.9.1", ""], ids=["with a study", "without one"])
@pytest.mark.parametrize(
    ("frontal", "lateral"),
    [
        pytest.param(("", "272479007"), ("", "399173006"), id="SNOMED CT codes"),
        pytest.param(("", "R-10202"), ("", "R-10232"), id="SNOMED-RT codes"),
        pytest.param(("POSTERO-ANTERIOR",), ("LAT",), id="spellings"),
        pytest.param(("Frontal",), ("Left Lateral",), id="words"),
    ],
)
def test_views_are_found_in_the_tags_as_the_reader_finds_them(tmp_path, frontal, lateral, study):
    header(tmp_path / "IM0", study, *frontal)
    header(tmp_path / "IM1", study, *lateral)
    assert of(radiograph_pairs(tmp_path)) == {"study_001" if study else tmp_path.name: ["IM0", "IM1"]}


def test_a_folder_given_in_place_of_the_pa_film_is_passed_on(tmp_path):
    assert radiograph_pairs(pa=tmp_path, case="smith") == [{"image": str(tmp_path), "case": "smith"}]
    (item,) = radiograph_pairs(pa=tmp_path / "absent")
    assert "give --lateral FILE too" in item["problem"]


def test_files_without_a_view_in_their_name_are_grouped_by_tags_and_numbered(tmp_path):
    for number, (study, view) in enumerate([("1.9.2", "PA"), ("1.9.1", "LL"), ("1.9.1", "PA"), ("1.9.2", "RL")]):
        header(tmp_path / f"IM{number}.dcm", study, view)
    assert of(radiograph_pairs(tmp_path)) == {"study_001": ["IM0.dcm", "IM3.dcm"], "study_002": ["IM2.dcm", "IM1.dcm"]}


def test_a_film_of_unknown_view_is_left_out_with_a_warning(tmp_path, caplog):
    touch(tmp_path, "smith_pa.png", "smith_lateral.png", "scan7.png", "README", "notes.txt")
    for name, study, view in (("IM0.dcm", "1.9.1", ""), ("IM1", "1.9.1", "OBLIQUE"), ("DICOMDIR", "1.9.1", "")):
        header(tmp_path / name, study, view)
    assert of(radiograph_pairs(tmp_path)) == {"smith": ["smith_pa.png", "smith_lateral.png"]}
    said = [record.getMessage() for record in caplog.records if record.name == "x2ct.cohort"]
    for name, message in zip(("IM0.dcm", "IM1", "scan7.png"), said, strict=True):
        assert f"left out: {tmp_path / name}: neither its name nor DICOM tags give its case and view" in message
        assert "CASE_pa, CASE_lateral, or give two by --pa and --lateral" in message
        assert "Muster" not in message


def test_a_folder_of_films_of_unknown_view_is_refused(tmp_path):
    for number in range(3):
        header(tmp_path / f"IM{number}.dcm", "1.9.1", "")
    with pytest.raises(InputError, match=r"give the view \(3 left out, such as IM0.dcm\); name such files CASE_pa"):
        radiograph_pairs(tmp_path)


def test_a_film_that_is_missing_or_duplicated_is_a_problem_of_its_case_alone(tmp_path):
    touch(tmp_path, "a_pa.png", "a_lateral.png", "b_pa.png", "c_pa.png", "c_frontal.png", "c_lateral.png")
    problems = {item["case"]: item.get("problem") for item in radiograph_pairs(tmp_path)}
    assert problems["a"] is None
    assert "the lateral film of case b is missing" in problems["b"]
    assert "case c has 2 pa films" in problems["c"]
    assert not any("problem" in item for item in radiograph_pairs(tmp_path, views=("pa",)) if item["case"] != "c")


def test_folders_without_films_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        radiograph_pairs(tmp_path / "absent")
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="holds no radiographs whose name or DICOM tags give"):
        radiograph_pairs(tmp_path)
