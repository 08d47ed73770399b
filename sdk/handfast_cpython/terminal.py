"""What both commands share towards a person: exit codes, one-sentence errors, codes to scan.

0 done   1 failed   2 usage   3 refused   4 entropy alarm   5 unreachable   130 interrupted

With --json an error is one JSON object on standard error instead of the sentence.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import segno
import typer

from handfast.core.errors import EntropyError, Error, LinkError, LocalError, RefusedError
from handfast_cpython import usage

Result = TypeVar("Result")

DONE = 0
FAILED = 1
USAGE = 2
REFUSED = 3
ENTROPY_ALARM = 4
UNREACHABLE = 5
INTERRUPTED = 130

# The first class that fits an error gives the exit code.
EXIT_CODES: tuple[tuple[type[Error], int], ...] = (
    (RefusedError, REFUSED),
    (EntropyError, ENTROPY_ALARM),
    (LinkError, UNREACHABLE),
    (LocalError, USAGE),
    (Error, FAILED),
)

# Whether the command that runs was asked for JSON.
_json: ContextVar[bool] = ContextVar("json", default=False)


def _remember(context: typer.Context, wanted: bool) -> bool:
    _json.set(wanted)
    context.call_on_close(lambda: _json.set(False))
    return wanted


Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_remember,
        help="One JSON value on standard output; an error is one on standard error.",
    ),
]
JsonLines = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_remember,
        help="One JSON object a line; an error is one on standard error.",
    ),
]


def exit_code(error: Error) -> int:
    """The exit code for one of our errors."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def fail(error: Error) -> NoReturn:
    """Say one sentence on standard error, or one JSON object, and end with the code of the table."""
    raise typer.Exit(_say(error, _json.get()))


def _say(error: Error, as_json: bool) -> int:
    code = exit_code(error)
    text = f"{Path(sys.argv[0]).name}: {error.detail}"
    if as_json:
        value = {"error": error.detail, "exit_code": code, "retryable": error.retryable}
        text = json.dumps(value, ensure_ascii=False)
    typer.echo(text, err=True)
    return code


def main(app: typer.Typer) -> None:
    """The entry point of a command: also what it cannot say is one sentence and an exit code."""
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else DONE)
    except usage.UsageError as error:
        if usage.is_help(error):
            typer.echo(error.format_message())
            sys.exit(USAGE)
        # No option was read yet, so whoever wanted JSON is asked by what was typed.
        sys.exit(_say(LocalError(usage.sentence(error)), "--json" in sys.argv[1:]))
    except typer.Abort:
        typer.echo("Aborted.", err=True)
        sys.exit(FAILED)
    except OSError as error:
        # Whatever else the system refuses has a sentence of its own at its port.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            # What is left in the buffer would fail once more when Python ends.
            os.dup2(nowhere.fileno(), 1)
        place = error.filename or "standard output"
        reason = error.strerror or type(error).__name__
        print(f"{Path(sys.argv[0]).name}: {place} cannot be written: {reason}; give it room", file=sys.stderr)
        sys.exit(FAILED)


def note(text: str) -> None:
    """Something on the way that a person may want to know; a program that asked for JSON does not."""
    if not _json.get():
        typer.echo(text, err=True)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end; our errors become a sentence and an exit code, Ctrl-C becomes 130."""
    return attempt(lambda: asyncio.run(work))


def attempt(work: Callable[[], Result]) -> Result:
    """What `run` does, for work that waits for nothing else meanwhile."""
    try:
        return work()
    except Error as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def version() -> str:
    """The version of handfast and of the libraries that compute for it."""
    from handfast_cpython.crypto import Crypto

    return f"handfast {number()}; crypto: {Crypto().name}"


def number() -> str:
    """The version of handfast."""
    try:
        return metadata.version("handfast")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def show_json(value: object, indent: int | None = 2) -> None:
    """One JSON value on standard output, on one line without `indent`; bytes become hex."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=indent))


def show_qr(text: str) -> None:
    """`text` as a QR code, when somebody looks at the terminal."""
    if sys.stdout.isatty():
        segno.make(text, error="m").terminal(compact=True)


def _plain(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")
