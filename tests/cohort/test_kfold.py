"""k folds for cross-validation: each patient is in validation once, and kinds of CTs are spread evenly."""

import json
from collections import Counter

import pytest

from cohort import load_datalist, split_into_folds
from conventions import InputError


def prepared(folder, cuts):
    """A prepared cohort of empty files: two CTs of each patient, of which the second cuts off what is named."""
    folder.mkdir()
    cases = []
    for number, cut in enumerate(cuts):
        for scan, parts in (("a", []), ("b", cut)):
            name = f"p{number:02d}__{scan}"
            (folder / f"{name}.nii.gz").write_bytes(b"")
            entry = {"case": name, "patient": f"p{number:02d}", "ct": f"{name}.nii.gz", "fold": "train"}
            cases.append({**entry, "sha256": "0" * 64, "cut": parts})
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "seed": 0, "cases": cases}))
    return folder


def patients(manifest, fold):
    return {item["patient"] for item in load_datalist(manifest, fold)}


def test_each_patient_is_in_validation_once(tmp_path):
    folder = prepared(tmp_path / "cohort", [[]] * 11)
    manifests = split_into_folds(folder, 5, test=1)
    assert [manifest.name for manifest in manifests] == [f"manifest_{n}of5.json" for n in range(1, 6)]
    held_out = [patients(manifest, "test") for manifest in manifests]
    assert all(one == held_out[0] for one in held_out)
    assert len(held_out[0]) == 1
    seen = Counter(name for manifest in manifests for name in patients(manifest, "validation"))
    assert len(seen) == 10
    assert set(seen.values()) == {1}
    for number, manifest in enumerate(manifests, start=1):
        assert json.loads(manifest.read_text())["fold"] == [number, 5]
        train, validation = patients(manifest, "train"), patients(manifest, "validation")
        assert (len(train), len(validation)) == (8, 2)
        assert not train & validation
        assert not held_out[0] & (train | validation)
    assert len(load_datalist(folder, "train")) == 22, "the manifest of the cohort stays"


def test_what_cts_cut_off_is_spread_evenly(tmp_path):
    cuts = [[]] * 10 + [["apices"]] * 6 + [["bases", "sides"]] * 4
    manifests = split_into_folds(prepared(tmp_path / "cohort", cuts), 2, test=10, seed=3)
    kinds = {f"p{number:02d}": tuple(cut) for number, cut in enumerate(cuts)}
    half = {(): 5, ("apices",): 3, ("bases", "sides"): 2}
    assert Counter(kinds[name] for name in patients(manifests[0], "test")) == half
    for manifest in manifests:
        of_kind = Counter(kinds[name] for name in patients(manifest, "validation"))
        assert all(abs(of_kind[kind] - count / 2) <= 0.5 for kind, count in half.items())


def test_manufacturers_are_spread_evenly(tmp_path):
    folder = prepared(tmp_path / "cohort", [[]] * 12)
    manifest = json.loads((folder / "manifest.json").read_text())
    for number, case in enumerate(manifest["cases"]):
        case["source"] = {"manufacturer": "SIEMENS" if number < 8 else "Philips"}  # p00 to p03 and the other eight
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for one in split_into_folds(folder, 4):
        assert len(patients(one, "validation") & {f"p{number:02d}" for number in range(4)}) == 1


def test_the_seed_decides_and_earlier_manifests_are_kept(tmp_path):
    folder = prepared(tmp_path / "cohort", [[]] * 12)
    first = [patients(manifest, "validation") for manifest in split_into_folds(folder, 3)]
    assert [patients(manifest, "validation") for manifest in split_into_folds(folder, 3)] == first
    assert [patients(manifest, "validation") for manifest in split_into_folds(folder, 3, seed=1)] != first
    assert len(list(folder.glob("manifest_1of3_*.json"))) == 2


def test_a_folder_of_cts_without_a_manifest(tmp_path):
    folder = tmp_path / "cts"
    folder.mkdir()
    for number in range(4):
        (folder / f"p{number}.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    manifests = split_into_folds(folder, 2, tmp_path / "out")
    assert [manifest.parent for manifest in manifests] == [tmp_path / "out"] * 2
    assert patients(manifests[0], "train") == patients(manifests[1], "validation")
    with pytest.raises(InputError, match="no case for fold 'test'"):
        load_datalist(manifests[0], "test")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"folds": 1}, "folds must be an integer from 2 up, got 1"),
        ({"folds": 2.5}, "folds must be an integer from 2 up, got 2.5"),
        ({"folds": 5}, r"4 patient\(s\) are too few for 5 folds, with 0 in test"),
        ({"folds": 2, "test": 3}, r"1 patient\(s\) are too few for 2 folds, with 3 in test"),
        ({"folds": 2, "seed": -1}, "seed must be"),
        ({"folds": 2, "output": "absent"}, "absent: is no folder; with --folds give an existing folder"),
    ],
)
def test_impossible_arguments(tmp_path, given, words):
    folder = prepared(tmp_path / "cohort", [[]] * 4)
    with pytest.raises(InputError, match=words):
        split_into_folds(folder, **given)
    assert [file.name for file in folder.glob("*.json")] == ["manifest.json"]
