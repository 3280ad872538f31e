"""Define bad requests, each with the HTTP status of its answer."""

from __future__ import annotations

from conventions import InputError


class RequestError(InputError):
    """Request that cannot be answered.

    Args:
        sentence: what is wrong and what to do.
        status: HTTP status of the answer.
    """

    def __init__(self, sentence: str, status: int = 422) -> None:
        super().__init__(sentence)
        self.status = status
