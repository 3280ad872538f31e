"""Bring films to the tones of the radiographs that a model was trained on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from torch.nn.functional import interpolate

from conventions import InputError, Keys
from drr import Acquisition
from readers import QUANTILES, PlacedFilm, box_of_tones, lung_place, pack_films, tone_quantiles, unpack_films

from .dictionary import EachKey
from .named_views import named_views

PAPER = Acquisition()
"""Acquisition of the paper."""

LEARNED = ("cyclegan", "fastcut")
"""Methods that need a translator."""

DIRECTION = "real_to_drr"
"""Direction of a translator from films to DRRs, as its record names it."""

METHODS = ("none", "histogram", *LEARNED)
"""Methods of `StyleTransfer`."""

WARNING = (
    "translated by a network, which can add findings and take them away; the translated film is for the model's eyes "
    "alone"
)
"""Warning in the record of a translated film; matching distributions invents findings (Cohen et al., MICCAI 2018)."""

FIELD_TOLERANCE = 0.01
"""Share of the outside in a resampled pixel up to which it still counts as inside the field."""

COMPARED = np.arange(5, 100)
"""Quantiles that are matched, in per cent; darker and brighter tones go straight to the ends, since a little air next
to a small patient, or a marker, would bend the curve."""


class StyleTransfer(Transform):
    """Give films the tones that DRRs have in a model's geometry, curve and film style.

    `histogram` maps the tones of each view by one rising curve, so that around the lungs as many pixels are as bright
    as in the median of the reference; black stays black. It needs the lungs where `MatchFieldOfView` lays them.

    `cyclegan` and `fastcut` put each film through a network that was trained between films and such DRRs, and warn in
    each film's record.

    Args:
        method: "none" leaves films as they are; "histogram", "cyclegan" or "fastcut".
        acquisition: acquisition that the model was trained for; its geometry is a preset.
        network: translator of the learned methods, whose `translate` maps (B, 1, rows, columns) in [0, 1] to the same
            shape, for example `networks.ResnetGenerator`.
        record: record of the translator, as `networks.load` returns it. Its acquisition must be that of the model,
            except grid and detector; its `method` must be this one and its `translator` real_to_drr. Films are shown
            to the translator in the size of its acquisition's detector. None checks nothing.
        size: rows and columns of the result, for a translator that reads more than the model; None keeps those given.

    Raises:
        InputError: where a name is unknown, or a learned method has no network or one made for something else.
    """

    def __init__(
        self,
        method: str = "none",
        acquisition: Acquisition = PAPER,
        network: Any = None,
        record: Mapping[str, Any] | None = None,
        size: int | None = None,
    ) -> None:
        if method not in METHODS:
            raise InputError(f"unknown style transfer {method!r}: choose one of {', '.join(METHODS)}")
        if method in LEARNED and network is None:
            raise InputError(
                f"style transfer {method!r} needs a translator; give --style_checkpoint, or choose histogram"
            )
        if method in LEARNED:
            _check_translator(network, record or {}, method, acquisition)
        self.network = network
        self.network_size: int | None = None
        if record and "acquisition" in record:
            self.network_size = int(record["acquisition"]["detector_shape"][0])
        self.size = size
        self.method = method
        geometry, self.views = named_views(acquisition)
        self.quantiles = [
            tone_quantiles(geometry, acquisition.curve, acquisition.film_style, view) for view in self.views
        ]
        beams: Any = acquisition.views
        self.boxes = [
            [0.5 + edge / beam.field_at_isocentre[0] for edge in lung_place(geometry, acquisition.anchor, view)]
            for view, beam in zip(self.views, beams, strict=True)
        ]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Translate the radiographs of one patient.

        Args:
            image: (views, rows, columns) in [0, 1], bright = dense.

        Returns:
            The same shape, or (views, size, size), in [0, 1], with the same meta; a `field` there gets the same size.

        Raises:
            InputError: where the number of views differs, or one of them is constant.
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
        self.note(image.meta.get("films", []))
        meta = dict(image.meta)
        if Keys.FIELD in meta:
            meta[Keys.FIELD.value] = _resized_field(meta[Keys.FIELD], size)
        return MetaTensor(result, meta=meta)

    def note(self, films: Sequence[PlacedFilm]) -> None:
        """Note in the records of films how their tones were changed."""
        for film in films if self.method != "none" else ():
            film.record.changed("style", f"{self.method}: brought to the tones of the model's radiographs")
            if self.method in LEARNED:
                film.record.doubt("style", WARNING)

    def _translate(self, image: torch.Tensor) -> torch.Tensor:
        """Run each view through the network at the size it was trained for, which the result keeps."""
        assert self.network is not None
        planes = _resized(image, self.network_size or image.shape[-1])[:, None]
        device = next(self.network.parameters()).device
        with torch.no_grad():
            translated: torch.Tensor = self.network.eval().translate(planes.to(device))[:, 0]
        return translated

    def _match(self, plane: np.ndarray, view: int) -> np.ndarray:
        """Map the quantiles of all that is not black around the lungs to those of the reference."""
        around = plane[box_of_tones([edge * len(plane) for edge in self.boxes[view]], plane.shape)]
        seen = around[around > 0]
        if seen.size == 0 or seen.min() == seen.max():
            raise InputError("a radiograph is constant, so its tones cannot be matched; check the film")
        tones = np.quantile(seen, COMPARED / (QUANTILES - 1))
        wanted = self.quantiles[view][COMPARED]
        tones, first = np.unique(tones, return_index=True)
        last = np.append(first[1:], len(wanted)) - 1
        curve = (wanted[first] + wanted[last]) / 2  # where several quantiles have one tone
        ends = [self.quantiles[view][-1]] if tones[-1] < 1 else []
        nodes = [0.0, *tones, *[1.0] * len(ends)], [0.0, *curve, *ends]
        return np.interp(plane, *nodes).astype(np.float32)


def _check_translator(network: Any, record: Mapping[str, Any], method: str, acquisition: Acquisition) -> None:
    """Refuse a network that, according to its record, does not translate to such DRRs."""
    if not hasattr(network, "translate"):
        raise InputError(
            f"{type(network).__name__} is no translator of films; give the real_to_drr.pt of a {method} training"
        )
    made_by, direction = record.get("method", method), record.get("translator", DIRECTION)
    if (made_by, direction) != (method, DIRECTION):
        raise InputError(
            f"the translator is {direction} of {made_by}, but {DIRECTION} of {method} is needed; give another "
            "translator or its method"
        )
    if "acquisition" in record:
        made_for = Acquisition.from_record(record["acquisition"])
        difference = made_for.difference(acquisition, without=("grid", "detector_shape", "views"))
        if difference:
            raise InputError(
                f"the translator makes radiographs of {difference}; give the overlays it was trained with, or another "
                "translator"
            )


def _resized(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resample (views, rows, columns) to the given rows and columns."""
    if size == image.shape[-1]:
        return image
    return interpolate(image[:, None], (size, size), mode="bilinear", antialias=True)[:, 0]


def _resized_field(field: torch.Tensor, size: int) -> torch.Tensor:
    """Resample a field (views, rows, columns) to the given rows and columns; what mixes with the outside is outside."""
    if size == field.shape[-1]:
        return field
    return _resized(field.float(), size) > 1 - FIELD_TOLERANCE


class StyleTransferd(EachKey):
    """Dictionary-based `StyleTransfer`, which notes the change in the item's `films` and resizes its `field`.

    Args:
        keys: keys of the radiographs.
        method: as in `StyleTransfer`.
        acquisition: as in `StyleTransfer`.
        network: as in `StyleTransfer`.
        record: as in `StyleTransfer`.
        size: as in `StyleTransfer`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        method: str = "none",
        acquisition: Acquisition = PAPER,
        network: Any = None,
        record: Mapping[str, Any] | None = None,
        size: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        self.transfer = StyleTransfer(method, acquisition, network, record, size)
        super().__init__(keys, self.transfer, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Translate the radiographs under the keys, and note that in the records of the item's films."""
        item = super().__call__(data)
        if Keys.FIELD in item and self.transfer.size:
            item[Keys.FIELD] = _resized_field(item[Keys.FIELD], self.transfer.size)
        films = unpack_films(item)
        if films and self.transfer.method != "none":
            self.transfer.note(films)
            item.update(pack_films(films))
        return item
