"""What somebody typed that no command takes, told in one sentence with the nearest right word.

Typer's own answer is a box of five lines, which neither a log nor a program can read.
"""

import re
from difflib import get_close_matches
from typing import Any

import typer

# Newer versions of Typer have a copy of click of their own, and export of its errors this one alone.
UsageError: Any = typer.BadParameter.__bases__[0]


def is_help(error: Exception) -> bool:
    """Whether nothing was typed but the name of the command: the answer is its help."""
    return type(error).__name__ == "NoArgsIsHelpError"


def sentence(error: Any) -> str:
    """One sentence for a `UsageError`: what came, what was expected, and where to look."""
    context: typer.Context | None = error.ctx
    if context is None:
        return _plain(error.format_message())
    path = context.command_path
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = [name for parameter in context.command.params for name in parameter.opts]
        return _unknown(f"'{path}' has no option {option}", option, [*known, "--help"], path)
    command = re.match(r"No such command ['\"]?([^'\"]*)", error.format_message())
    if command is not None:
        commands = list(getattr(context.command, "commands", {}))
        return _unknown(f"'{path}' has no command {command[1]!r}", command[1], commands, path)
    return f"{_plain(error.format_message())}; see '{path} --help'"


def _unknown(what: str, typed: str, known: list[str], path: str) -> str:
    nearest = get_close_matches(typed, known, 1, 0.5)
    if nearest:
        return f"{what}; the nearest is {nearest[0]}"
    return f"{what}; see '{path} --help' for all"


def _plain(text: str) -> str:
    """A message of the library as a clause of ours: one line, no capital, no full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]
