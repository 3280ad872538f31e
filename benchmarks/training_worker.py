"""A training step, ours or the authors', as `benchmarks.training_step` runs it in a process of its own."""

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
from cohort.generate import write_phantom
from conventions import Keys

CONFIGS = Path(__file__).resolve().parent.parent / "bundle" / "configs"

LOSSES = {"discriminator": "D", "adversarial": "G", "reconstruction": "idt", "projection": "map_m"}
"""Our name of a loss -> the authors'."""

ACCUMULATED = 2
"""Batches of an accumulated step that are measured: the later ones are like the second."""

READING, CASTING, WINDOWING = "reading and resampling", "ray casting", "windowing"
PIECES = {READING: ("read_volume", "resample"), CASTING: ("ray_cast",), WINDOWING: ("window",)}
"""What comes before the step -> its transforms in train.json."""

UNSET = {"if_pool": False, "init_type": "normal", "skip_number": 1, "n_layers_D": 3}
"""Options that the authors' experiment leaves at the defaults of lib/config/config.py, of those their model reads."""


@dataclass(frozen=True)
class Case:
    """What to run."""

    device: str
    size: int
    overlay: str | None = None
    """On train.json, a memory preset; None is train.json itself, one volume a step."""
    ema: bool = False


@dataclass(frozen=True)
class First:
    """What the first step of a fresh process gave."""

    losses: dict[str, float]
    """By the authors' names."""
    before: int
    """Bytes before it: the process with its networks and the batch, or what is allocated on the GPU."""
    volumes: int
    """That a step takes in."""


@dataclass(frozen=True)
class Turn:
    """What a later step took."""

    seconds: float
    generator_seconds: float
    """Of them, to the end of the generator's update."""
    peak: int
    """Bytes, the most since the first step began."""


class Subject:
    """A training step that is run again and again. Subclasses set `generator_optimizer`.

    Args:
        case: what to run.
    """

    generator_optimizer: Optimizer
    volumes = 1

    def __init__(self, case: Case) -> None:
        self.case = case
        torch.backends.cudnn.allow_tf32 = False

    def step(self) -> None:
        """Both updates."""
        raise NotImplementedError

    def losses(self) -> dict[str, float]:
        """Of the last step, by the authors' names."""
        raise NotImplementedError

    def pieces(self) -> dict[str, float]:
        """Seconds of what comes before the step, for one case, where the side has it."""
        return {}

    def first(self) -> First:
        """The first step, which warms up."""
        torch.manual_seed(2)  # both sides drop the same values
        before = forget_peak(self.case.device)
        self.step()
        return First(self.losses(), before, self.volumes)

    def turn(self) -> Turn:
        """One more step."""
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
    """The trainer that train.json describes, with an overlay or without.

    Args:
        case: what to run.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.phantom = Phantom(case)
        parser = read_config(case)
        batch_size, batches = parser["batch_size"], parser["accumulation_steps"]
        self.volumes = batch_size * batches
        parser["train::trainer::train_data_loader"] = [self.phantom.batch(batch_size)] * batches
        same_networks(parser)
        self.trainer = parser.get_parsed_content("train::trainer")
        self.generator_optimizer = self.trainer.optimizer

    def step(self) -> None:
        """An epoch of a single step."""
        self.trainer.run()

    def losses(self) -> dict[str, float]:
        """Of the last batch."""
        values = from_engine(list(LOSSES), first=True)(self.trainer.state.output)
        return {name: float(value) for name, value in zip(LOSSES.values(), values, strict=True)}

    def pieces(self) -> dict[str, float]:
        """Reading, ray casting and windowing of the phantom."""
        return self.phantom.pieces()


class Authors(Subject):
    """The authors' model class with their biplanar experiment's options, and our weights.

    Args:
        case: what to run.
        checkout: of their code.
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
        """As their train.py takes one."""
        self.model.set_input(self.input)
        self.model.optimize_parameters()

    def losses(self) -> dict[str, float]:
        """Of the last step."""
        return dict(self.model.get_current_losses())


def their_options(checkout: Path, case: Case, folder: str) -> SimpleNamespace:
    """The authors' options as they merge them: one flat list, in which the section CTGAN comes last."""
    experiment = checkout / "3DGAN" / "experiment" / "multiview2500" / "d2_multiview2500.yml"
    read = ConfigParser.load_config_file(str(experiment))
    options = UNSET | {key: value for key, value in read.items() if not isinstance(value, dict)}
    for section in sorted((key for key, value in read.items() if isinstance(value, dict)), key="CTGAN".__eq__):
        options |= read[section]
    options |= {"encoder_input_shape": [case.size] * 2, "output_shape": [case.size] * 3}
    run = {"gpu_ids": [0] if case.device == "cuda" else [], "MODEL_SAVE_PATH": folder, "data": "", "tag": ""}
    return SimpleNamespace(**options | run)


def read_config(case: Case) -> ConfigParser:
    """train.json for a case."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.json") for name in ("train", case.overlay) if name])
    options = {
        "bundle_root": str(CONFIGS.parent),
        "device": case.device,
        "image_size": case.size,
        "train::trainer::max_epochs": 1,
        "train::trainer::train_handlers": None,
        "accumulation_steps": min(ACCUMULATED, parser["accumulation_steps"]),
    }
    if case.overlay is None:
        options["batch_size"] = 1
    if not case.ema:
        options["train::trainer::ema"] = None
    parser.update(options)
    return parser


def same_networks(parser: ConfigParser) -> list[nn.Module]:
    """A config's generator and discriminator, with the weights that both sides start from."""
    torch.manual_seed(0)
    return [parser.get_parsed_content(name) for name in ("network", "discriminator")]


class Phantom:
    """A procedural thorax, read and ray cast by the transforms of a config.

    Args:
        case: whose config.
    """

    REPEATS = 5

    def __init__(self, case: Case) -> None:
        parser = read_config(case)
        self.size = case.size
        self.transforms: dict[str, list[Callable[[Any], Any]]] = {
            piece: [parser.get_parsed_content(name) for name in names] for piece, names in PIECES.items()
        }
        with tempfile.TemporaryDirectory() as folder:
            self.item = self._read(folder)[0]

    def batch(self, size: int) -> dict[str, Tensor]:
        """It, as often as a batch holds volumes."""
        keys = (Keys.IMAGE.value, Keys.LABEL.value)
        return {key: torch.stack([self.item[key].as_tensor()] * size) for key in keys}

    def pieces(self) -> dict[str, float]:
        """Median seconds of each piece."""
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
