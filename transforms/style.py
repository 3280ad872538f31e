"""Films to the tones of the radiographs that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from torch.nn.functional import interpolate

from conventions import InputError, View
from drr import preset

from .dictionary import EachKey
from .films.reference import QUANTILES, box_of_tones, lung_place, tone_quantiles

LEARNED = ("cyclegan", "fastcut")
DIRECTION = "real_to_drr"
"""Of a translator, as its record names it."""

METHODS = ("none", "histogram", *LEARNED)

WARNING = (
    "translated by a network, which can add findings and take them away; the translated film is for the model's eyes "
    "alone"
)
"""Cohen et al., MICCAI 2018: matching distributions invents what one of them has more of."""

COMPARED = np.arange(5, 100)
"""Numbers of the quantiles that are matched, in per cent; what is darker or brighter goes straight to the ends, for a
little air beside a small patient, or a marker, would bend the curve."""


class StyleTransfer(Transform):
    """Give films the tones that radiographs computed of CTs have in a model's geometry, curve and film style.

    `histogram` maps the tones of each view by one rising curve, so that around the place of the lungs as many pixels
    are as bright as in the median of the reference; black stays black. It comes after `MatchFieldOfView`, which lays
    the lungs there.

    `cyclegan` and `fastcut` put each film through a network that was trained between films and such radiographs, and
    say in each film's record what that is worth.

    Args:
        method: "none" leaves films as they are; "histogram", "cyclegan" or "fastcut".
        geometry: name of the preset that the model was trained for, as the next two.
        curve: HU -> mu curve.
        film: film style.
        anchor: how its volumes were laid on the grid, see `ResampleToGrid`.
        views: which views are given, in order.
        network: translator of the learned methods, whose `translate` takes and gives (B, 1, rows, columns) in [0, 1],
            for example `networks.ResnetGenerator`. Its attribute `image_size`, where it has one, is the size it is
            shown; its `recipe` (geometry, curve, film, anchor) must be that of the model, its `method` this one, and
            its `translator` real_to_drr.
        size: rows and columns of the result, for a translator that reads more than the model; None keeps those given.

    Raises:
        InputError: where a name is unknown, or a learned method has no network, or one that is for something else.
    """

    def __init__(
        self,
        method: str = "none",
        geometry: str = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        anchor: str = "head",
        views: Sequence[str] = tuple(View),
        network: Any = None,
        size: int | None = None,
    ) -> None:
        if method not in METHODS:
            raise InputError(f"unknown style transfer {method!r}: choose one of {', '.join(METHODS)}")
        if method in LEARNED and network is None:
            raise InputError(
                f"style transfer {method!r} needs a translator; give --style_checkpoint, or choose histogram"
            )
        if method in LEARNED:
            _check_translator(network, method, (geometry, curve, film, anchor))
        self.network = network
        self.size = size
        self.method = method
        self.views = tuple(View(view) for view in views)
        self.quantiles = [tone_quantiles(geometry, curve, film, view) for view in self.views]
        beams = preset(geometry, views=self.views)
        self.boxes = [
            [0.5 + edge / beam.field_at_isocentre[0] for edge in lung_place(geometry, anchor, view)]
            for view, beam in zip(self.views, beams, strict=True)
        ]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Translate the radiographs of one patient.

        Args:
            image: (views, rows, columns) in [0, 1], bright = dense.

        Returns:
            The same shape, or (views, size, size), in [0, 1]; the meta goes along.

        Raises:
            InputError: where there are not as many views, or one of them is constant.
        """
        if len(image) != len(self.views):
            raise InputError(
                f"{len(image)} radiograph(s), this model needs {len(self.views)} ({', '.join(self.views)})"
            )
        size = self.size or image.shape[-1]
        if self.method == "none" and size == image.shape[-1]:
            return image
        result = torch.as_tensor(image).as_subclass(torch.Tensor).float()
        if self.method in LEARNED:
            result = self._translate(result)
        elif self.method == "histogram":
            matched = np.stack([self._match(plane, i) for i, plane in enumerate(result.cpu().numpy())])
            result = torch.from_numpy(matched)
        result = _resized(result, size).clip(0, 1).to(image.device)
        if not isinstance(image, MetaTensor):
            return result
        if self.method == "none":
            return MetaTensor(result, meta=image.meta)
        for film in image.meta.get("films", []):
            film.record.changed("style", f"{self.method}: brought to the tones of the model's radiographs")
            if self.method in LEARNED:
                film.record.doubt("style", WARNING)
        return MetaTensor(result, meta=image.meta)

    def _translate(self, image: torch.Tensor) -> torch.Tensor:
        """Put each view through the network, in the size it was trained for, and leave it in that."""
        assert self.network is not None
        planes = _resized(image, getattr(self.network, "image_size", image.shape[-1]))[:, None]
        device = next(self.network.parameters()).device
        with torch.no_grad():
            translated: torch.Tensor = self.network.eval().translate(planes.to(device))[:, 0]
        return translated

    def _match(self, plane: np.ndarray, view: int) -> np.ndarray:
        """Bring the quantiles of what is not black around the lungs to the reference's."""
        around = plane[box_of_tones([edge * len(plane) for edge in self.boxes[view]], plane.shape)]
        seen = around[around > 0]
        if seen.size == 0 or seen.min() == seen.max():
            raise InputError("a radiograph is constant, so that its tones cannot be matched; check the film")
        tones = np.quantile(seen, COMPARED / (QUANTILES - 1))
        wanted = self.quantiles[view][COMPARED]
        tones, first = np.unique(tones, return_index=True)
        last = np.append(first[1:], len(wanted)) - 1
        curve = (wanted[first] + wanted[last]) / 2  # where several quantiles are one tone
        ends = [self.quantiles[view][-1]] if tones[-1] < 1 else []
        nodes = [0.0, *tones, *[1.0] * len(ends)], [0.0, *curve, *ends]
        return np.interp(plane, *nodes).astype(np.float32)


def _check_translator(network: Any, method: str, recipe: tuple[str, ...]) -> None:
    """Refuse a network that is no translator to such radiographs, as far as its record tells."""
    if not hasattr(network, "translate"):
        raise InputError(
            f"{type(network).__name__} is no translator of films; give the real_to_drr.pt of a {method} training"
        )
    made_by, direction = getattr(network, "method", method), getattr(network, "translator", DIRECTION)
    if (made_by, direction) != (method, DIRECTION):
        raise InputError(
            f"the translator is {direction} of {made_by}, wanted is {DIRECTION} of {method}; give another, or the "
            "method it is of"
        )
    made_for = getattr(network, "recipe", recipe)
    if made_for != recipe:
        raise InputError(
            f"the translator makes radiographs of {' '.join(map(str, made_for))}, and those wanted here are of "
            f"{' '.join(recipe)}; give the overlays it was trained with, or another translator"
        )


def _resized(image: torch.Tensor, size: int) -> torch.Tensor:
    """(views, rows, columns) with as many rows and columns."""
    if size == image.shape[-1]:
        return image
    return interpolate(image[:, None], (size, size), mode="bilinear", antialias=True)[:, 0]


class StyleTransferd(EachKey):
    """Dictionary-based `StyleTransfer`."""

    def __init__(
        self,
        keys: KeysCollection,
        method: str = "none",
        geometry: str = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        anchor: str = "head",
        views: Sequence[str] = tuple(View),
        network: Any = None,
        size: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        transfer = StyleTransfer(method, geometry, curve, film, anchor, views, network, size)
        super().__init__(keys, transfer, allow_missing_keys)
