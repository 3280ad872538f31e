"""Run a training step, ours or the authors', in a process of its own for `benchmarks.training_step`."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.handlers import from_engine
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.memory import forget_peak, peak_bytes
from benchmarks.official import load_our_weights, put_on_path
from cohort.phantoms.generate import write_phantom
from conventions import Keys
from transforms import HUWindowd, RayCastDRRd, ReadVolumed, ResampleToGridd

CONFIGS = Path(__file__).resolve().parent.parent / "bundle" / "configs"

LOSSES = {"discriminator": "D", "adversarial": "G", "reconstruction": "idt", "projection": "map_m"}
"""Our name of a loss -> the authors' name."""

ACCUMULATED = 2
"""Number of batches of an accumulated step that are run; the later ones are like the second."""

READING, CASTING, WINDOWING = "reading and resampling", "ray casting", "windowing"
PIECES = {READING: (ReadVolumed, ResampleToGridd), CASTING: (RayCastDRRd,), WINDOWING: (HUWindowd,)}
"""Part of the preprocessing in train.json -> its transforms."""

UNSET = {"if_pool": False, "init_type": "normal", "skip_number": 1, "n_layers_D": 3}
"""Options of the authors' model that their experiment leaves at the defaults of lib/config/config.py."""


@dataclass(frozen=True)
class Case:
    """The case that both sides run."""

    device: str
    size: int
    overlay: str | None = None
    """A memory preset on train.json; None is train.json itself, with one volume a step."""
    ema: bool = False
    """Whether to update the running average of weights."""


@dataclass(frozen=True)
class First:
    """Results of the first step of a new process."""

    losses: dict[str, float]
    """Losses by the authors' names."""
    before: int
    """Bytes before the step: the process with its networks and the batch, or the allocated memory of the GPU."""
    volumes: int
    """Number of volumes in a step."""


@dataclass(frozen=True)
class Turn:
    """Time and memory of a later step."""

    seconds: float
    generator_seconds: float
    """Seconds of the step until the update of the generator is done."""
    peak: int
    """Largest number of bytes since the first step began."""


class Subject:
    """A training step that is run repeatedly. Subclasses set `generator_optimizer`.

    Args:
        case: the case.
    """

    generator_optimizer: Optimizer
    volumes = 1

    def __init__(self, case: Case) -> None:
        self.case = case
        torch.backends.cudnn.allow_tf32 = False

    def step(self) -> None:
        """Update both networks."""
        raise NotImplementedError

    def losses(self) -> dict[str, float]:
        """Return the losses of the last step by the authors' names."""
        raise NotImplementedError

    def pieces(self) -> dict[str, float]:
        """Measure the seconds of the preprocessing of one case, if the side has it."""
        return {}

    def first(self) -> First:
        """Run the first step, which warms up."""
        torch.manual_seed(2)  # so that both sides drop the same values
        before = forget_peak(self.case.device)
        self.step()
        return First(self.losses(), before, self.volumes)

    def turn(self) -> Turn:
        """Run one more step."""
        marks: list[float] = []
        hook = self.generator_optimizer.register_step_post_hook(lambda *_: marks.append(self._now()))
        start = self._now()
        self.step()
        end = self._now()
        hook.remove()
        return Turn(end - start, marks[-1] - start, peak_bytes(self.case.device))

    def _now(self) -> float:
        if self.case.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


class Ours(Subject):
    """The trainer of train.json, with an overlay or without.

    Args:
        case: the case.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.phantom = Phantom(case)
        parser = read_config(case)
        batch_size, batches = parser["batch_size"], parser["train::trainer::accumulation_steps"]
        self.volumes = batch_size * batches
        parser["train::trainer::train_data_loader"] = [self.phantom.batch(batch_size)] * batches
        same_networks(parser)
        self.trainer = parser.get_parsed_content("train::trainer")
        self.generator_optimizer = self.trainer.optimizer

    def step(self) -> None:
        """Run an epoch of one step."""
        self.trainer.run()

    def losses(self) -> dict[str, float]:
        """Return the losses of the last batch by the authors' names."""
        values = from_engine(list(LOSSES), first=True)(self.trainer.state.output)
        return {name: float(value) for name, value in zip(LOSSES.values(), values, strict=True)}

    def pieces(self) -> dict[str, float]:
        """Measure reading, ray casting and windowing of the phantom."""
        return self.phantom.pieces()


class Authors(Subject):
    """The authors' model class with the options of their biplanar experiment, and our weights.

    Args:
        case: the case.
        checkout: folder of their code.
    """

    def __init__(self, case: Case, checkout: Path) -> None:
        super().__init__(case)
        batch = Phantom(case).batch(1)
        ours = same_networks(read_config(case))
        put_on_path(checkout)
        from lib.model.factory import get_model

        with contextlib.redirect_stdout(None), tempfile.TemporaryDirectory() as folder:
            self.model = get_model("MultiViewCTGAN")()
            self.model.init_process(their_options(checkout, case, folder))
        for theirs, network in zip((self.model.netG, self.model.netD), ours, strict=True):
            load_our_weights(getattr(theirs, "module", theirs), network)
        radiographs = batch[Keys.IMAGE].split(1, dim=1)
        self.input = [batch[Keys.LABEL][:, 0], radiographs, [""]]
        self.generator_optimizer = self.model.optimizer_G

    def step(self) -> None:
        """Run a step as their train.py does."""
        self.model.set_input(self.input)
        self.model.optimize_parameters()

    def losses(self) -> dict[str, float]:
        """Return the losses of the last step."""
        return dict(self.model.get_current_losses())


def their_options(checkout: Path, case: Case, folder: str) -> SimpleNamespace:
    """Merge the authors' options as they do: one flat list, in which the section CTGAN comes last."""
    experiment = checkout / "3DGAN" / "experiment" / "multiview2500" / "d2_multiview2500.yml"
    read = ConfigParser.load_config_file(str(experiment))
    options = UNSET | {key: value for key, value in read.items() if not isinstance(value, dict)}
    for section in sorted((key for key, value in read.items() if isinstance(value, dict)), key="CTGAN".__eq__):
        options |= read[section]
    options |= {"encoder_input_shape": [case.size] * 2, "output_shape": [case.size] * 3}
    run = {"gpu_ids": [0] if case.device == "cuda" else [], "MODEL_SAVE_PATH": folder, "data": "", "tag": ""}
    return SimpleNamespace(**options | run)


def read_config(case: Case) -> ConfigParser:
    """Read train.json for a case."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.json") for name in ("train", case.overlay) if name])
    options = {
        "bundle_root": str(CONFIGS.parent),
        "device": case.device,
        "image_size": case.size,
        "train::trainer::max_epochs": 1,
        "train::trainer::train_handlers": None,
        "train::trainer::lr_scheduler": None,
        "train::trainer::resume": None,
        "adversary::lr_scheduler": None,
        "train::trainer::accumulation_steps": min(ACCUMULATED, parser["train::trainer::accumulation_steps"]),
    }
    if case.overlay is None:
        options["batch_size"] = 1
    if not case.ema:
        options["train::trainer::ema"] = None
    parser.update(options)
    return parser


def same_networks(parser: ConfigParser) -> list[nn.Module]:
    """Build the generator and the discriminator of a config, with the weights from which both sides start."""
    torch.manual_seed(0)
    return [parser.get_parsed_content(name) for name in ("network", "discriminator")]


class Phantom:
    """A procedural thorax, read and ray cast by the transforms of a config.

    Args:
        case: case that gives the config.
    """

    REPEATS = 5
    """Number of runs of which the median time is taken."""

    def __init__(self, case: Case) -> None:
        chain = read_config(case).get_parsed_content("validate::preprocessing").transforms
        self.size = case.size
        self.transforms: dict[str, list[Callable[[Any], Any]]] = {
            piece: [transform for transform in chain if isinstance(transform, kinds)] for piece, kinds in PIECES.items()
        }
        assert sum(map(len, self.transforms.values())) == len(chain)
        with tempfile.TemporaryDirectory() as folder:
            self.item = self._read(folder)[0]

    def batch(self, size: int) -> dict[str, Tensor]:
        """Return a batch of copies of the phantom."""
        keys = (Keys.IMAGE.value, Keys.LABEL.value, Keys.GEOMETRY.value)
        return {key: torch.stack([torch.Tensor(self.item[key])] * size) for key in keys}

    def pieces(self) -> dict[str, float]:
        """Measure the median seconds of each piece."""
        with tempfile.TemporaryDirectory() as folder:
            runs = [self._read(folder)[1] for _ in range(self.REPEATS)]
        return {piece: statistics.median(run[piece] for run in runs) for piece in self.transforms}

    def _read(self, folder: str) -> tuple[dict[str, Any], dict[str, float]]:
        item: Any = {Keys.LABEL.value: str(write_phantom(Path(folder), self.size, seed=0))}
        seconds: dict[str, float] = {}
        for piece, transforms in self.transforms.items():
            start = time.perf_counter()
            for transform in transforms:
                item = transform(item)
            seconds[piece] = time.perf_counter() - start
        return item, seconds
