from types import SimpleNamespace

import numpy as np
import pydicom
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from drr import VolumeGrid
from handlers import DicomWriter
from tests.readers.radiographs.film_files import IDENTIFYING, stored, thorax, write

GRID = VolumeGrid((6, 8, 10), (2.0, 3.0, 4.0))


def film(path, view, **tags):
    return write(path, stored(thorax((60, 50))), ViewPosition=view, **{**IDENTIFYING, **tags})


def run(folder, items):
    """Predict every case that is not known to be unreadable, as `TolerantLoader` does."""
    loader = SimpleNamespace(dataset=SimpleNamespace(data=items))
    volume = MetaTensor(torch.full((1, *GRID.shape), 7.4), affine=GRID.affine())

    def update(engine, _batch):
        engine.state.batch = [{"case": item["case"]} for item in items if "problem" not in item]
        return [{"pred": volume} for _ in engine.state.batch]

    engine = Engine(update)
    DicomWriter(folder, loader, record={"network": {"name": "raylift"}, "sha256": "0f" * 32}).attach(engine)
    engine.run([0])
    return items


def test_a_series_is_named_after_the_case_and_lies_in_the_study_of_its_films(tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    film(study / "1.dcm", "PA", SOPInstanceUID="2.25.1")
    film(study / "2.dcm", "LL", SOPInstanceUID="2.25.2")
    run(tmp_path, [{"case": "a.b", "image": str(study)}])
    slices = [pydicom.dcmread(file) for file in sorted((tmp_path / "a.b_dicom").iterdir())]
    assert len(slices) == 6
    assert {one.StudyInstanceUID for one in slices} == {IDENTIFYING["StudyInstanceUID"]}
    assert [item.ReferencedSOPInstanceUID for item in slices[0].SourceImageSequence] == ["2.25.1", "2.25.2"]
    assert {int(value) for one in slices for value in np.unique(one.pixel_array)} == {1031}  # 7 HU


def test_films_of_two_patients_and_a_folder_that_is_there_are_problems_of_their_case(tmp_path):
    good = [film(tmp_path / "a_pa.dcm", "PA"), film(tmp_path / "a_lat.dcm", "LL")]
    mixed = [good[0], film(tmp_path / "b_lat.dcm", "LL", PatientID="MRN-2")]
    (tmp_path / "c_dicom").mkdir()
    (tmp_path / "c_dicom" / "mine").touch()
    paths = {"a": good, "b": mixed, "c": good}
    items = run(tmp_path, [{"case": case, "image": [str(file) for file in files]} for case, files in paths.items()])
    assert "problem" not in items[0]
    assert "different patients" in items[1]["problem"]
    assert "exists already" in items[2]["problem"]
    assert (tmp_path / "a_dicom").exists()
    assert not (tmp_path / "b_dicom").exists()
