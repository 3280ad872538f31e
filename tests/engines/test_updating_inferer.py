import torch
from torch import nn

from drr import Acquisition, VolumeGrid
from engines import UpdatingInferer
from networks import ConsistencyUpdate

GRID = VolumeGrid(16, 20.0)
ACQUISITION = Acquisition(
    grid=GRID, geometry="chest", curve="water", film_style="linear", detector_shape=16, anchor="centre"
)


class Constant(nn.Module):
    """A network that predicts one learned number, and keeps the geometry it was given."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.2))
        self.given = None

    def forward(self, image, geometry=None):
        self.given = geometry
        return self.value.expand(len(image), 1, *GRID.shape)


def test_the_volume_is_the_updated_one_and_the_network_learns_through_it():
    network, update = Constant(), ConsistencyUpdate(ACQUISITION)
    image = torch.rand(2, 2, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.3
    geometry = ACQUISITION.geometry_tensor()[None].expand(2, -1, -1, -1)
    found = UpdatingInferer(update)(image, network, geometry=geometry)
    assert network.given is geometry
    with torch.no_grad():
        expected = update(torch.full((2, 1, *GRID.shape), 0.2), image, geometry)
    torch.testing.assert_close(found.detach(), expected)
    found.mean().backward()
    # Part of a change of the prediction is taken back by the update, which the films decide.
    assert 0 < float(network.value.grad) < 1
