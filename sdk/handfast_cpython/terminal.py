"""What both commands share towards a person: exit codes, one-sentence errors, codes to scan.

0 done   1 failed   2 usage   3 refused   4 entropy alarm   5 unreachable   130 interrupted
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import segno
import typer

from handfast.core.errors import EntropyError, Error, LinkError, LocalError, RefusedError

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


def exit_code(error: Error) -> int:
    """The exit code for one of our errors."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def fail(error: Error) -> NoReturn:
    """Say one sentence on standard error and end with the code of the table."""
    typer.echo(f"{Path(sys.argv[0]).name}: {error.detail}", err=True)
    raise typer.Exit(exit_code(error))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end; our errors become a sentence and an exit code, Ctrl-C becomes 130."""
    try:
        return asyncio.run(work)
    except Error as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def version() -> str:
    """The version of handfast and of the libraries that compute for it."""
    from handfast_cpython.crypto import Crypto

    try:
        number = metadata.version("handfast")
    except metadata.PackageNotFoundError:
        number = "(not installed)"
    return f"handfast {number}; crypto: {Crypto().name}"


def show_json(value: object) -> None:
    """One JSON value on standard output; bytes become hex."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def show_qr(text: str) -> None:
    """`text` as a QR code, when somebody looks at the terminal."""
    if sys.stdout.isatty():
        segno.make(text, error="m").terminal(compact=True)


def _plain(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")
