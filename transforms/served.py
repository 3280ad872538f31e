"""Describe a predicted volume for a server that writes it by itself, as MONAI Label does."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from conventions import SYNTHETIC_STATEMENT, Keys
from readers import film_notes, unpack_films


class DescribeResultd(MapTransform):
    """Round a predicted volume to whole HU, and say in `result` what it is, what made it and what is doubted.

    A server writes integers by cutting fractions off, and answers with `result` beside the volume. It holds plain data:
    `synthetic`, `statement`, `model`, `radiographs` (view and decisions of each film), `doubts` (sentences) and
    `consistency`, as in the sidecar of `export.write_nifti`.

    Args:
        keys: the one key of the predicted volume (1, D, H, W), HU.
        record: what made it, as `networks.describe_model` returns it.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self, keys: KeysCollection, record: Mapping[str, Any] | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.record = dict(record or {})

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Round the volume under the key, and describe it."""
        item = dict(data)
        films = unpack_films(item)
        for key in self.key_iterator(item):
            item[key] = item[key].round()
            item[Keys.RESULT.value] = {
                "synthetic": True,
                "statement": SYNTHETIC_STATEMENT,
                "model": self.record,
                "radiographs": film_notes(films),
                "doubts": [
                    f"{film.view}: {doubt.subject}: {doubt.text}" for film in films for doubt in film.record.doubts
                ],
                "consistency": json.loads(item.get(Keys.CONSISTENCY, "null")),
            }
        return item
