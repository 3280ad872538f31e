"""Small runs of CycleGAN and FastCUT for the tests, wired as in their configs, on images of (epoch, place)."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from ignite.engine import Events
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from cohort import EpochSampler
from engines import ConstantThenLinear, CycleGANTrainer, ExponentialAverage, FastCUTTrainer, ImagePool
from handlers import EpochSeeds, PolarityCheck, Resume
from losses import CycleLoss, LSGANLoss, PatchNCELoss
from networks import PatchDiscriminator2D, PatchProjector, ResnetGenerator

IMAGES = 4


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


class OneSeed:
    """Seeds every epoch alike in all processes, so that they draw the same mirrored steps and places."""

    def __init__(self, sampler):
        self.sampler = sampler

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine):
        torch.manual_seed(engine.state.epoch)
        self.sampler.set_epoch(engine.state.epoch)


def ready(networks, plain):
    """The networks in the precision of the run and, where there are several processes, as they train together."""
    networks = {name: network.to(torch.float64 if plain else torch.float32) for name, network in networks.items()}
    if idist.get_world_size() > 1:
        networks = {name: DistributedDataParallel(network) for name, network in networks.items()}
    return networks


def optimizer_of(networks, plain):
    parameters = [p for network in networks for p in network.parameters()]
    return torch.optim.SGD(parameters, 0.05) if plain else torch.optim.Adam(parameters, 2e-3, (0.5, 0.999))


def make_run(folder, mode="latest", seed=0, max_epochs=4, batch=1, dropout=0.0, plain=False, **options):
    """A trainer of CycleGAN; `plain` takes SGD and float64, since Adam and the norms make much of rounding."""
    torch.manual_seed(seed)
    networks = ready(
        {
            "to_drr": ResnetGenerator(channels=4, blocks=1, dropout=dropout),
            "to_real": ResnetGenerator(channels=4, blocks=1, dropout=dropout),
            "drr_discriminator": PatchDiscriminator2D(channels=4, padding=1),
            "real_discriminator": PatchDiscriminator2D(channels=4, padding=1),
        },
        plain,
    )
    to_drr, to_real, *discriminators = networks.values()
    optimizers = [optimizer_of((to_drr, to_real), plain), optimizer_of(discriminators, plain)]
    schedules = [ConstantThenLinear(optimizer, 2, 2, stepped="end") for optimizer in optimizers]
    pools = {"real": ImagePool(3, seed + 1), "drr": ImagePool(3, seed + 2)}
    polarity = PolarityCheck(1000)
    sampler = EpochSampler(IMAGES, seed)
    return CycleGANTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Films(torch.float64 if plain else torch.float32), batch, sampler=sampler),
        **networks,
        optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1],
        lr_scheduler=schedules[0],
        discriminator_lr_scheduler=schedules[1],
        adversarial_loss=LSGANLoss(),
        cycle_loss=CycleLoss(10.0, 10.0, 0.1),
        pools=None if plain else pools,
        ema=ExponentialAverage(to_drr),
        train_handlers=[EpochSeeds(seed, sampler), polarity],
        resume=Resume(folder, {"seed": seed}, mode, {"polarity": polarity}),
        **options,
    )


def make_fastcut_run(folder, mode="latest", max_epochs=2, batch=1, plain=False, **options):
    """A trainer of FastCUT, as `make_run`."""
    torch.manual_seed(0)
    network = ResnetGenerator(channels=4, blocks=2, antialias=True, init="xavier")
    projector = PatchProjector(network.feature_channels, 8)
    if plain:  # as it starts, a plain step would throw the projector far off: the gradient of a length is 1 / length
        projector.apply(lambda layer: layer.reset_parameters() if isinstance(layer, nn.Linear) else None)
    discriminator = PatchDiscriminator2D(channels=4, padding=1)
    networks = ready({"network": network, "projector": projector, "discriminator": discriminator}, plain)
    sampler = EpochSampler(IMAGES, 0)
    return FastCUTTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Films(torch.float64 if plain else torch.float32), batch, sampler=sampler),
        **networks,
        optimizer=optimizer_of((networks["network"], networks["projector"]), plain),
        discriminator_optimizer=optimizer_of((networks["discriminator"],), plain),
        adversarial_loss=LSGANLoss(),
        content_loss=PatchNCELoss(),
        patches=32,
        ema=ExponentialAverage(networks["network"]),
        train_handlers=[OneSeed(sampler) if plain else EpochSeeds(0, sampler)],
        resume=Resume(folder, {}, mode),
        **options,
    )


def final(trainer):
    """All weights, moments and pools of a trainer, by a flat name."""
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

    for part, holder in trainer.resume.parts.items():
        walk(part, holder.state_dict())
    return found
