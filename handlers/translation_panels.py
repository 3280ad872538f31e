"""Draw the same films through the translators while they train."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from conventions import Keys, View
from reports import VIEW_LETTERS, draw_picture, save_figure
from storage import set_aside

from .loss_curves import SECONDS_BETWEEN_DRAWINGS


class TranslationPanels:
    """Handler of a trainer of translators that draws the same films, and the last DRR, while they train.

    `translations.png` holds the last panel, TensorBoard all of them, drawn every half minute at most and at the end.
    With several processes, the first one draws.

    Args:
        output_dir: folder of the panel; that of an earlier run is renamed.
        films: items with `image` (1, rows, columns) and `view`; the first two of each view are shown.
        network: translator from films, with `translate`.
        reverse: translator to films, if there is one.
    """

    PER_VIEW = 2

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        films: Sequence[Mapping[str, Any]],
        network: nn.Module,
        reverse: nn.Module | None = None,
    ) -> None:
        self.path = Path(output_dir) / "translations.png"
        self.log_dir = str(Path(output_dir) / "tensorboard")
        views = dict.fromkeys(film[Keys.VIEW] for film in films)
        chosen = [[film for film in films if film[Keys.VIEW] == view][: self.PER_VIEW] for view in views]
        self.views = [film[Keys.VIEW] for of_view in chosen for film in of_view]
        images = [torch.as_tensor(film[Keys.IMAGE]) for of_view in chosen for film in of_view]
        self.films = torch.stack([image.as_subclass(torch.Tensor).float() for image in images])
        self.network = network
        self.reverse = reverse
        self.drawn = 0.0
        self.writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._now_and_then)
            engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        if engine.state.epoch == 0:
            set_aside(self.path)
        self.drawn = time.monotonic()

    def _now_and_then(self, engine: Engine) -> None:
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_DRAWINGS:
            self._draw(engine)

    def _draw(self, engine: Engine) -> None:
        figure = self._figure(engine)
        save_figure(figure, self.path)
        if self.writer is None:
            self.writer = SummaryWriter(self.log_dir)
        self.writer.add_figure("translations", figure, engine.state.epoch)
        self.writer.flush()
        self.drawn = time.monotonic()

    @torch.no_grad()
    def _figure(self, engine: Any) -> Figure:
        films = self.films.to(engine.state.device)
        translated = _translate(self.network, films)
        columns = {"film": films, "as a DRR": translated}
        if self.reverse is not None:
            columns["and back"] = _translate(self.reverse, translated)
        count = len(films) + (self.reverse is not None)
        figure = Figure(figsize=(2.3 * len(columns), 2.5 * count + 0.4), layout="constrained")
        figure.suptitle(f"epoch {engine.state.epoch}", fontsize=10)
        places = figure.subplots(count, len(columns), squeeze=False)
        for column, (name, images) in zip(places.T, columns.items(), strict=True):
            for axes, image, view in zip(column, images[:, 0].cpu().numpy(), self.views, strict=False):
                draw_picture(axes, image, f"{name}, {view}", VIEW_LETTERS[View(view)], cmap="gray", vmin=0, vmax=1)
        if self.reverse is not None:
            last = {"DRR": Keys.DRR, "as a film": f"fake_{Keys.REAL}"}
            for axes, (name, key) in zip(places[-1], last.items(), strict=False):
                image = engine.state.output[key][0, 0].float().cpu().numpy() / 2 + 0.5
                draw_picture(axes, image, name, ("", "", "", ""), cmap="gray", vmin=0, vmax=1)
            places[-1, -1].set_axis_off()
        return figure


def _translate(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Translate images and leave the network in the mode it was in."""
    training = network.training
    translated: torch.Tensor = network.eval().translate(images)  # type: ignore[operator]
    network.train(training)
    return translated.clip(0, 1)
