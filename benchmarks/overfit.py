"""Can the network learn at all? Overfit two phantoms and print the PSNR on the way.

Run from the repository: python -m benchmarks.overfit [--steps 450] [--learning_rate 2e-3] [--seed 0]

Method: the generator of the demo (64^3 voxels, the widths and the linear head of demo.json) without dropout is trained
with the paper's voxel and projection losses and no discriminator on one batch of two phantoms (seeds 0 and 1, chest
geometry), with Adam and a constant, then linearly falling rate. The figure is the mean PSNR of the two, peak 2500 HU,
in training mode: instance norm knows no other. A sound network passes 30 dB.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import fire
import torch

from cohort import thorax_phantom
from conventions import hu_to_unit
from drr import VolumeGrid
from engines import ConstantThenLinear
from losses import ProjectionLoss, WeightedLosses
from metrics import psnr
from networks import build_network
from transforms import RayCastDRR

ROOT = Path(__file__).resolve().parent.parent
SIZE = 64


def two_cases() -> tuple[torch.Tensor, torch.Tensor]:
    """Radiographs (2, 2, 64, 64) and unit volumes (2, 1, 64, 64, 64) of two phantoms."""
    grid = VolumeGrid((SIZE, SIZE, SIZE), 320 / SIZE)
    render = RayCastDRR(grid, "chest", "water", "linear", (SIZE, SIZE))
    volumes = [torch.from_numpy(thorax_phantom(seed, grid.shape, 320 / SIZE).volume_hu)[None] for seed in (0, 1)]
    images = torch.stack([render(volume).as_tensor() for volume in volumes])
    return images, torch.stack([hu_to_unit(volume) for volume in volumes])


def overfit(steps: int = 450, learning_rate: float = 2e-3, seed: int = 0) -> None:
    """Train on two cases and print the curve.

    Args:
        steps: number of steps.
        learning_rate: of Adam, before it falls.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    image, label = two_cases()
    demo = json.loads((ROOT / "bundle" / "configs" / "demo.json").read_text())
    widths = {key.removeprefix("network_def::"): value for key, value in demo.items() if "network_def::" in key}
    network = build_network("x2ct_biplanar", image_size=SIZE, dropout=0.0, **widths)
    loss = WeightedLosses(
        {
            "reconstruction": {"loss": torch.nn.MSELoss(), "weight": 10.0},
            "projection": {"loss": ProjectionLoss(), "weight": 10.0},
        }
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.99))
    schedule = ConstantThenLinear(optimizer, steps // 2, steps - steps // 2)
    start = time.perf_counter()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        prediction = network(image)
        sum(loss(prediction, label).values()).backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == steps:
            db = float(psnr(prediction.detach().clip(0, 1), label, 1.0).mean())
            print(f"step {step:4d}  {time.perf_counter() - start:6.0f} s  PSNR {db:.2f} dB", flush=True)


if __name__ == "__main__":
    fire.Fire(overfit)
