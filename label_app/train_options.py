"""Read the parameters of a training, whose values reach a config of MONAI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import RequestError
from .options import OF_CLIENTS, check_device, shown


@dataclass(frozen=True)
class TrainOptions:
    """Parameters of a training.

    Args:
        max_epochs: times that each CT is seen.
        batch_size: CTs in a batch.
        validation: patients that choose the best epoch.
        pretrained: whether to begin with the weights that are served.
        device: device that trains.
    """

    max_epochs: int = 50
    batch_size: int = 1
    validation: int = 1
    pretrained: bool = True
    device: str = "cpu"


def read_train_options(params: Mapping[str, Any] | None, device: str = "cpu") -> TrainOptions:
    """Read the parameters of a training.

    Args:
        params: name -> value; a list stands for its first entry.
        device: device where none is named.

    Returns:
        The parameters.

    Raises:
        RequestError: naming the parameter that does not exist, or whose value is not possible.
    """
    given = {name: value for name, value in (params or {}).items() if name not in OF_CLIENTS}
    known = vars(TrainOptions())
    values: dict[str, Any] = {"device": device}
    for name, value in given.items():
        if name not in known:
            raise RequestError(f"there is no parameter {str(name)[:80]!r}; choose among {', '.join(known)}")
        values[name] = value[0] if isinstance(value, (list, tuple)) and value else value
    check_device("device", values["device"])
    for name in ("max_epochs", "batch_size", "validation"):
        value = values.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100_000:
            raise RequestError(f"{name} is a number from 1 up, got {shown(value)}")
    if not isinstance(values.get("pretrained", True), bool):
        raise RequestError(f"pretrained is true or false, got {shown(values['pretrained'])}")
    return TrainOptions(**values)
