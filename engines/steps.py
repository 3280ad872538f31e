"""Do what all trainers do around their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.engines.utils import PrepareBatchExtraInput

from conventions import InputError, Keys

GEOMETRY = "geometry"
"""Name of the argument with which a network takes the views of its radiographs."""

WITH_GEOMETRY = PrepareBatchExtraInput({GEOMETRY: Keys.GEOMETRY.value})
"""Prepare a batch so that the network is given its views: `network(image, geometry=geometry)`."""


def place_in_step(state: Any, accumulation_steps: int) -> tuple[bool, bool, float]:
    """Return the position of a batch among those that make one step.

    Args:
        state: state of the engine, with `iteration` and `epoch_length`.
        accumulation_steps: batches in a step; fewer at the end of an epoch.

    Returns:
        Whether it is the first, whether it is the last, and its share of the step.
    """
    length = state.epoch_length or 0
    place = (state.iteration - 1) % length if length else state.iteration - 1
    in_group = place % accumulation_steps
    group = min(accumulation_steps, length - place + in_group) if length else accumulation_steps
    return in_group == 0, in_group == group - 1, 1 / group


def refuse_nan(terms: Mapping[str, torch.Tensor], state: Any) -> None:
    """Stop a run whose loss is not finite.

    Args:
        terms: name -> scalar.
        state: state of the engine, with `batch` and `epoch`.

    Raises:
        InputError: naming the term, its value and the cases of the batch.
    """
    values = torch.stack([term.detach().float() for term in terms.values()])
    if bool(torch.isfinite(values).all()):
        return
    name, value = next((n, v) for n, v in zip(terms, values.tolist(), strict=True) if not abs(v) < float("inf"))
    cases = state.batch.get(Keys.CASE, []) if isinstance(state.batch, Mapping) else []
    of_cases = f" of {', '.join(map(str, cases))}" if cases else ""
    raise InputError(
        f"the loss {name!r}{of_cases} is {value} in epoch {state.epoch}; train again with a lower "
        "--learning_rate, or look at the case"
    )


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float32, in which losses are computed; float64 stays as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def images_of(batch: Mapping[str, Any], names: Sequence[str], state: Any, non_blocking: bool) -> list[torch.Tensor]:
    """Take the images of a batch as a translator reads them.

    Args:
        batch: name -> (B, 1, rows, columns) in [0, 1].
        names: names of the images.
        state: state of the engine, with `device`.
        non_blocking: as in MONAI's trainers.

    Returns:
        One tensor for each name, in [-1, 1], on the device.

    Raises:
        InputError: where two of them differ in size.
    """
    images = [torch.as_tensor(batch[name]).to(state.device, non_blocking=non_blocking) for name in names]
    if len({image.shape[1:] for image in images}) > 1:
        sizes = " and ".join(
            f"{name} {' x '.join(map(str, i.shape[1:]))}" for name, i in zip(names, images, strict=True)
        )
        raise InputError(f"the images of the two sides differ in size ({sizes}); bring both to one --radiograph_size")
    return [2 * (image.as_tensor() if isinstance(image, MetaTensor) else image) - 1 for image in images]


def correlation(image: torch.Tensor, translated: torch.Tensor) -> torch.Tensor:
    """Compute Pearson's correlation of images with their translations, averaged over a batch; negative if inverted.

    Args:
        image: (B, 1, rows, columns).
        translated: the same shape.

    Returns:
        Scalar in [-1, 1], without gradients; 0 where a side is constant.
    """
    a, b = (wide(t.detach()).flatten(1) for t in (image, translated))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return torch.nn.functional.cosine_similarity(a, b).mean()
