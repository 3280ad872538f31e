"""Read the parameters of a request: keys of inference.json that it may set, and nothing else.

The values reach a config of MONAI, which runs a text that begins with `$`; so a text is taken only where it is one of
the choices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drr import PRESETS
from networks import Tone

from .errors import RequestError

CHOICES = {
    "style_transfer": ("none", "histogram", "cyclegan", "fastcut"),
    "consistency": ("none", "auto", *map(str, Tone)),
    "geometry": tuple(sorted(PRESETS)),
    "field_of_view": ("match", "given"),
}
"""Parameters that are one of several words, the default of the first two in front."""

SWITCHES = ("invert", "without_preamble", "corner_text")
"""Parameters that are true or false."""

POSITIVE = ("spacing", "damping")
"""Parameters that are positive numbers, or null."""

STORE = "store"
"""Parameter that stores the CT in the archive of its films."""

OF_CLIENTS = ("client_id",)
"""Parameters that clients of MONAI Label add to every request; they mean nothing here."""

_DEVICE = re.compile(r"cpu|cuda(:\d{1,2})?")


@dataclass(frozen=True)
class InferOptions:
    """Parameters of a request for a CT.

    Args:
        keys: keys of inference.json and their values.
        store: whether the CT is stored in the archive of its films.
    """

    keys: dict[str, Any]
    store: bool = False


def read_options(params: Any) -> InferOptions:
    """Read the parameters of a request for a CT.

    Args:
        params: name -> value, or the same as JSON. A list, as clients copy it from the description of the model, stands
            for its first entry.

    Returns:
        The parameters.

    Raises:
        RequestError: naming the parameter that does not exist, or whose value is not possible.
    """
    if isinstance(params, str):
        try:
            params = json.loads(params or "{}")
        except (ValueError, RecursionError) as error:
            raise RequestError('params is no JSON; give an object such as {"consistency": "auto"}') from error
    if not isinstance(params, Mapping):
        raise RequestError('params must be an object such as {"consistency": "auto"}')
    keys: dict[str, Any] = {}
    for name, given in params.items():
        if name in OF_CLIENTS:
            continue
        if name not in _READERS:
            raise RequestError(f"there is no parameter {str(name)[:80]!r}; choose among {', '.join(_READERS)}")
        value = given[0] if isinstance(given, (list, tuple)) and given else given
        keys[name] = _READERS[name](name, value)
    store = bool(keys.pop(STORE, False))
    return InferOptions(keys, store)


def shown_options() -> dict[str, Any]:
    """Return the parameters as a client of MONAI Label shows them: a list of choices, or the default."""
    return {
        **{name: list(choices) for name, choices in CHOICES.items() if name != "geometry"},
        **dict.fromkeys(SWITCHES, False),
        STORE: False,
    }


def _choice(name: str, value: Any) -> Any:
    if not isinstance(value, str) or value not in CHOICES[name]:
        raise RequestError(f"{name} is one of {', '.join(CHOICES[name])}, got {shown(value)}")
    return value


def _switch(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise RequestError(f"{name} is true or false, got {shown(value)}")
    return value


def _positive(name: str, value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value < 1e6):
        raise RequestError(f"{name} is a positive number or null, got {shown(value)}")
    return value


def _index(name: str, value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1000:
        raise RequestError(f"{name} is a number from 0 up, got {shown(value)}")
    return value


def check_device(name: str, value: Any) -> Any:
    """Refuse what is no name of a device."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise RequestError(f"{name} is cpu, cuda or cuda:NUMBER, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Return the beginning of a value for a message."""
    return repr(value)[:80]


_READERS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(CHOICES, _choice),
    **dict.fromkeys(POSITIVE, _positive),
    **dict.fromkeys(SWITCHES, _switch),
    "voi_window": _index,
    "device": check_device,
    STORE: _switch,
}
