"""What every GAN trainer here does around its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from conventions import InputError, Keys


def place_in_group(state: Any, accumulation_steps: int) -> tuple[bool, bool, float]:
    """Where a batch stands among those that make one step.

    Args:
        state: of the engine, with `iteration` and `epoch_length`.
        accumulation_steps: batches of a step, at the end of an epoch fewer.

    Returns:
        Whether it is the first, whether it is the last, and its share of the step.
    """
    length = state.epoch_length or 0
    place = (state.iteration - 1) % length if length else state.iteration - 1
    in_group = place % accumulation_steps
    group = min(accumulation_steps, length - place + in_group) if length else accumulation_steps
    return in_group == 0, in_group == group - 1, 1 / group


def refuse_nan(terms: Mapping[str, torch.Tensor], state: Any) -> None:
    """Stop a training whose loss is not finite.

    Args:
        terms: name -> scalar.
        state: of the engine, with its `batch` and `epoch`.

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
