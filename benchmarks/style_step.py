"""Compare our training step of CycleGAN with the official code: time and losses.

Writes its section of docs/benchmarks.md. Run from the repository, with a checkout of
github.com/junyanz/pytorch-CycleGAN-and-pix2pix:
    python -m benchmarks.style_step --official /path/to/pytorch-CycleGAN-and-pix2pix --rounds 5

Method: A step updates both generators and both discriminators in float32, with one image from each domain, one channel,
identity 0.5 and pools of 50. Theirs is their `CycleGANModel`, unchanged; ours is `CycleGANTrainer` with the networks,
optimisers and losses of bundle/configs/train_cyclegan.json. Both start from the same weights (`networks.to_official`)
and images. Each has a process of its own with the number of threads in `--threads`; they take turns of one step, and
ratios are formed within a round; below 1 ours is faster. The first step warms up and gives the losses; if one differs
by more than 1e-4 of its value, no ratio is given. A row with bf16 compares our step in that precision with theirs in
float32: it shows the time that the option saves, not the same results. In float32, 82 % of our step are convolutions of
oneDNN, which both sides call with the same shapes, so that little is left to gain: two images in one batch take 1.00 of
the time of one after the other, and `channels_last` takes 1.05 to 1.07 (a generator forward and backward, 128/6, one
thread).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fire
import torch

from benchmarks.official import circumstances
from benchmarks.report import ratios, replace_section, spread
from benchmarks.side import Side, attempt
from conventions import InputError, report_input_errors
from engines import CycleGANTrainer, ImagePool
from losses import CycleLoss, LSGANLoss
from networks import build_network, to_official

TITLE = "CycleGAN step"
"""Title of its section of the page."""

LARGEST_DIFFERENCE = 1e-4
"""Largest relative difference between the losses of the two sides."""

FULL = "fp32"
"""Precision in which the two sides are comparable."""

LANDMARK = Path("models", "cycle_gan_model.py")
"""File by which a checkout is recognised."""

LOSSES = {
    "adversarial_drr": "G_A",
    "adversarial_real": "G_B",
    "cycle_real": "cycle_A",
    "cycle_drr": "cycle_B",
    "identity_drr": "idt_A",
    "identity_real": "idt_B",
    "discriminator_drr": "D_A",
    "discriminator_real": "D_B",
}
"""Our name of a loss -> the official one, where films are A and DRRs are B."""

NETWORKS = {"netG_A": "to_drr", "netG_B": "to_real", "netD_A": "drr_discriminator", "netD_B": "real_discriminator"}
"""Official name of a network -> ours."""


@dataclass
class Row:
    """Results of one side, or the reason why there are none."""

    losses: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    reason: str = ""


class Ours:
    """Our step.

    Args:
        size: side of the images.
        blocks: residual blocks of the generators.
        threads: threads of torch.
        channels: channels of generators and discriminators.
        precision: as in `CycleGANTrainer`.
    """

    def __init__(self, size: int, blocks: int, threads: int, channels: int = 64, precision: str = FULL) -> None:
        torch.set_num_threads(threads)
        nets: dict[str, Any] = dict(_networks(blocks, channels))
        self.batch = _batch(size)
        generators = [*nets["to_drr"].parameters(), *nets["to_real"].parameters()]
        judges = [*nets["drr_discriminator"].parameters(), *nets["real_discriminator"].parameters()]
        self.trainer = CycleGANTrainer(
            device="cpu",
            max_epochs=1,
            train_data_loader=[self.batch],
            **nets,
            optimizer=torch.optim.Adam(generators, 2e-4, (0.5, 0.999), fused=True),
            discriminator_optimizer=torch.optim.Adam(judges, 2e-4, (0.5, 0.999), fused=True),
            adversarial_loss=LSGANLoss(),
            cycle_loss=CycleLoss(10.0, 10.0, 0.5),
            pools={"real": ImagePool(50, 1), "drr": ImagePool(50, 2)},
            precision=precision,
        )

    def first(self) -> dict[str, float]:
        """Run the first step and return its losses by their official names."""
        self.trainer.run()
        return {theirs: float(self.trainer.state.output[ours]) for ours, theirs in LOSSES.items()}

    def turn(self) -> float:
        """Run another step and return its seconds."""
        start = time.perf_counter()
        self.trainer.run()
        return time.perf_counter() - start


class Official:
    """The official step.

    Args:
        checkout: folder of the official code.
        size, blocks, threads, channels: as in `Ours`.
    """

    def __init__(self, checkout: str, size: int, blocks: int, threads: int, channels: int = 64) -> None:
        torch.set_num_threads(threads)
        sys.path.insert(0, checkout)
        from models.cycle_gan_model import CycleGANModel  # type: ignore[import-not-found]

        self.model = CycleGANModel(
            SimpleNamespace(
                **{"gpu_ids": [], "isTrain": True, "checkpoints_dir": tempfile.mkdtemp(), "name": "x"},
                **{"preprocess": "none", "input_nc": 1, "output_nc": 1, "ngf": channels, "ndf": channels},
                **{"netG": f"resnet_{blocks}blocks", "netD": "basic", "n_layers_D": 3, "norm": "instance"},
                **{"no_dropout": True, "init_type": "normal", "init_gain": 0.02, "pool_size": 50, "gan_mode": "lsgan"},
                **{"lr": 2e-4, "beta1": 0.5, "lambda_identity": 0.5, "lambda_A": 10.0, "lambda_B": 10.0},
                direction="AtoB",
                device=torch.device("cpu"),
            )
        )
        for theirs, ours in NETWORKS.items():
            network = _networks(blocks, channels)[ours]
            getattr(self.model, theirs).load_state_dict(to_official(network.state_dict(), network))
        images = {name: 2 * image - 1 for name, image in _batch(size).items()}
        self.model.set_input({"A": images["real"], "B": images["drr"], "A_paths": [""], "B_paths": [""]})

    def first(self) -> dict[str, float]:
        """Run the first step and return its losses."""
        self.model.optimize_parameters()
        return {name: float(getattr(self.model, f"loss_{name}")) for name in LOSSES.values()}

    def turn(self) -> float:
        """Run another step and return its seconds."""
        start = time.perf_counter()
        self.model.optimize_parameters()
        return time.perf_counter() - start


def _networks(blocks: int, channels: int) -> dict[str, torch.nn.Module]:
    """Build the four networks, the same in every process."""
    torch.manual_seed(0)
    nets = {name: build_network("resnet_9blocks", blocks=blocks, channels=channels) for name in ("to_drr", "to_real")}
    return nets | {f"{n}_discriminator": build_network("patchgan_70", channels=channels) for n in ("drr", "real")}


def _batch(size: int) -> dict[str, torch.Tensor]:
    noise = torch.rand(2, 1, 1, size + 8, size + 8, generator=torch.Generator().manual_seed(1))
    smooth = [torch.nn.functional.avg_pool2d(image, 9, 1) for image in noise]
    return {"real": smooth[0], "drr": smooth[1] ** 2}


def compare(
    checkout: str, size: int, blocks: int, rounds: int, threads: int, channels: int, precision: str = FULL
) -> tuple[Row, Row]:
    """Let both sides take turns.

    Args:
        checkout: folder of the official code.
        size: side of the images.
        blocks: residual blocks of the generators.
        rounds: turns of each side.
        threads: threads of each side.
        channels: channels of generators and discriminators.
        precision: precision of our side.

    Returns:
        Our row and the official one.
    """
    rows, sides = (Row(), Row()), (Side(), Side())
    same = (size, blocks, threads, channels)
    subjects: tuple[tuple[Any, ...], ...] = ((Ours, *same, precision), (Official, checkout, *same))
    try:
        for row, side, subject in zip(rows, sides, subjects, strict=True):
            attempt(row, partial(side.load, *subject))
            attempt(row, partial(_first, side, row))
        for _ in range(rounds):
            for row, side in zip(rows, sides, strict=True):
                attempt(row, partial(_turn, side, row))
    finally:
        for side in sides:
            side.stop()
    return rows


def _first(side: Side, row: Row) -> None:
    row.losses.update(side.ask("first"))


def _turn(side: Side, row: Row) -> None:
    row.seconds.append(side.ask("turn"))


def table_row(name: str, ours: Row, theirs: Row, precision: str = FULL) -> str:
    """Format a line of the table: medians with their ranges, ratios within rounds, largest difference of a loss."""
    if ours.reason or theirs.reason:
        return f"| {name} | {ours.reason or 'ran'} | {theirs.reason or 'ran'} | | |"
    difference = max(abs(ours.losses[k] - v) / abs(v) for k, v in theirs.losses.items())
    comparable = difference <= LARGEST_DIFFERENCE or precision != FULL
    ratio = spread(ratios(ours.seconds, theirs.seconds), ".2f") if comparable else "not the same"
    fastest = f"{min(ours.seconds) / min(theirs.seconds):.2f}"
    times = " | ".join(spread(row.seconds, ".2f") for row in (ours, theirs))
    return f"| {name} | {times} | {ratio} ({fastest}) | {difference:.1e} |"


def main(
    official: str,
    sizes: str = "128/6,128/9,128/6/bf16",
    rounds: int = 5,
    threads: int = 1,
    channels: int = 64,
    page: str | None = None,
) -> None:
    """Measure and print, and write the section of a page if one is named.

    Args:
        official: checkout of the official code.
        sizes: SIDE/BLOCKS or SIDE/BLOCKS/PRECISION (of our side), separated by commas.
        rounds: turns of each side.
        threads: threads of each side.
        channels: channels of the networks.
        page: page to write, for example docs/benchmarks.md.
    """
    checkout = Path(str(official)).absolute()
    if not (checkout / LANDMARK).is_file():
        raise InputError(f"{checkout}: is not a checkout of the official code ({LANDMARK} is not there); clone it")
    cases = sizes if isinstance(sizes, (tuple, list)) else str(sizes).split(",")
    lines = list(_section(checkout, [str(case) for case in cases], rounds, threads, channels))
    print("\n".join(lines))
    if page is not None:
        replace_section(page, TITLE, lines)


def _section(checkout: Path, cases: list[str], rounds: int, threads: int, channels: int) -> Iterator[str]:
    assert __doc__ is not None
    yield from ("Written by `python -m benchmarks.style_step`.", "", __doc__.partition("Method: ")[2])
    yield "| pixels/blocks | ours, s | official, s | ratio (of the fastest) | largest difference of a loss |"
    yield "|---|---|---|---|---|"
    for case in cases:
        size, blocks, *precision = case.split("/")
        ours, theirs = compare(str(checkout), int(size), int(blocks), rounds, threads, channels, *precision)
        yield table_row(case, ours, theirs, *precision)
    yield ""
    yield from circumstances(checkout, "cpu", rounds)
    yield f"- Threads per side: {threads}"


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(main, name="style_step")
