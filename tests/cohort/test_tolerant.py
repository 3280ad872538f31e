"""Unreadable cases are skipped and remembered, in any number of processes."""

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Lambdad

from cohort import TolerantDataset, TolerantLoader
from conventions import InputError, input_error_in

WORKERS = pytest.mark.parametrize("workers", [pytest.param(0, id="no workers"), pytest.param(2, id="two workers")])


def to_tensor(image):
    if image == "bad":
        raise InputError("bad: is empty; export it again")
    if image == "fault":
        raise ZeroDivisionError("a fault of the program")
    return MetaTensor(torch.full((1, 2, 2), float(image)))


read = Compose([Lambdad("image", to_tensor)])
"""MONAI wraps what goes wrong in it in a RuntimeError."""


def items(*images):
    return [{"case": f"case_{number}", "image": image} for number, image in enumerate(images)]


@WORKERS
def test_readable_cases_come_in_order_and_the_problems_of_the_others_are_kept(workers, caplog):
    data = items("0", "bad", "2", "3", "", "5")
    data[4] |= {"image": [], "problem": "case_4: the lateral film is missing"}
    loader = TolerantLoader(TolerantDataset(data, read), workers)
    problems = {"case_1": "bad: is empty; export it again", "case_4": "case_4: the lateral film is missing"}
    for _ in range(2):  # another pass starts from scratch
        batches = list(loader)
        assert [batch["case"] for batch in batches] == [["case_0"], ["case_2"], ["case_3"], ["case_5"]]
        assert [float(batch["image"][0, 0, 0, 0]) for batch in batches] == [0, 2, 3, 5]
        assert batches[0]["image"].shape == (1, 1, 2, 2)
        assert loader.problems == problems
    assert [record.getMessage() for record in caplog.records if record.name == "x2ct.cohort"] == [
        f"{case} is left out: {sentence}" for case, sentence in problems.items()
    ] * 2


@WORKERS
@pytest.mark.parametrize(
    "item",
    [
        pytest.param({"case": "a", "image": "bad"}, id="unreadable"),
        pytest.param({"case": "a", "image": [], "problem": "bad: is empty; export it again"}, id="known problem"),
    ],
)
def test_a_single_bad_case_ends_the_run(workers, item):
    with pytest.raises((InputError, RuntimeError)) as caught:
        list(TolerantLoader(TolerantDataset([item], read), workers))
    assert input_error_in(caught.value) == "bad: is empty; export it again"


@WORKERS
def test_a_fault_of_the_program_ends_the_run(workers):
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        list(TolerantLoader(TolerantDataset(items("0", "fault", "2"), read), workers))
    assert input_error_in(caught.value) is None


def test_cases_of_one_name_are_refused():
    with pytest.raises(InputError, match="two inputs would both be named 'a'"):
        TolerantDataset([{"case": "a"}, {"case": "b"}, {"case": "a"}], read)
