"""Films of the patients of a fold are found in the manifest, the nearest in time first."""

import json
import math

import pytest

from cohort import films_of_cases
from conventions import InputError

VIEWS = ["pa", "lateral"]


def film(name, view, days=0):
    return {"film": f"films/{name}.dcm", "view": view, "days": days}


def write(folder, films, patients=("p0", "p1")):
    """A manifest of two CTs, both for testing; `films` are those of each."""
    (folder / "films").mkdir(exist_ok=True)
    cases = []
    for number, (patient, listed) in enumerate(zip(patients, films, strict=True)):
        (folder / f"ct{number}.nii.gz").touch()
        entry = {"case": f"c{number}", "patient": patient, "ct": f"ct{number}.nii.gz", "fold": "test"}
        cases.append(entry if listed is None else {**entry, "films": listed})
        for one in listed or []:
            (folder / one["film"]).touch()
    (folder / "manifest.json").write_text(json.dumps({"cases": cases}))
    return folder


def test_of_several_films_the_nearest_in_time_is_taken(tmp_path):
    listed = [
        film("a", "pa", 40), film("b", "pa", -2), film("c", "pa", None), film("d", "lateral", -2),
        film("e", "lateral", 2), film("f", "lateral", 9),
    ]  # fmt: skip
    found = films_of_cases(write(tmp_path, [listed, []]), "test", VIEWS)
    assert found == {"c0": {"image": [str(tmp_path / "films" / f"{name}.dcm") for name in "bd"], "days": -2.0}}


def test_days_are_those_of_the_farthest_film_or_not_known(tmp_path):
    both = [film("a", "pa", 1), film("b", "lateral", -30)]
    unknown = [film("c", "pa", None), film("d", "lateral", 3)]
    found = films_of_cases(write(tmp_path, [both, unknown]), "test", VIEWS)
    assert found["c0"]["days"] == -30
    assert math.isnan(found["c1"]["days"])
    assert films_of_cases(tmp_path, "test", ["lateral"])["c1"]["days"] == 3


def test_cases_that_lack_a_view_are_counted(tmp_path, caplog):
    found = films_of_cases(write(tmp_path, [[film("a", "pa"), film("b", "lateral")], [film("c", "pa")]]), "test", VIEWS)
    assert list(found) == ["c0"]
    assert "1 of 2 cases have no film of each view (pa, lateral)" in caplog.text


@pytest.mark.parametrize("films", [[None, None], [[], []]], ids=["no entry", "films of no CT"])
def test_a_cohort_without_films_is_refused(tmp_path, films):
    with pytest.raises(InputError, match=r"manifest\.json: lists no film of any CT; leave out --films, or make"):
        films_of_cases(write(tmp_path, films), "test", VIEWS)


def test_a_fold_without_pairs_a_lost_film_and_a_damaged_entry_are_refused(tmp_path):
    write(tmp_path, [[film("a", "pa")], []])
    with pytest.raises(InputError, match=r"none of the 2 cases of fold 'test' has a film of each view \(pa, lateral\)"):
        films_of_cases(tmp_path, "test", VIEWS)
    (tmp_path / "films" / "a.dcm").unlink()
    with pytest.raises(InputError, match=r"a\.dcm, which does not exist"):
        films_of_cases(tmp_path, "test", ["pa"])
    write(tmp_path, [[{"film": "films/a.dcm"}], []])
    with pytest.raises(InputError, match="an entry of films is damaged"):
        films_of_cases(tmp_path, "test", ["pa"])
    with pytest.raises(InputError, match="no cohort was given"):
        films_of_cases(None, "test", VIEWS)
