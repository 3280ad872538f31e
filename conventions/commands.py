"""Run the commands of a package, `python -m PACKAGE`."""

from __future__ import annotations

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
    Doe,John as a pair.

    Args:
        commands: the command, or name -> command.
        name: name of the package, for the help.
        words: words of the command line; None takes those of this program.
    """
    import fire  # here, so that programs which import the package do not need it

    report_input_errors()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.decorators.FIRE_METADATA = "_fire_metadata"  # fire's own name would be listed in the help as a command
    for command in commands.values() if isinstance(commands, Mapping) else [commands]:
        for argument in inspect.signature(command).parameters.values():
            parse = str if argument.annotation in _TEXT else fire.parser.DefaultParseValue
            names = [] if argument.kind is inspect.Parameter.VAR_POSITIONAL else [argument.name]
            fire.decorators.SetParseFn(parse, *names)(command)  # without a name, that of all further words
    fire.Fire(commands, command=words, name=name)
