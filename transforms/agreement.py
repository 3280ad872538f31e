"""Make predicted volumes agree with their films, as a step of postprocessing."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from conventions import Keys
from readers import pack_films, unpack_films


class AgreeWithFilmsd(MapTransform):
    """Make a predicted volume agree with the radiographs it was predicted from.

    The volume under the key is replaced by the updated one; the one before goes to `without_update`. `consistency`
    holds what was done and how well both agree with the films, as JSON, and `line_integrals` those of the films and of
    both volumes. Where the item says how its films were read (`readers.unpack_films`), the agreement and the doubts
    about it are noted there too, film by film.

    Args:
        keys: the one key of the predicted volume (1, D, H, W), unit values.
        update: a `networks.ConsistencyUpdate`.
        image: key of the radiographs (views, rows, columns); what lies outside their `field` is left out.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self, keys: KeysCollection, update: Any, image: str = Keys.IMAGE, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.update = update
        self.image = image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Update the volume under the key."""
        item = dict(data)
        for key in self.key_iterator(item):
            volume, films = item[key], unpack_films(item)
            updated, (agreement,), line_integrals = self.update.update(
                _batch_of(volume).clamp(0, 1),
                _batch_of(item[self.image]).to(volume.device),
                None if Keys.GEOMETRY not in item else _batch_of(item[Keys.GEOMETRY]),
                None if Keys.FIELD not in item else _batch_of(item[Keys.FIELD]).to(volume.device),
                real=any(not film.computed for film in films),
            )
            item[Keys.WITHOUT_UPDATE.value] = volume
            item[key] = MetaTensor(updated[0], meta=volume.meta) if isinstance(volume, MetaTensor) else updated[0]
            item[Keys.CONSISTENCY.value] = json.dumps(agreement.record())
            item[Keys.LINE_INTEGRALS.value] = line_integrals[0]
            if films:
                _note(films, agreement)
                item.update(pack_films(films))
        return item


def _batch_of(values: Any) -> torch.Tensor:
    tensor = values.as_tensor() if isinstance(values, MetaTensor) else torch.as_tensor(values)
    return tensor[None]


def _note(films: Any, agreement: Any) -> None:
    """Note the agreement in the record of each film."""
    for film, before, after, doubts in zip(films, agreement.before, agreement.after, agreement.doubts, strict=True):
        film.record.found(
            "agreement",
            f"line integrals differ from the CT's by {before:.2f} before the consistency update and by {after:.2f} "
            f"after it (tones {agreement.tone}, damping {agreement.damping:g})",
        )
        for doubt in doubts:
            film.record.doubt("agreement", doubt)
