import json
from collections import Counter

import pytest

from cohort import load_datalist, split_cohort
from cohort.split import case_of, patient_of
from conventions import InputError


@pytest.fixture
def folder(tmp_path):
    """Twelve files of six patients by their names, and something that is no CT."""
    root = tmp_path / "cts"
    root.mkdir()
    for patient in range(6):
        for scan in ("a", "b"):
            (root / f"p{patient}__{scan}.nii.gz").write_bytes(b"")
    (root / "notes.txt").write_text("")
    return root


def folds(manifest):
    found = {}
    for case in json.loads(manifest.read_text())["cases"]:
        found.setdefault(case["fold"], set()).add(case["patient"])
    return found


def test_no_patient_is_in_two_folds(folder):
    manifest = split_cohort(folder, test=2, validation=1)
    found = folds(manifest)
    assert {fold: len(patients) for fold, patients in found.items()} == {"train": 3, "validation": 1, "test": 2}
    assert len(set.union(*found.values())) == 6
    for fold, count in (("train", 6), ("validation", 2), ("test", 4)):
        assert len(load_datalist(manifest, fold)) == count


def test_the_seed_decides(folder, tmp_path):
    one, same, other = (folds(split_cohort(folder, tmp_path / "m.json", 2, 1, seed=seed)) for seed in (0, 0, 5))
    assert one == same != other


def prepared(folder, kinds):
    """A prepared cohort of empty files: a patient for each (what is cut off, manufacturer)."""
    folder.mkdir()
    cases = []
    for number, (cut, maker) in enumerate(kinds):
        (folder / f"p{number}.nii.gz").write_bytes(b"")
        entry = {"case": f"p{number}", "patient": f"p{number}", "ct": f"p{number}.nii.gz", "fold": "train"}
        cases.append({**entry, "sha256": "0" * 64, "cut": cut, "source": {"manufacturer": maker}})
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "seed": 0, "cases": cases}))
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_each_fold_has_its_share_of_each_kind(tmp_path, seed):
    kinds = [([], "GE")] * 40 + [([], "SIEMENS"), ([], "Siemens")] * 10 + [(["apices"], "GE")] * 20
    kind_of = {f"p{number}": (tuple(cut), maker.lower()) for number, (cut, maker) in enumerate(kinds)}
    found = folds(split_cohort(prepared(tmp_path / "cohort", kinds), test=0.2, validation=0.1, seed=seed))
    for fold, share in (("test", 0.2), ("validation", 0.1), ("train", 0.7)):
        counts = Counter(kind_of[patient] for patient in found[fold])
        assert abs(counts[(), "ge"] - 40 * share) <= 1
        assert abs(counts[(), "siemens"] - 20 * share) <= 1
        assert abs(counts[("apices",), "ge"] - 20 * share) <= 1


def test_a_rare_kind_comes_into_every_fold(tmp_path):
    folder = prepared(tmp_path / "cohort", [([], "GE")] * 9 + [(["bases"], "GE")])
    seen = Counter()
    for seed in range(40):
        found = folds(split_cohort(folder, tmp_path / "out.json", test=3, validation=3, seed=seed))
        seen[next(fold for fold, patients in found.items() if "p9" in patients)] += 1
    assert min(seen[fold] for fold in ("train", "validation", "test")) >= 5


def test_an_earlier_manifest_is_kept(folder):
    first = split_cohort(folder).read_text()
    split_cohort(folder, seed=3)
    kept = list(folder.glob("manifest_*.json"))
    assert [p.read_text() for p in kept] == [first]


def test_patients_may_be_listed(folder, tmp_path):
    listed = {"x": [f"p{i}__{s}.nii.gz" for i in range(5) for s in "ab"], "y": ["p5__a.nii.gz"], "z": ["p5__b.nii.gz"]}
    (tmp_path / "patients.json").write_text(json.dumps(listed))
    found = folds(split_cohort(folder, test=1, validation=1, patients=tmp_path / "patients.json"))
    assert set.union(*found.values()) == {"x", "y", "z"}
    listed["y"] = []
    (tmp_path / "patients.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"lists no patient for p5__a.nii.gz \(1 such files\)"):
        split_cohort(folder, patients=tmp_path / "patients.json")
    listed["z"].append("p0__a.nii.gz")
    (tmp_path / "patients.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="listed for two patients"):
        split_cohort(folder, patients=tmp_path / "patients.json")


def test_paths_follow_the_manifest(folder, tmp_path):
    inside = json.loads(split_cohort(folder).read_text())["cases"][0]["ct"]
    assert inside == "p0__a.nii.gz"
    outside = split_cohort(folder, tmp_path / "elsewhere" / "m.json")
    assert json.loads(outside.read_text())["cases"][0]["ct"] == str(folder / "p0__a.nii.gz")


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("lidc_idri_0001.nii.gz", "lidc_idri_0001"),
        ("smith__followup.nii", "smith"),
        ("Smith__first.nii.gz", "smith"),
        ("sub-01_ses-2_ct.nii.gz", "sub-01"),
        ("1.2.840.1.nii.gz", "1.2.840.1"),
    ],
)
def test_patients_by_name(name, patient):
    assert patient_of(name) == patient
    assert case_of(name) == name.removesuffix(".gz").removesuffix(".nii")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"test": "20%"}, "test must be a number of patients or a share below 1, got '20%'", id="text"),
        pytest.param({"test": 2.7}, "got 2.7", id="fraction of a patient"),
        pytest.param({"validation": -1}, "validation must be", id="negative share"),
        pytest.param({"seed": -1}, "seed must be", id="negative seed"),
    ],
)
def test_bad_numbers(folder, options, words):
    with pytest.raises(InputError, match=words):
        split_cohort(folder, **options)


def test_the_output_may_be_a_folder(folder, tmp_path):
    assert split_cohort(folder, folder) == folder.resolve() / "manifest.json"
    assert split_cohort(folder, tmp_path) == tmp_path.resolve() / "manifest.json"


def test_bad_cohorts(tmp_path, folder):
    with pytest.raises(InputError, match="no such folder"):
        split_cohort(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no CT file"):
        split_cohort(tmp_path / "empty")
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "a.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 patient\(s\) are too few"):
        split_cohort(tmp_path / "single")
    (folder / "p0__a.nii").write_bytes(b"")
    with pytest.raises(InputError, match=r"case 'p0__a' exists in two formats"):
        split_cohort(folder)


def test_bad_manifests(tmp_path, folder):
    with pytest.raises(InputError, match="there is no such cohort"):
        load_datalist(tmp_path / "absent", "train")
    with pytest.raises(InputError, match=r"holds no manifest.json; write it with"):
        load_datalist(folder, "train")
    with pytest.raises(InputError, match="unknown fold 'training'"):
        load_datalist(folder, "training")
    number = '{"cases": [{"case": "a", "patient": "a", "ct": 5, "fold": "train"}]}'
    outside = '{"cases": [{"case": "../a", "patient": "a", "ct": "a.nii", "fold": "train"}]}'
    for text in ("no JSON", "[]", '{"cases": [{"case": "a"}]}', number, outside):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest.json: "):
            load_datalist(folder, "train")
    manifest = split_cohort(folder, test=2, validation=0)
    with pytest.raises(InputError, match="no case for fold 'validation'"):
        load_datalist(manifest, "validation")
    for file in folder.glob("*__a.nii.gz"):
        file.unlink()
    with pytest.raises(InputError, match="which does not exist"):
        load_datalist(manifest, "train")
