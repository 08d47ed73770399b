"""`handfast-hub listen | send | commands`: readings in, commands out, without touching MQTT."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from handfast.core.errors import LinkTimeout, LocalError
from handfast_cpython.terminal import Json, JsonLines, fail, show_json
from handfast_hub.cli.options import (
    Reference,
    known_device,
    options,
    seconds,
    show_table,
    shown,
    when,
)

if TYPE_CHECKING:
    from handfast.ports import Crypto
    from handfast_hub.registry.operator import CommandInfo, Operator, Reading

# How often the registry is asked for something new, in seconds.
_POLL_SECONDS = 0.2
_PAGE = 1000
_STATUS = {0: "done", 1: "failed", 2: "unknown command", 3: "busy, not carried out"}


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    for command in (listen, send, commands):
        app.command()(command)


def listen(
    context: typer.Context,
    device: Annotated[str | None, typer.Option(help="Only readings of this device.")] = None,
    after: Annotated[
        int | None, typer.Option(help="Begin after the reading with this number; 0 shows all that are kept.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this many.")] = None,
    json: JsonLines = False,
) -> None:
    """Show what devices send, as it is delivered. Ctrl-C ends it."""

    async def work(operator: "Operator", crypto: "Crypto") -> None:
        device_id = None
        if device is not None:
            device_id = (await known_device(operator, crypto, device)).device_id
        last = await operator.newest_reading() if after is None else after
        left = count
        while left is None or left > 0:
            found = await operator.readings(last, _PAGE)
            for reading in found:
                last = reading.number
                if device_id in (None, reading.device_id) and (left is None or left > 0):
                    left = None if left is None else left - 1
                    _show_reading(reading, json)
            if len(found) < _PAGE:
                await asyncio.sleep(_POLL_SECONDS)

    options(context).operate(work)


def send(
    context: typer.Context,
    device: Reference,
    data: Annotated[str, typer.Argument(help="The command, as text.")],
    binary: Annotated[bool, typer.Option("--hex", help="DATA is hex digits for bytes.")] = False,
    expires: Annotated[str, typer.Option(help="How long it is worth carrying out: 30s, 15m, 24h.")] = "60s",
    repeatable: Annotated[
        bool,
        typer.Option(help="To carry it out twice does no harm: send it again to a device that restarted."),
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the answer.")] = True,
    json: Json = False,
) -> None:
    """Send a command to a device. One that is away gets it when it is back, unless it expired.

    A command is carried out at most once, so one that was on its way while its device restarted is lost.
    With --repeatable it is sent again instead; devices that sleep without power need that.
    """
    try:
        lifetime = seconds(expires)
        payload = bytes.fromhex(data) if binary else data.encode()
    except LocalError as error:
        fail(error)
    except ValueError:
        fail(LocalError("expected hex digits with --hex, two for each byte"))

    async def work(operator: "Operator", crypto: "Crypto") -> "CommandInfo":
        from handfast_hub.registry.operator import NewCommand

        found = await known_device(operator, crypto, device)
        now, until = time.time(), time.monotonic() + lifetime
        new = NewCommand(found.device_id, payload, now + lifetime, now, repeatable)
        number = await operator.command(new)
        while True:
            command = await operator.find_command(number)
            if command.state == "answered" or not wait:
                return command
            if time.monotonic() > until:
                raise LinkTimeout(
                    f"command {number} was not answered within {expires}; the hub or the device may be away,"
                    f" and whether it was carried out is not known if it was sent (state {command.state})"
                )
            await asyncio.sleep(_POLL_SECONDS)

    command = options(context).operate(work)
    if json:
        show_json(command._asdict())
    elif command.state == "answered":
        typer.echo(f"{_status(command)}: {shown(command.answer or b'')}")
    else:
        options(context).say(f"command {command.number} is {command.state}; see 'handfast-hub commands'")


def commands(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 100,
    json: Json = False,
) -> None:
    """List commands and their answers, oldest first."""

    async def work(operator: "Operator", _: "Crypto") -> "list[CommandInfo]":
        return await operator.commands(last)

    found = options(context).operate(work)
    if json:
        show_json([command._asdict() for command in found])
        return
    rows = [
        (
            str(command.number),
            command.device_id.hex(),
            command.state,
            when(command.created_at),
            shown(command.data),
            "-" if command.answer is None else f"{_status(command)}: {shown(command.answer)}",
        )
        for command in found
    ]
    show_table(("number", "device id", "state", "made", "command", "answer"), rows, "there are no commands")


def _status(command: "CommandInfo") -> str:
    return "-" if command.status is None else _STATUS.get(command.status, str(command.status))


def _show_reading(reading: "Reading", json: bool) -> None:
    from handfast.core.topics import CHANNEL_NAMES

    channel = CHANNEL_NAMES[reading.channel]
    if json:
        import json as encoder

        value = {**reading._asdict(), "channel": channel}
        value = {key: item.hex() if isinstance(item, bytes) else item for key, item in value.items()}
        typer.echo(encoder.dumps(value, ensure_ascii=False))
        return
    name = reading.label or reading.device_id.hex()
    typer.echo(f"{reading.number} {when(reading.received_at)} {name} {channel}: {shown(reading.data)}")
