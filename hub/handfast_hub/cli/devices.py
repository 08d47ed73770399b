"""`handfast-hub devices | approve | refuse | revoke | events`: who may join, and who did."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from handfast.core.errors import LocalError
from handfast_cpython.terminal import Json, fail, show_json
from handfast_hub.cli.options import Reference, known_device, options, show_table, thumbprint_of, when

if TYPE_CHECKING:
    from handfast.ports import Crypto
    from handfast_hub.registry.decisions import Device
    from handfast_hub.registry.operator import Event, Operator

_KINDS = {0: "none", 1: "quantum", 2: "os", 3: "simulated"}
_HEALTH = {0: "ok", 1: "alarm", 2: "not run"}
_REASON_BYTES = 128


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    for command in (devices, approve, refuse, revoke, events):
        app.command()(command)


def devices(
    context: typer.Context,
    state: Annotated[
        str | None, typer.Option(help="waiting, admitted, joining, onboarded, refused or revoked.")
    ] = None,
    json: Json = False,
) -> None:
    """List devices."""
    from handfast_hub.registry.schema import DEVICE_STATES

    if state is not None and state not in DEVICE_STATES:
        fail(LocalError(f"expected one of {', '.join(DEVICE_STATES)}, got {state!r}"))

    async def work(operator: "Operator", _: "Crypto") -> "list[Device]":
        return await operator.devices(state)

    found = options(context).operate(work)
    if json:
        show_json([{**device._asdict(), "devinfo": devinfo(device.devinfo)} for device in found])
        return
    rows = [
        (
            device.thumbprint.hex()[:12],
            device.device_id.hex(),
            device.label or "-",
            device.state,
            _entropy(devinfo(device.devinfo)),
            when(device.seen_at or device.created_at),
            device.reason,
        )
        for device in found
    ]
    columns = ("thumbprint", "device id", "label", "state", "entropy", "seen", "why")
    show_table(columns, rows, "there are no devices" if state is None else f"no device is {state}")


def approve(
    context: typer.Context,
    device: Reference,
    label: Annotated[str, typer.Option(help="A name for lists.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Even if it was refused or revoked.")] = False,
) -> None:
    """Admit a device, before it asks (by its claim code) or while it waits."""

    async def work(operator: "Operator", crypto: "Crypto") -> tuple[bytes, bool]:
        thumbprint = await thumbprint_of(operator, crypto, device)
        return thumbprint, await operator.approve(thumbprint, label=label, again=again)

    thumbprint, admitted = options(context).operate(work)
    name = thumbprint.hex()[:12]
    if admitted:
        options(context).say(f"{name} may join; a device that waits asks again by itself")
    else:
        options(context).say(f"{name} was approved or onboarded before; nothing to do")


def refuse(
    context: typer.Context,
    device: Reference,
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "an operator refused it",
) -> None:
    """Refuse a device that waits or was admitted. It stops asking."""

    async def work(operator: "Operator", crypto: "Crypto") -> bytes:
        thumbprint = await thumbprint_of(operator, crypto, device)
        await operator.refuse(thumbprint, reason)
        return thumbprint

    thumbprint = options(context).operate(work)
    options(context).say(f"{thumbprint.hex()[:12]} is refused")


def revoke(
    context: typer.Context,
    device: Reference,
    reason: Annotated[str, typer.Option(help="For the audit log, and told to the device.")] = "revoked",
) -> None:
    """Shut a device out at once: its keys are deleted, nothing of it is delivered any more."""
    if not 0 < len(reason) <= _REASON_BYTES:
        fail(LocalError(f"a reason has 1 to {_REASON_BYTES} characters, this one has {len(reason)}"))

    async def work(operator: "Operator", crypto: "Crypto") -> bytes:
        thumbprint = await thumbprint_of(operator, crypto, device)
        await operator.revoke(thumbprint, reason)
        return thumbprint

    thumbprint = options(context).operate(work)
    options(context).say(f"{thumbprint.hex()[:12]} is revoked")


def events(
    context: typer.Context,
    device: Annotated[str | None, typer.Option(help="Only what is about this device.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 100,
    json: Json = False,
) -> None:
    """Show the audit log, oldest first."""

    async def work(operator: "Operator", crypto: "Crypto") -> "Sequence[Event]":
        thumbprint = None
        if device is not None:
            thumbprint = (await known_device(operator, crypto, device)).thumbprint
        return await operator.events(thumbprint, last)

    found = options(context).operate(work)
    if json:
        show_json([event._asdict() for event in found])
        return
    rows = [
        (
            when(event.at),
            event.kind,
            "-" if event.thumbprint is None else event.thumbprint.hex()[:12],
            event.detail,
        )
        for event in found
    ]
    show_table(("when", "what", "device", "detail"), rows, "nothing has happened yet")


def devinfo(encoded: bytes | None) -> dict[str, object] | None:
    """DEVINFO with words for its keys, as the device claims it; None when it sent none."""
    if encoded is None:
        return None
    from handfast.core import cbor, constants

    claim = cbor.decode(encoded)
    if not isinstance(claim, dict):
        return None
    shown: dict[str, object] = {}
    for key, name in ((constants.DEVINFO_FIRMWARE, "firmware"), (constants.DEVINFO_HARDWARE, "hardware")):
        if key in claim:
            shown[name] = claim[key]
    source = claim.get(constants.DEVINFO_ENTROPY)
    if isinstance(source, list) and len(source) >= 7:
        shown["entropy"] = {
            "source": _KINDS.get(source[0], "unknown"),
            "model": source[1],
            "min_entropy_per_bit": source[2] / 1000 if isinstance(source[2], int) else None,
            "health": _HEALTH.get(source[3], "unknown"),
            "alarms": source[4],
            "bytes_drawn": source[5],
            "second_sources": source[6],
        }
    return shown


def _entropy(info: dict[str, object] | None) -> str:
    source = None if info is None else info.get("entropy")
    if not isinstance(source, dict):
        return "-"
    return f"{source['source']} {source['health']}"
