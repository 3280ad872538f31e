"""The mean of the training volumes, in one process and in two, without cases that come twice."""

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from torch import nn
from torch.utils.data import Dataset

from cohort import EpochSampler
from engines import X2CTTrainer
from handlers import MeanVolume
from losses import WeightedLosses
from tests.processes import in_processes


class Cases(Dataset):
    """Volumes that follow from the case, and in later epochs are other ones."""

    def __init__(self, count):
        self.volumes = torch.rand(count, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.volumes)

    def __getitem__(self, place):
        epoch, number = place
        label = MetaTensor(self.volumes[number] + (epoch - 1))
        return {"image": torch.zeros(2, 4, 4), "label": label, "geometry": torch.zeros(2, 4, 3), "case": f"a {number}"}


class Constant(nn.Module):
    """A generator of one number."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, image, geometry=None):
        return self.weight.expand(len(image), 1, 4, 4, 4)


def averaged(cases, epochs=2, mean=None, decollate=True):
    """Train on all cases, and return the handler."""
    mean, network = mean or MeanVolume(), Constant()
    X2CTTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(cases, batch_size=2, sampler=EpochSampler(len(cases))),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=WeightedLosses({"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}}),
        train_handlers=[mean],
        decollate=decollate,
    ).run()
    return mean


@pytest.mark.parametrize("decollate", [pytest.param(True, id="decollated"), pytest.param(False, id="collated")])
@pytest.mark.parametrize("count", [4, 5])
def test_it_is_the_mean_of_the_volumes_of_the_first_epoch(count, decollate):
    cases = Cases(count)
    found = averaged(cases, decollate=decollate).volume
    assert type(found) is torch.Tensor
    torch.testing.assert_close(found, cases.volumes.mean(0), rtol=0, atol=1e-7)


@pytest.mark.parametrize("count", [4, 5, 7])
def test_two_processes_have_the_mean_of_all_cases_each_once(tmp_path, count):
    cases = Cases(count)
    in_processes(lambda rank: torch.save(averaged(cases).volume, tmp_path / f"{rank}.pt"))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, cases.volumes.mean(0), rtol=0, atol=1e-7)


def test_a_resumed_run_keeps_the_mean():
    cases = Cases(4)
    first = averaged(cases, epochs=1)
    resumed = MeanVolume()
    resumed.load_state_dict(first.state_dict())
    assert torch.equal(averaged(Cases(5), mean=resumed).volume, first.volume)
    unfinished = MeanVolume()
    unfinished.load_state_dict(MeanVolume().state_dict())
    assert torch.equal(averaged(cases, mean=unfinished).volume, first.volume)
