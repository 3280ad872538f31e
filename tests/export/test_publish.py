"""The record of weights that are given away: of what, by what, how good."""

import csv
import hashlib
import json

import pytest
import torch

from conventions import HU_WINDOW, InputError
from drr import Acquisition, VolumeGrid
from export import publish
from networks import build_network, describe_model, load, make_record, read_record, write_record
from storage import write_tensors

CITED = "| ct/one, two | ONE (TCIA) | CC BY 3.0 | Armato et al., doi 10.7937/One |\n"


@pytest.fixture
def trained(tmp_path):
    """A model, the manifest of its cohort, the run.json of its training, and a list of CTs."""
    torch.manual_seed(0)
    network = build_network("replicate_unet", image_size=64, channels=[4, 8])
    write_tensors(tmp_path / "model.pt", network.state_dict())
    acquisition = Acquisition(geometry="chest", grid=VolumeGrid(64, 5.0), detector_shape=64)
    data = {"data": {"train_cases": 5}, "patients": ["0123456789abcdef"]}
    write_record(tmp_path / "model.pt", make_record(network, acquisition, HU_WINDOW, data))
    cases = [("one", "train"), ("one", "train"), ("two", "train"), ("phantom_0000", "train"), ("held", "validation")]
    entries = [
        {"case": f"{name}__{n}", "ct": f"../ct/{name}.nii.gz", "fold": fold} for n, (name, fold) in enumerate(cases)
    ]
    (tmp_path / "manifest.json").write_text(json.dumps({"cases": entries}))
    run = {
        "epochs": 3,
        "hours": 1.5,
        "commit": "abc",
        "versions": {"torch": "2"},
        "command": ["run", "--batch_size", "2"],
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    with (tmp_path / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "collection", "licence", "doi", "notes"])
        table.writerow(["ct/one.nii.gz", "ONE (TCIA)", "CC BY 3.0", "10.7937/ONE", "x"])
        table.writerow(["ct/two.nii.gz", "TWO", "CC BY 4.0", "10.7937/TWO", "x"])
    (tmp_path / "cite.md").write_text(CITED)
    return tmp_path


def give_away(folder, target="given/starter.pt", source="model.pt", **more):
    return publish(
        folder / source, folder / target, folder / "manifest.json", [folder / "run.json"], folder / "list.csv", **more
    )


def evaluation(folder, digest):
    row = {"case": "held", "compared": "prediction"}
    values = [{**row, "measure": "psnr_db", "value": 21.5}, {**row, "measure": "paper_mae", "value": 1.0}]
    values.append({**row, "compared": "mean_volume", "measure": "psnr_db", "value": 15.5})
    content = {"model": {"sha256": digest}, "values": values, "measures": {"psnr_db": {"unit": "dB"}}}
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def test_it_states_data_training_and_limits(trained):
    made = give_away(trained, citations=trained / "cite.md")
    about = read_record(made)["about"]
    assert about["trained_on"] == {
        "cts": [
            {"case": "one", "collection": "ONE (TCIA)", "licence": "CC BY 3.0", "doi": "10.7937/ONE",
             "citation": "Armato et al., doi 10.7937/One"},
            {"case": "two", "collection": "TWO", "licence": "CC BY 4.0", "doi": "10.7937/TWO",
             "citation": "doi 10.7937/TWO"},
        ],
        "phantoms": 1,
    }  # fmt: skip
    (run,) = about["runs"]
    assert (run["steps"], run["epochs"], run["hours"], run["cpu_hours"], run["commit"]) == (9, 3, 1.5, None, "abc")
    assert "cores" in run["hardware"]
    assert any("medical" in limit for limit in about["limits"])
    assert "validation" not in about


def test_the_weights_are_halved_and_their_hash_is_checked(trained):
    made = give_away(trained)
    weights = torch.load(made, weights_only=True)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}
    assert read_record(made)["weights_sha256"] == {".pt": hashlib.sha256(made.read_bytes()).hexdigest()}
    given, trained_network = load(made)[0].state_dict(), load(trained / "model.pt")[0].state_dict()
    for name, value in given.items():
        torch.testing.assert_close(value, trained_network[name], rtol=1e-3, atol=1e-6)
    made.write_bytes((trained / "model.pt").read_bytes())
    with pytest.raises(InputError, match="copy both files again"):
        load(made)


def test_an_evaluation_of_the_written_file_is_added_in_place(trained):
    made = give_away(trained)
    before = made.read_bytes()
    found = evaluation(trained / "evaluation", describe_model(made)["sha256"])
    give_away(trained, source="given/starter.pt", evaluation=found)
    assert made.read_bytes() == before
    assert {path.name for path in made.parent.iterdir()} == {"starter.pt", "starter.json"}
    validation = read_record(made)["about"]["validation"]
    assert validation["cases"]["held"] == {"prediction": {"psnr_db": 21.5}, "mean_volume": {"psnr_db": 15.5}}
    assert validation["measures"] == {"psnr_db": {"unit": "dB"}}


def test_runs_of_the_weights_it_began_with_stay(trained):
    made = give_away(trained)
    record = json.loads((trained / "model.json").read_text())
    record["initial_model"] = {"checkpoint": "starter.pt", "sha256": describe_model(made)["sha256"]}
    (trained / "model.json").write_text(json.dumps(record))
    give_away(trained)
    assert len(read_record(made)["about"]["runs"]) == 2
    give_away(trained, source="given/starter.pt")
    assert len(read_record(made)["about"]["runs"]) == 2
    assert len(list(made.parent.glob("starter_*.pt"))) == 1  # nothing is overwritten
    record["initial_model"]["sha256"] = describe_model(trained / "model.pt")["sha256"]
    (trained / "model.json").write_text(json.dumps(record))
    give_away(trained)  # a run that began with the weights before they were halved
    assert len(read_record(made)["about"]["runs"]) == 3
    record["initial_model"]["sha256"] = "0" * 64
    (trained / "model.json").write_text(json.dumps(record))
    give_away(trained)
    assert len(read_record(made)["about"]["runs"]) == 1


def test_runs_stay_where_the_first_of_several_runs_began_with_them(trained):
    made = give_away(trained)
    record = json.loads((trained / "model.json").read_text())
    record["initial_model"] = {"checkpoint": "model.pt", "sha256": "1" * 64}  # of the run in between
    (trained / "model.json").write_text(json.dumps(record))
    run = json.loads((trained / "run.json").read_text())
    run["initial_model"] = {"checkpoint": "starter.pt", "sha256": describe_model(made)["sha256"]}
    (trained / "run.json").write_text(json.dumps(run))
    give_away(trained)
    assert len(read_record(made)["about"]["runs"]) == 2


def test_what_cannot_be_stated_is_refused(trained):
    table = (trained / "list.csv").read_text()
    (trained / "list.csv").write_text("".join(table.splitlines(keepends=True)[:2]))
    with pytest.raises(InputError, match=r"list\.csv: holds no line for two\.nii\.gz, whose licence must be stated"):
        give_away(trained)
    (trained / "list.csv").write_text(table)
    other = evaluation(trained / "evaluation", "0" * 64)
    with pytest.raises(InputError, match="is the evaluation of other weights"):
        give_away(trained, evaluation=other)
    (trained / "run.json").write_text('{"epochs": 3}')
    with pytest.raises(InputError, match=r"run\.json: is not the run\.json of a training"):
        give_away(trained)
    assert not (trained / "given").exists()
