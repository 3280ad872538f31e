import pytest
import torch
from monai.data import MetaTensor

from cohort import TolerantDataset
from conventions import InputError


def read(item):
    if item["image"] == "bad":
        raise RuntimeError("applying transform") from InputError("bad: is empty; export it again")
    if item["image"] == "odd":
        raise ZeroDivisionError
    return {**item, "image": MetaTensor(torch.zeros(1, 2, 2), meta={"films": [item["image"]]})}


def items(*names):
    return [{"case": f"{i}_{name}", "image": name} for i, name in enumerate(names)]


def test_a_bad_item_is_passed_over_and_its_sentence_kept(caplog):
    dataset = TolerantDataset(items("good", "bad", "good"), read)
    assert [item["case"] for item in dataset] == ["0_good", "2_good"]
    assert dataset.problems == {"1_bad": "bad: is empty; export it again"}
    assert dataset.films == {"0_good": ["good"], "2_good": ["good"]}
    assert "1_bad is left out" in caplog.text


def test_what_was_seen_of_films_does_not_go_into_batches():
    assert "films" not in next(iter(TolerantDataset(items("good"), read)))["image"].meta


def test_a_problem_that_was_found_before_reading_counts_too():
    data = [*items("good"), {"case": "b", "image": [], "problem": "b: the lateral is missing"}]
    dataset = TolerantDataset(data, read)
    assert len(list(dataset)) == 1
    assert dataset.problems == {"b": "b: the lateral is missing"}


def test_one_bad_input_alone_ends_the_run_and_so_does_a_fault_of_ours():
    with pytest.raises(RuntimeError):
        list(TolerantDataset(items("bad"), read))
    with pytest.raises(ZeroDivisionError):
        list(TolerantDataset(items("good", "odd"), read))


def test_two_inputs_of_one_name_are_refused():
    with pytest.raises(InputError, match="two inputs would be written as 'a'"):
        TolerantDataset([{"case": "a"}, {"case": "a"}], read)
