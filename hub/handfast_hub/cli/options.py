"""What the commands of `handfast-hub` share: options, durations, devices by any of their names, tables."""

import re
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from handfast.core.errors import DecodeError, LocalError
from handfast_cpython.terminal import fail, run

if TYPE_CHECKING:
    from handfast.ports import Crypto
    from handfast_hub.config import HubConfig
    from handfast_hub.registry.bridging import Bridging
    from handfast_hub.registry.decisions import Device
    from handfast_hub.registry.operator import Operator
    from handfast_hub.registry.registry import Registry

Result = TypeVar("Result")

Reference = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE", help="Claim code, thumbprint or device id; the first 4 hex digits or more will do."
    ),
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Options(NamedTuple):
    """The options before the command."""

    config: Path
    quiet: bool

    def say(self, text: str) -> None:
        """Something that is nice to know; --quiet silences it."""
        if not self.quiet:
            typer.echo(text)

    def load(self) -> "HubConfig":
        """The configuration; a wrong one ends the command."""
        from handfast_hub.config import ConfigError, load_config

        try:
            return load_config(self.config)
        except ConfigError as error:
            fail(error)

    def operate(self, work: "Callable[[Operator, Crypto], Coroutine[Any, Any, Result]]") -> Result:
        """Run `work` on the operator's face of the registry, with or without a running hub."""
        return self._open(lambda registry, crypto: work(registry.operator, crypto))

    def bridge(self, work: "Callable[[Bridging], Coroutine[Any, Any, Result]]") -> Result:
        """Run `work` on the trunks' face of the registry, with or without a running hub."""
        return self._open(lambda registry, _: work(registry.bridging))

    def _open(self, work: "Callable[[Registry, Crypto], Coroutine[Any, Any, Result]]") -> Result:
        config = self.load()

        async def operate() -> Result:
            from handfast_cpython.crypto import Crypto
            from handfast_hub.registry.registry import Registry

            crypto = Crypto()
            registry = await Registry.open(config, crypto)
            try:
                return await work(registry, crypto)
            finally:
                await registry.close()

        return run(operate())


def options(context: typer.Context) -> Options:
    """The options of this call."""
    found = context.find_object(Options)
    if found is None:
        raise RuntimeError("a command runs below the callback that sets the options")
    return found


def seconds(text: str) -> float:
    """A duration such as 30s, 15m, 24h, 7d or 2w; LocalError for anything else."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if match is None or int(match[1]) == 0:
        raise LocalError(f"expected a duration such as 30s, 15m, 24h, 7d or 2w, got {text!r}")
    return float(int(match[1]) * _UNITS[match[2]])


async def find_device(operator: "Operator", crypto: "Crypto", reference: str) -> "Device | None":
    """The device that `reference` names; LocalError when it is none of its names or several devices'."""
    prefix = claimed(crypto, reference) or _prefix(reference)
    found = await operator.find(prefix)
    if len(reference) == len(prefix) * 2 + 1:
        # An odd number of digits: the last one was not asked for.
        digits = reference.lower()
        found = [device for device in found if _bears(device, digits)]
    if len(found) > 1:
        raise LocalError(f"{reference} names {len(found)} devices or more; give more digits")
    return found[0] if found else None


async def known_device(operator: "Operator", crypto: "Crypto", reference: str) -> "Device":
    """The known device that `reference` names; LocalError when there is none."""
    device = await find_device(operator, crypto, reference)
    if device is None:
        raise LocalError(f"no device is called {reference}; see 'handfast-hub devices'")
    return device


async def thumbprint_of(operator: "Operator", crypto: "Crypto", reference: str) -> bytes:
    """The thumbprint of a device that may be unknown so far, when `reference` says all of it."""
    device = await find_device(operator, crypto, reference)
    if device is not None:
        return device.thumbprint
    thumbprint = claimed(crypto, reference) or _prefix(reference)
    if len(thumbprint) != 32:
        raise LocalError(f"no device is called {reference}; for a new one give its whole claim code")
    return thumbprint


def claimed(crypto: "Crypto", reference: str) -> bytes | None:
    """The thumbprint in a claim code, None for anything else; LocalError for a mistyped claim code."""
    from handfast.core.codes import decode_claim_code

    if len(reference.replace("-", "").replace(" ", "")) == 56:
        try:
            return decode_claim_code(crypto, reference)
        except DecodeError as error:
            raise LocalError(error.detail) from None
    return None


def _prefix(reference: str) -> bytes:
    from handfast.core.codes import b32decode

    if re.fullmatch(r"[0-9a-fA-F]{4,64}", reference):
        return bytes.fromhex(reference[: len(reference) // 2 * 2])
    if re.fullmatch(r"[a-z2-7]{13}", reference):  # a client id, as brokers log it
        try:
            return b32decode(reference)
        except DecodeError as error:
            raise LocalError(error.detail) from None
    raise LocalError(
        f"expected a claim code, or 4 to 64 hex digits of a thumbprint or device id, got {reference!r}"
    )


def _bears(device: "Device", digits: str) -> bool:
    return device.thumbprint.hex().startswith(digits) or device.device_id.hex().startswith(digits)


# Columns of a table in a pipe: nothing is wrapped, so that grep finds it.
_ANY_LENGTH = 100_000


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """A table as wide as the terminal, one line a row in a pipe; or the sentence `nothing`."""
    if not rows:
        typer.echo(nothing)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        # An id in two halves can be neither copied nor found.
        table.add_column(name, overflow="fold", no_wrap=all(" " not in row[number] for row in rows))
    for row in rows:
        # Strangers choose some of these texts: they are neither markup nor orders to the terminal.
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = _ANY_LENGTH
    console.print(table)


def printable(text: str) -> str:
    """`text` without orders to the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def when(at: float | None) -> str:
    """Local time to the second, or a dash."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def shown(data: bytes) -> str:
    """Bytes for a person: as text when they are printable, else in hex."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"h'{data.hex()}'"
    return text if text.isprintable() else f"h'{data.hex()}'"
