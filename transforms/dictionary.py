"""Dictionary form that the transforms share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from conventions import InputError


class EachKey(MapTransform):
    """Apply one array transform to the value under each key.

    Args:
        keys: keys of the items to transform.
        transform: the array transform.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(self, keys: KeysCollection, transform: Callable[[Any], Any], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transform the items under the keys; the others stay as they are."""
        return {**data, **{key: self.transform(data[key]) for key in self.key_iterator(dict(data))}}


def check_one_key(transform: MapTransform) -> None:
    """Refuse several keys where a transform adds entries that belong to one.

    Args:
        transform: the transform, with its `keys`.

    Raises:
        InputError: where there is not exactly one.
    """
    if len(transform.keys) != 1:
        raise InputError(f"{type(transform).__name__} needs exactly one key, got {transform.keys}")
