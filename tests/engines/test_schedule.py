import json

import pytest
import torch

from engines import ConstantThenLinear


def rates(floor):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    scheduler = ConstantThenLinear(optimizer, constant_epochs=50, decay_epochs=50, floor=floor)
    found = []
    for _ in range(100):
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
