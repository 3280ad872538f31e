"""CycleGAN runs that are killed and resumed, and two processes compared with one."""

import pytest
import torch

from tests.cyclegan_runs import final, make_run
from tests.processes import deaths, in_a_process_of_its_own, in_processes


def train(folder, die=None, rank=0, make=make_run, **options):
    """A run in this process, and what it ends with, in a file."""
    if die is not None:
        die()
    trainer = make(folder, **options)
    trainer.run()
    torch.save(final(trainer), folder / f"final_{rank}.pt")


def ended(folder, rank=0):
    return torch.load(folder / f"final_{rank}.pt", weights_only=True)


def apart(folder, die=None, **options):
    """The same in a process of its own, which may be killed."""
    return in_a_process_of_its_own(lambda: train(folder, die, **options))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert apart(folder, dropout=0.5) == 0
    return ended(folder)


@pytest.mark.parametrize("die", deaths(renames=(1, 2, 3, 4, 5, 7, 9), saves=(1, 2, 4)))
def test_a_run_killed_at_any_moment_ends_the_same_pools_included(tmp_path, uninterrupted, die):
    assert apart(tmp_path, die, dropout=0.5) != 0
    assert not (tmp_path / "final_0.pt").exists()
    assert apart(tmp_path, dropout=0.5) == 0
    found = ended(tmp_path)
    assert found.keys() == uninterrupted.keys()
    assert not [name for name in found if not torch.equal(found[name], uninterrupted[name])]
    for kept in ("real_pool images 2", "drr_pool images 0", "real_pool numbers 600", "optimizer state 0 exp_avg"):
        assert kept in found


def test_pools_matter_and_were_full(uninterrupted, tmp_path):
    """The comparison above would see a pool that was forgotten."""
    trainer = make_run(tmp_path, max_epochs=2, dropout=0.5)
    trainer.run()
    for pool in trainer.pools.values():
        assert len(pool.images) == 3
        pool.images.clear()
    trainer.resume._save(trainer)
    assert apart(tmp_path, dropout=0.5) == 0
    name = "real_discriminator layers.0.conv.weight"
    assert not torch.equal(ended(tmp_path)[name], uninterrupted[name])


def assert_two_train_as_one(folder, tolerance, **options):
    """Two processes with one image each and one process with both leave the same weights, but for rounding."""
    alone, together = folder / "alone", folder / "together"
    alone.mkdir(), together.mkdir()
    options = {**options, "plain": True, "max_epochs": 1}
    in_processes(lambda rank: train(together, rank=rank, batch=1, **options))
    train(alone, batch=2, **options)
    first, second, expected = ended(together, 0), ended(together, 1), ended(alone)

    def weights(run):
        return {name: value for name, value in run.items() if name.split()[0] not in ("polarity", "precision")}

    torch.testing.assert_close(weights(first), weights(second), rtol=0, atol=0)
    torch.testing.assert_close(weights(first), weights(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "options", [pytest.param({}, id="every batch"), pytest.param({"accumulation_steps": 2}, id="accumulated")]
)
def test_two_processes_train_as_one_with_the_batch_of_both(tmp_path, options):
    assert_two_train_as_one(tmp_path, 1e-8, **options)
