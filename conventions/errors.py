"""Define the one error for bad input, and end a command on it with one sentence instead of a traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import TracebackType

_IN_WORKER = re.compile(r"^[\w.]*\bInputError: (.+)$", re.MULTILINE)


class InputError(ValueError):
    """Input that cannot be used.

    The message is one clear sentence: it names the file or value, what is wrong with it, and what to do.
    """


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def input_error_in(error: BaseException) -> str | None:
    """Find the message of the `InputError` behind an exception.

    MONAI wraps the errors of transforms and configs in RuntimeErrors, and a data-loading worker hands its error over
    as the text of a traceback; both are searched.

    Args:
        error: any exception.

    Returns:
        The message, or None where no `InputError` is involved.
    """
    for link in _chain(error):
        if isinstance(link, InputError):
            message = str(link)
            in_worker = _IN_WORKER.findall(message)
            return in_worker[-1] if in_worker else message
    for link in _chain(error):
        in_worker = _IN_WORKER.findall(str(link))
        if in_worker:
            return in_worker[-1]
    return None


def report_input_errors() -> None:
    """Make the running program end on an `InputError` with its one sentence; other errors keep their traceback."""
    previous = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        message = input_error_in(error)
        if message is None:
            previous(kind, error, traceback)
        else:
            print(f"Error: {message}", file=sys.stderr)

    sys.excepthook = report
