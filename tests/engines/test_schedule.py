import json

import pytest
import torch

from conventions import InputError
from engines import ConstantThenLinear


def rates(floor, constant=50, decay=50, stepped="start"):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    scheduler = ConstantThenLinear(optimizer, constant, decay, floor, stepped)
    found = []
    for _ in range(constant + decay):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_authors_rates_down_to_the_floor(oracle):
    authors = json.loads((oracle / "x2ct" / "misc.json").read_text())["lr_by_epoch_fresh"]
    authors = list(authors.values()) if isinstance(authors, dict) else authors
    ours = rates(0.01)
    assert ours[:99] == pytest.approx(authors[:99], rel=1e-9)
    assert authors[99] == 0
    assert ours[99] == pytest.approx(2e-6)
    assert min(ours) > 0


def test_a_floor_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        rates(0.0)


@pytest.mark.parametrize("stepped", ["start", "end"])
@pytest.mark.parametrize(("constant", "decay"), [(100, 100), (2, 3)])
def test_the_rates_of_cyclegan_wherever_it_steps_them(oracle, constant, decay, stepped):
    stored = json.loads((oracle / "cyclegan" / "schedule.json").read_text())
    theirs = stored[f"{constant}+{decay}/{stepped}_of_epoch"]
    assert rates(1e-12, constant, decay, stepped) == pytest.approx(theirs, rel=1e-12, abs=1e-15)
    assert (theirs[-1] == 0) == (stepped == "start")


def test_another_place_is_refused():
    with pytest.raises(InputError, match="got 'middle'"):
        rates(0.01, stepped="middle")
