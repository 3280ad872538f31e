"""Measure translators of style on films and DRRs that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from conventions import InputError, Keys

from .steps import correlation

TO_DRR, TO_REAL = "to_drr", "to_real"
"""Names of the two directions."""

SHIFT, MARGIN = (2, 3), 16
"""Rows and columns by which a film is moved for the equivariance, which a network that halves an image twice could
lose; and pixels left out at each border, at most a quarter of the side."""

LEAST = 4
"""Smallest number of films, and of CTs, of a view."""

BATCH = 32
"""Number of images that are embedded or translated at once."""

Translate = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, 1, rows, columns) in [0, 1] -> their translations."""

Model = tuple[nn.Module, Mapping[str, Any]]
"""A network and its record, as `networks.load` returns them."""


@dataclass
class _Side:
    """Images (N, 1, rows, columns), the number of the CT or film that each belongs to, and their features (N, d)."""

    images: torch.Tensor
    groups: torch.Tensor
    features: torch.Tensor

    def of(self, groups: torch.Tensor) -> _Side:
        chosen = torch.isin(self.groups, groups)
        return _Side(self.images[chosen], self.groups[chosen], self.features[chosen])


@dataclass
class StyleOfView:
    """Measures and pictures of one view.

    Attributes:
        rows: one for each translator and direction: `direction`, `method`, and the measures by name.
        pictures: direction -> name -> (pictures, rows, columns); the images as they are come first.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


class StyleEvaluator:
    """Measure how well translators give films the style of DRRs, and how much of the films they keep.

    Measures of sets, between translations and the images whose style they should have: `kid` with its standard
    deviation over subsets, and those of `feature_measures` and `set_measures`. Measures of images, averaged:
    `structure` (correlation of the gradients of an image and its translation), `polarity` (correlation of the two
    themselves, negative where inverted), `polarity_least`, `equivariance` (mean absolute difference between the
    translation of a shifted image and the shifted translation), `identity` (between an image of the wanted style and
    its translation) and `cycle` (between an image and its translation there and back); the last three in units of the
    grey scale, 0 best. The row `same style` compares two random halves of the side that is to be reached, divided by
    CTs or films. KID is the only set measure that does not depend on the number of images, so for the others this row
    is what sets of half the size give.

    Args:
        films: items with `image` (1, rows, columns) in [0, 1] and `view`, for example of `cohort.prepared_films`.
        radiographs: items with `image` (views, rows, columns), the DRRs of a CT, indexed by (epoch, number), for
            example a `cohort.SeededDataset`.
        acquisition: how the DRRs were made, a `drr.Acquisition`; its views are measured.
        style_transfer: makes a translator of one view from `method`, `acquisition`, `network` and `record`:
            `transforms.StyleTransfer`.
        translators: method -> network and record, as `networks.load` returns them; None is not measured.
        ways_back: method -> network and record of the other direction, where there is one.
        embedding: images (N, 1, rows, columns) -> features (N, d), for example `metrics.RandomFeatures`.
        kid: `(features, features, groups, groups) -> (distance, standard deviation)`.
        feature_measures: name -> `(features, features) -> float`.
        set_measures: name -> `(images, images) -> float`.
        structure_loss: `(image, translation) -> scalar`, 1 minus the correlation, `losses.GradientCorrelationLoss`.
        renderings: number of renderings of each CT; more than one where they are augmented.
        shown: number of films, and of CTs, that become pictures.

    Raises:
        InputError: where a view has less than four films or there are less than four CTs, a translator was trained for
            something else, or the renderings of a CT do not differ.
    """

    def __init__(
        self,
        films: Sequence[Mapping[str, Any]],
        radiographs: Any,
        acquisition: Any,
        style_transfer: Callable[..., Translate],
        translators: Mapping[str, Model | None],
        ways_back: Mapping[str, Model | None],
        embedding: Callable[[torch.Tensor], torch.Tensor],
        kid: Callable[..., tuple[float, float]],
        feature_measures: Mapping[str, Callable[[torch.Tensor, torch.Tensor], float]],
        set_measures: Mapping[str, Callable[[torch.Tensor, torch.Tensor], float]],
        structure_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        renderings: int = 1,
        shown: int = 6,
    ) -> None:
        untrained: Mapping[str, Any] = {"none": (None, {}), "histogram": (None, {})}
        self.forth = {**untrained, **{method: model for method, model in translators.items() if model is not None}}
        self.back = {method: model for method, model in ways_back.items() if model is not None}
        self.embedding = embedding
        self.kid = kid
        self.feature_measures = dict(feature_measures)
        self.set_measures = dict(set_measures)
        self.structure_loss = structure_loss
        self.radiographs = radiographs
        self.renderings = renderings
        self.shown = shown
        self.films: dict[str, torch.Tensor] = {}
        self.transfers: dict[str, dict[str, Translate]] = {}
        check_counts([film[Keys.VIEW] for film in films], len(radiographs), acquisition.view_names)
        for view in acquisition.view_names:
            images = [_plain(film[Keys.IMAGE]) for film in films if film[Keys.VIEW] == view]
            self.films[view] = torch.stack(images)
            of_view = acquisition.replace(view_names=(view,))
            self.transfers[view] = {
                method: _each(style_transfer(method=method, acquisition=of_view, network=network, record=record))
                for method, (network, record) in self.forth.items()
            }
            for _, record in (*self.forth.values(), *self.back.values()):
                _check_size(record, images[0].shape[-1])

    @torch.no_grad()
    def run(self) -> dict[str, StyleOfView]:
        """Measure every translator in every view.

        Returns:
            View -> its measures and pictures.
        """
        cases, epochs = range(len(self.radiographs)), range(1, self.renderings + 1)
        computed = torch.stack([_plain(self.radiographs[epoch, n][Keys.IMAGE]) for n in cases for epoch in epochs])
        if self.renderings > 1 and torch.equal(computed[0], computed[1]):
            raise InputError("the renderings of a CT are all the same; give --overlays augmented, or no --renderings")
        groups = torch.arange(len(computed)) // self.renderings
        return {
            view: self._view(
                view, self._side(films, torch.arange(len(films))), self._side(computed[:, number, None], groups)
            )
            for number, (view, films) in enumerate(self.films.items())
        }

    def _side(self, images: torch.Tensor, groups: torch.Tensor) -> _Side:
        return _Side(images, groups, torch.cat([self.embedding(part) for part in images.split(BATCH)]))

    def _view(self, view: str, films: _Side, drrs: _Side) -> StyleOfView:
        result = StyleOfView()
        forth = {name: _by_network(network) for name, (network, _) in self.forth.items() if network is not None}
        back = {name: _by_network(network) for name, (network, _) in self.back.items()}
        ways = (
            (TO_DRR, films, drrs, self.transfers[view], back),
            (TO_REAL, drrs, films, {"none": _nothing} | back, forth),
        )
        for direction, source, target, translators, ways_back in ways:
            result.rows += [{"direction": direction} | row for row in self._same_style(target)]
            pictures = {"as it is": self._pictures(source, source.images)}
            for method, translate in translators.items():
                translated = self._side(translate(source.images), source.groups)
                row = {"direction": direction, "method": method} | self._of_sets(translated, target)
                row |= self._of_images(source.images, translated.images, target.images, translate)
                if method in ways_back:
                    returned = ways_back[method](translated.images)
                    row["cycle"] = float((returned - source.images).abs().mean())
                result.rows.append(row)
                if method != "none":
                    pictures[method] = self._pictures(source, translated.images)
            pictures["wanted style"] = self._pictures(target, target.images)
            result.pictures[direction] = pictures
        return result

    def _pictures(self, side: _Side, images: torch.Tensor) -> torch.Tensor:
        """Return (pictures, rows, columns): the first image of each group."""
        first = [int((side.groups == group).nonzero()[0]) for group in side.groups.unique()[: self.shown]]
        return images[first, 0]

    def _same_style(self, target: _Side) -> list[dict[str, Any]]:
        """Compare two random halves of a side; nothing where one would hold a single CT."""
        groups = target.groups.unique()
        order = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))]
        halves = target.of(order[: len(order) // 2]), target.of(order[len(order) // 2 :])
        if len(order) < 2 * 2 or min(len(half.images) for half in halves) < LEAST:
            return []
        return [{"method": "same style"} | self._of_sets(*halves)]

    def _of_sets(self, found: _Side, wanted: _Side) -> dict[str, float]:
        """Measure how far apart two sets are."""
        features = found.features, wanted.features
        distance, deviation = self.kid(*features, found.groups, wanted.groups)
        row = {"kid": distance, "kid_deviation": deviation}
        row |= {name: measure(*features) for name, measure in self.feature_measures.items()}
        return row | {name: measure(found.images, wanted.images) for name, measure in self.set_measures.items()}

    def _of_images(
        self, source: torch.Tensor, translated: torch.Tensor, target: torch.Tensor, translate: Translate
    ) -> dict[str, float]:
        """Measure how much of the images' structure is kept."""
        pairs = list(zip(source.split(1), translated.split(1), strict=True))
        polarity = torch.stack([correlation(*pair) for pair in pairs])
        moved = translate(source.roll(SHIFT, (-2, -1))), translated.roll(SHIFT, (-2, -1))
        margin = min(MARGIN, source.shape[-1] // 4)
        inner = slice(margin, -margin)
        return {
            "structure": 1 - float(torch.stack([self.structure_loss(*pair) for pair in pairs]).mean()),
            "polarity": float(polarity.mean()),
            "polarity_least": float(polarity.min()),
            "equivariance": float((moved[0] - moved[1])[..., inner, inner].abs().mean()),
            "identity": float((translate(target) - target).abs().mean()),
        }


def check_counts(film_views: Sequence[str], cases: int, views: Sequence[str]) -> None:
    """Refuse to compare styles on fewer than four CTs, or fewer than four films of a view.

    Args:
        film_views: view of each film.
        cases: number of CTs.
        views: views to be compared.

    Raises:
        InputError: saying what to give.
    """
    if cases < LEAST:
        raise InputError(
            f"there are {cases} CTs, {LEAST} or more are needed to compare styles; give more, or more folds of their "
            "manifest (--folds)"
        )
    counts = {str(view): list(film_views).count(view) for view in views}
    enough = [view for view, count in counts.items() if count >= LEAST]
    for view, count in counts.items():
        if count < LEAST:
            rest = f', or leave this view out (--views "{enough}")' if enough else ""
            raise InputError(
                f"there are {count} {view} films, {LEAST} or more are needed to compare styles; give more{rest}"
            )


def _plain(image: Any) -> torch.Tensor:
    return torch.as_tensor(image).as_subclass(torch.Tensor).float()


def _nothing(images: torch.Tensor) -> torch.Tensor:
    return images


def _each(transfer: Translate) -> Translate:
    """Apply a translator of one patient's films to (N, 1, rows, columns)."""
    return lambda images: torch.stack([transfer(image) for image in images])


def _by_network(network: Any) -> Translate:
    """Apply a network to (N, 1, rows, columns) in [0, 1], on its own device."""
    device = next(network.parameters()).device
    return lambda images: torch.cat(
        [network.eval().translate(part.to(device)).clip(0, 1).cpu() for part in images.split(BATCH)]
    )


def _check_size(record: Mapping[str, Any], size: int) -> None:
    """Refuse a translator for films of another size."""
    trained_for = record["acquisition"]["detector_shape"][0] if "acquisition" in record else size
    if trained_for != size:
        raise InputError(
            f"a translator was trained on films of {trained_for} pixels, these have {size}; give --radiograph_size "
            f"{trained_for}"
        )
