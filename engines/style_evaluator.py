"""Translators of style measured on films and radiographs of CTs that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from conventions import InputError, Keys

from .steps import correlation

TO_DRR, TO_REAL = "to_drr", "to_real"
"""The two directions."""

SHIFT, MARGIN = (2, 3), 16
"""Rows and columns by which a film is moved for the equivariance, which a network that halves twice could lose, and
what is left out at the borders."""

LEAST = 4
"""Films and radiographs of a view, see `metrics.kid`."""

Transfers = Callable[..., Callable[[torch.Tensor], torch.Tensor]]


@dataclass
class StyleOfView:
    """What was measured for one view, and what it looks like.

    Attributes:
        rows: one for each translator and direction: `direction`, `method`, and the measures by name.
        pictures: direction -> name -> (pictures, rows, columns); first the images as they are.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


class StyleEvaluator:
    """Measure how well translators give films the style of radiographs computed of CTs, and what they leave of them.

    Measures of sets, between what a translator gives and the side it should look like: `kid` with its standard
    deviation over subsets, and those of `set_measures`. Measures of images, averaged: `structure` (correlation of the
    gradients of an image and its translation), `polarity` (correlation of the two themselves, negative where inverted),
    `polarity_least`, `equivariance` (mean absolute difference between the translation of a shifted image and the
    shifted translation), `identity` (of an image of the wanted style and its translation) and `cycle` (of an image and
    its way back); the last three in units of the grey scale, 0 best. The row `same style` compares two halves of the
    side that is to be reached, by CT or by film: the least that a set measure can be expected to give.

    Args:
        films: items `{"image": (1, rows, columns) in [0, 1], "view": view}`, as `cohort.prepared_films` gives them.
        radiographs: items with `image` (views, rows, columns), asked for by (epoch, number), for example a
            `cohort.SeededDataset`.
        style_transfer: makes a translator of one view, for example a partial `transforms.StyleTransfer`; is given
            `method`, `views` and `network`.
        networks: method -> network; None for one that is not to be measured.
        ways_back: method -> network of the other direction, where there is one.
        embedding: images (N, 1, rows, columns) -> features (N, d), for example `metrics.RandomFeatures`.
        kid: `(features, features) -> (distance, standard deviation)`.
        feature_measures: name -> `(features, features) -> float`.
        set_measures: name -> `(images, images) -> float`.
        structure_loss: `(image, translation) -> scalar`, 1 minus the correlation, `losses.GradientCorrelationLoss`.
        views: to be measured, in the order of the radiographs.
        renderings: of each CT; more than one where they are augmented.
        shown: how many images of each side become pictures.

    Raises:
        InputError: where a view has less than four films or radiographs.
    """

    def __init__(
        self,
        films: Sequence[Mapping[str, Any]],
        radiographs: Any,
        style_transfer: Transfers,
        networks: Mapping[str, nn.Module | None],
        ways_back: Mapping[str, nn.Module | None],
        embedding: Callable[[torch.Tensor], torch.Tensor],
        kid: Callable[[torch.Tensor, torch.Tensor], tuple[float, float]],
        feature_measures: Mapping[str, Callable[[torch.Tensor, torch.Tensor], float]],
        set_measures: Mapping[str, Callable[[torch.Tensor, torch.Tensor], float]],
        structure_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        views: Sequence[str],
        renderings: int = 1,
        shown: int = 6,
    ) -> None:
        self.style_transfer = style_transfer
        self.networks = {"none": None, "histogram": None} | {k: v for k, v in networks.items() if v is not None}
        self.ways_back = {k: v for k, v in ways_back.items() if v is not None}
        self.embedding = embedding
        self.kid = kid
        self.feature_measures = dict(feature_measures)
        self.set_measures = dict(set_measures)
        self.structure_loss = structure_loss
        self.shown = shown
        self.sides = {}
        computed = [radiographs[epoch, n] for n in range(len(radiographs)) for epoch in range(1, renderings + 1)]
        for number, view in enumerate(views):
            of_view = [torch.as_tensor(film[Keys.IMAGE]).float() for film in films if film["view"] == view]
            drrs = [torch.as_tensor(item[Keys.IMAGE])[number : number + 1].float() for item in computed]
            for name, images in (("films", of_view), ("radiographs of CTs", drrs)):
                if len(images) < LEAST:
                    raise InputError(
                        f"{view}: {len(images)} {name}, {LEAST} or more are needed to compare styles; give more, or "
                        "name the other view alone (--views)"
                    )
            self.sides[view] = tuple(torch.stack([_plain(i) for i in images]) for images in (of_view, drrs))

    @torch.no_grad()
    def run(self) -> dict[str, StyleOfView]:
        """Measure every translator in every view.

        Returns:
            View -> what was measured.
        """
        return {view: self._view(view, films, drrs) for view, (films, drrs) in self.sides.items()}

    def _view(self, view: str, films: torch.Tensor, drrs: torch.Tensor) -> StyleOfView:
        result = StyleOfView()
        for direction, source, target in ((TO_DRR, films, drrs), (TO_REAL, drrs, films)):
            networks = self.networks if direction == TO_DRR else {"none": None} | self.ways_back
            pictures = {"as it is": source[: self.shown, 0]}
            halves = target[: len(target) // 2], target[len(target) // 2 :]
            if min(map(len, halves)) >= LEAST:
                result.rows.append({"direction": direction, "method": "same style", **self._of_sets(*halves)})
            for method, network in networks.items():
                translate = _each(self.style_transfer(method=method, views=(view,), network=network))
                back = (self.ways_back if direction == TO_DRR else self.networks).get(method)
                way_back = None
                if back is not None:
                    way_back = _each(self.style_transfer(method=method, views=(view,), network=back))
                translated = translate(source)
                result.rows.append(
                    {"direction": direction, "method": method}
                    | self._of_sets(translated, target)
                    | self._of_images(source, translated, target, translate, way_back)
                )
                if method != "none":
                    pictures[method] = translated[: self.shown, 0]
            pictures["wanted style"] = target[:: max(1, len(target) // self.shown)][: self.shown, 0]
            result.pictures[direction] = pictures
        return result

    def _of_sets(self, images: torch.Tensor, wanted: torch.Tensor) -> dict[str, float]:
        """How far two sets are apart."""
        features = self.embedding(images), self.embedding(wanted)
        distance, deviation = self.kid(*features)
        row = {"kid": distance, "kid_deviation": deviation}
        row |= {name: measure(*features) for name, measure in self.feature_measures.items()}
        return row | {name: measure(images, wanted) for name, measure in self.set_measures.items()}

    def _of_images(
        self,
        source: torch.Tensor,
        translated: torch.Tensor,
        target: torch.Tensor,
        translate: Callable[[torch.Tensor], torch.Tensor],
        way_back: Callable[[torch.Tensor], torch.Tensor] | None,
    ) -> dict[str, float]:
        """What is left of the images."""
        pairs = list(zip(source.split(1), translated.split(1), strict=True))
        polarity = torch.stack([correlation(*pair) for pair in pairs])
        moved = translate(source.roll(SHIFT, (-2, -1))), translated.roll(SHIFT, (-2, -1))
        inner = slice(MARGIN, -MARGIN)
        row = {
            "structure": 1 - float(torch.stack([self.structure_loss(*pair) for pair in pairs]).mean()),
            "polarity": float(polarity.mean()),
            "polarity_least": float(polarity.min()),
            "equivariance": float((moved[0] - moved[1])[..., inner, inner].abs().mean()),
            "identity": float((translate(target) - target).abs().mean()),
        }
        return row | ({} if way_back is None else {"cycle": float((way_back(translated) - source).abs().mean())})


def _plain(image: torch.Tensor) -> torch.Tensor:
    return image.as_subclass(torch.Tensor)


def _each(transfer: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same translator for (N, 1, rows, columns)."""
    return lambda images: torch.stack([transfer(image) for image in images])
