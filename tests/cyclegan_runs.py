"""Small runs of CycleGAN and FastCUT for the tests, wired as in their configs, on images of (epoch, place)."""

from __future__ import annotations

import torch
from monai.handlers import LrScheduleHandler
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from cohort import EpochSampler
from engines import (
    ConstantThenLinear,
    CycleGANTrainer,
    EpochSeeds,
    ExponentialAverage,
    FastCUTTrainer,
    ImagePool,
    PolarityCheck,
    Resume,
)
from losses import CycleLoss, LSGANLoss, PatchNCELoss
from networks import PatchDiscriminator2D, PatchProjector, ResnetGenerator

IMAGES = 4
NETWORKS = ("to_drr", "to_real", "drr_discriminator", "real_discriminator")


class Films(Dataset):
    """Smooth noise of two tones."""

    def __init__(self, dtype=torch.float32):
        self.dtype = dtype

    def __len__(self):
        return IMAGES

    def __getitem__(self, place):
        generator = torch.Generator().manual_seed(100 * place[0] + place[1])
        noise = torch.rand(2, 1, 36, 36, generator=generator)
        real, drr = torch.nn.functional.avg_pool2d(noise, 5, 1)
        return {"real": real.to(self.dtype), "drr": drr.to(self.dtype) ** 2}


def make_run(
    folder, mode="latest", seed=0, max_epochs=4, rank=0, world_size=1, batch=1, dropout=0.0, plain=False, **options
):
    """A run and its trainer; `plain` takes SGD and float64, since Adam and the norms make much of rounding."""
    torch.manual_seed(seed)
    dtype = torch.float64 if plain else torch.float32
    parts = {
        "to_drr": ResnetGenerator(channels=4, blocks=1, dropout=dropout),
        "to_real": ResnetGenerator(channels=4, blocks=1, dropout=dropout),
        "drr_discriminator": PatchDiscriminator2D(channels=4, padding=1),
        "real_discriminator": PatchDiscriminator2D(channels=4, padding=1),
    }
    parts = {name: network.to(dtype) for name, network in parts.items()}
    if world_size > 1:
        parts = {name: DistributedDataParallel(network) for name, network in parts.items()}
    networks = dict(parts)
    ema = ExponentialAverage(networks["to_drr"])
    for name, pair in (("optimizer", NETWORKS[:2]), ("discriminator_optimizer", NETWORKS[2:])):
        parameters = [p for part in pair for p in networks[part].parameters()]
        make = torch.optim.SGD(parameters, 0.05) if plain else torch.optim.Adam(parameters, 2e-3, (0.5, 0.999))
        parts[name] = make
    schedules = [ConstantThenLinear(parts[f"{kind}optimizer"], 2, 2, stepped="end") for kind in ("", "discriminator_")]
    pools = {"real": ImagePool(3, seed + 1), "drr": ImagePool(3, seed + 2)}
    polarity = PolarityCheck(1000)
    kept = parts | {"ema": ema, "polarity": polarity, "real_pool": pools["real"], "drr_pool": pools["drr"]}
    kept |= {f"schedule_{i}": schedule for i, schedule in enumerate(schedules)}
    resume = Resume(folder, kept, {"seed": seed}, mode, write=rank == 0)
    sampler = EpochSampler(IMAGES, seed, rank, world_size)
    trainer = CycleGANTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Films(dtype), batch_size=batch, sampler=sampler),
        **networks,
        optimizer=parts["optimizer"],
        discriminator_optimizer=parts["discriminator_optimizer"],
        adversarial_loss=LSGANLoss(),
        cycle_loss=CycleLoss(10.0, 10.0, 0.1),
        pools=pools if world_size == 1 and not plain else None,
        ema=ema,
        train_handlers=[
            EpochSeeds(seed, sampler, rank),
            *(LrScheduleHandler(schedule, print_lr=False) for schedule in schedules),
            polarity,
            resume,
        ],
        **options,
    )
    return resume, trainer


def make_fastcut_run(folder, mode="latest", max_epochs=2, rank=0, world_size=1, batch=1, plain=False, **options):
    """As `make_run`, of FastCUT; all processes draw the same mirrored steps and places."""
    torch.manual_seed(0)
    dtype = torch.float64 if plain else torch.float32
    network = ResnetGenerator(channels=4, blocks=2, antialias=True, init="xavier")
    parts = {
        "network": network,
        "projector": PatchProjector(network.feature_channels, 8),
        "discriminator": PatchDiscriminator2D(channels=4, padding=1),
    }
    if plain:  # as it starts, a plain step would throw the projector far off: the gradient of a length is 1 / length
        parts["projector"].apply(lambda layer: layer.reset_parameters() if isinstance(layer, nn.Linear) else None)
    parts = {name: part.to(dtype) for name, part in parts.items()}
    if world_size > 1:
        parts = {name: DistributedDataParallel(part) for name, part in parts.items()}
    networks = dict(parts)
    ema = ExponentialAverage(networks["network"])
    for name, stepped in (("optimizer", ("network", "projector")), ("discriminator_optimizer", ("discriminator",))):
        parameters = [p for part in stepped for p in networks[part].parameters()]
        parts[name] = torch.optim.SGD(parameters, 0.05) if plain else torch.optim.Adam(parameters, 2e-3, (0.5, 0.999))
    resume = Resume(folder, parts | {"ema": ema}, {}, mode, write=rank == 0)
    sampler = EpochSampler(IMAGES, 0, rank, world_size)
    trainer = FastCUTTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Films(dtype), batch_size=batch, sampler=sampler),
        **networks,
        optimizer=parts["optimizer"],
        discriminator_optimizer=parts["discriminator_optimizer"],
        adversarial_loss=LSGANLoss(),
        content_loss=PatchNCELoss(),
        patches=32,
        ema=ema,
        train_handlers=[EpochSeeds(0, sampler), resume],
        **options,
    )
    return resume, trainer


def final(resume):
    """All weights, moments and pools at the end, by a flat name."""
    found = {}

    def walk(name, value):
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name} {key}", inner)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                walk(f"{name} {number}", inner)
        elif isinstance(value, (int, float)):
            found[name] = torch.tensor(value)

    for part, holder in resume.parts.items():
        walk(part, holder.state_dict())
    return found
