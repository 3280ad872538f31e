"""FastCUT runs that are killed and resumed, and two processes compared with one."""

import pytest
import torch

from tests.cyclegan_runs import make_fastcut_run
from tests.engines.test_cyclegan_resume import apart, assert_two_train_as_one, ended
from tests.processes import deaths


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert apart(folder, make=make_fastcut_run, max_epochs=3) == 0
    return ended(folder)


@pytest.mark.parametrize("die", deaths(renames=(1, 2, 4), saves=(2,)))
def test_a_run_killed_at_any_moment_ends_the_same(tmp_path, uninterrupted, die):
    assert apart(tmp_path, die, make=make_fastcut_run, max_epochs=3) != 0
    assert not (tmp_path / "final_0.pt").exists()
    assert apart(tmp_path, make=make_fastcut_run, max_epochs=3) == 0
    found = ended(tmp_path)
    assert found.keys() == uninterrupted.keys()
    assert not [name for name in found if not torch.equal(found[name], uninterrupted[name])]
    assert "projector layers.0.0.weight" in found


@pytest.mark.parametrize(
    "options", [pytest.param({}, id="every batch"), pytest.param({"accumulation_steps": 2}, id="accumulated")]
)
def test_two_processes_train_as_one_with_the_batch_of_both(tmp_path, options):
    """With one seed, since mirroring and the places compared are drawn, once for a whole batch."""
    assert_two_train_as_one(tmp_path, 1e-8, make=make_fastcut_run, **options)
