"""Run the commands of a package, `python -m PACKAGE`."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import report_input_errors

Command = Callable[..., Any]
"""A documented function; its arguments are those of the command."""

_TEXT = (str, str | None, "str", "str | None")


def run_command(commands: Command | Mapping[str, Command], name: str, words: Sequence[str] | None = None) -> None:
    """Run a command with the words of the command line, and report bad input in one sentence.

    Arguments that are annotated as text stay as they were typed: fire alone reads 2024_01 as the number 202401, and
    Doe,John as a pair. A command begins once all words are understood: fire alone runs it first, without the option
    that is misspelt, and complains afterwards.

    Args:
        commands: the command, or name -> command.
        name: name of the package, for the help.
        words: words of the command line; None takes those of this program.
    """
    import fire  # here, so that programs which import the package do not need it

    report_input_errors()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.decorators.FIRE_METADATA = "_fire_metadata"  # fire's own name would be listed in the help as a command
    deferred = (
        {word: _defer(command) for word, command in commands.items()}
        if isinstance(commands, Mapping)
        else _defer(commands)
    )
    call = fire.Fire(deferred, command=words, name=name, serialize=lambda it: None if isinstance(it, _Call) else it)
    if isinstance(call, _Call):
        call._run()


class _Call:
    """A command with its arguments, which is yet to run; no word of a command line finds a member in it."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run


def _defer(command: Command) -> Command:
    """Return a command that only remembers its call, with the arguments and the help of the other."""
    import fire

    @functools.wraps(command)
    def later(*args: Any, **kwargs: Any) -> _Call:
        return _Call(functools.partial(command, *args, **kwargs))

    for argument in inspect.signature(command).parameters.values():
        parse = str if argument.annotation in _TEXT else fire.parser.DefaultParseValue
        names = [] if argument.kind is inspect.Parameter.VAR_POSITIONAL else [argument.name]
        fire.decorators.SetParseFn(parse, *names)(later)  # without a name, that of all further words
    return later
