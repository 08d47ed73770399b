"""The operator's face of the registry: lists, decisions, tokens, commands and readings.

The command line and the operator's own programs use it, with or without a running hub.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.codes import Token
from handfast.core.errors import LocalError
from handfast.core.topics import DEVICE_ID_LENGTH
from handfast.ports import Crypto
from handfast_hub import registry_devices
from handfast_hub.registry_devices import Decision, Device, Revocation, note
from handfast_hub.registry_group import GroupCommit, Operation
from handfast_hub.schema import ONBOARDED, QUEUED, commands, devices, events, readings
from handfast_hub.tokens import NewTokens, TokenInfo, TokenMint, list_tokens, withdraw
from handfast_hub.vault import Vault


class Reading(NamedTuple):
    """Something that a device sent; `number` grows, `received_at` in seconds."""

    number: int
    device_id: bytes
    label: str
    channel: int
    epoch: int
    piv: int
    data: bytes
    received_at: float


class CommandInfo(NamedTuple):
    """A command as lists show it; `status` and `answer` are None until it is answered."""

    number: int
    device_id: bytes
    state: str
    data: bytes
    created_at: float
    expires_at: float
    status: int | None
    answer: bytes | None


class Event(NamedTuple):
    """A line of the audit log."""

    number: int
    at: float
    kind: str
    thumbprint: bytes | None
    detail: str


class NewCommand(NamedTuple):
    """`data` for the device, worthless after `expires_at`."""

    device_id: bytes
    data: bytes
    expires_at: float
    now: float


class Page(NamedTuple):
    """Rows with a number above `after`, at most `limit` of them."""

    after: int
    limit: int


class Operator:
    """Made by the Registry; every call is one transaction."""

    def __init__(
        self,
        group: GroupCommit,
        vault: Vault,
        crypto: Crypto,
        random: Callable[[int], bytes],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called after each change, for those who watch in this process."""
        self._group = group
        self._random = random
        self._changed = changed
        self._revoke = Operation(Revocation(vault, crypto), rank=0)
        self._mint = Operation(TokenMint(vault, crypto, random), rank=4)

    async def devices(self, state: str | None = None) -> list[Device]:
        """All devices, or those in `state`; oldest first."""
        return await self._group.submit(_DEVICES, state)

    async def find(self, prefix: bytes) -> list[Device]:
        """The devices whose thumbprint or device_id begins with `prefix`; at most 10."""
        return await self._group.submit(_FIND, prefix)

    async def approve(self, thumbprint: bytes, *, label: str = "", again: bool = False) -> None:
        """Admit a device; LocalError when it was refused or revoked and `again` does not say so."""
        decision = self._decision(thumbprint, label, "an operator approved it")
        await self._group.submit(_APPROVE, decision._replace(again=again))
        self._changed()

    async def refuse(self, thumbprint: bytes, reason: str) -> None:
        """Refuse a device that is not onboarded; LocalError when it is."""
        await self._group.submit(_REFUSE, self._decision(thumbprint, "", reason))
        self._changed()

    async def revoke(self, thumbprint: bytes, reason: str) -> None:
        """Shut a device out, known or not; `reason` is told to it, at most 128 characters."""
        await self._group.submit(self._revoke, self._decision(thumbprint, "", reason))
        self._changed()

    async def mint(self, new: NewTokens) -> list[Token]:
        """Make tokens; their secrets are given here and nowhere else. LocalError for a bad wish."""
        made = await self._group.submit(self._mint, new)
        self._changed()
        return made

    async def tokens(self) -> list[TokenInfo]:
        """All tokens, newest first, without their secrets."""
        return await self._group.submit(_TOKENS, time.time())

    async def withdraw(self, token_id: bytes) -> None:
        """Take a token back; LocalError when there is none to take."""
        await self._group.submit(_WITHDRAW, (token_id, time.time()))
        self._changed()

    async def command(self, new: NewCommand) -> int:
        """Queue a command, and give its number; LocalError for a device that is not onboarded."""
        number = await self._group.submit(_COMMAND, new)
        self._changed()
        return number

    async def commands(self, page: Page) -> list[CommandInfo]:
        """Commands in the order of their numbers."""
        return await self._group.submit(_COMMANDS, page)

    async def readings(self, page: Page) -> list[Reading]:
        """Readings in the order of delivery."""
        return await self._group.submit(_READINGS, page)

    async def events(self, page: Page) -> list[Event]:
        """The audit log, oldest first."""
        return await self._group.submit(_EVENTS, page)

    def _decision(self, thumbprint: bytes, label: str, reason: str) -> Decision:
        return Decision(thumbprint, self._random(DEVICE_ID_LENGTH), label, reason, time.time())


def queue_commands(connection: Connection, items: Sequence[NewCommand]) -> list[int | Exception]:
    """Queue commands, and give their numbers; an exception says why not."""
    outcomes: list[int | Exception] = []
    for item in items:
        of_device = devices.c.device_id == item.device_id
        row = connection.execute(
            sa.select(devices.c.id, devices.c.state, devices.c.thumbprint).where(of_device)
        ).first()
        if row is None or row.state != ONBOARDED:
            state = "unknown" if row is None else row.state
            outcomes.append(
                LocalError(f"a command needs an onboarded device; {item.device_id.hex()} is {state}")
            )
            continue
        if item.expires_at <= item.now:
            outcomes.append(LocalError("a command must expire in the future"))
            continue
        number = connection.scalar(
            sa.insert(commands)
            .values(
                device=row.id,
                state=QUEUED,
                data=item.data,
                created_at=item.now,
                expires_at=item.expires_at,
            )
            .returning(commands.c.id)
        )
        note(connection, item.now, "command", row.thumbprint, f"number {number}")
        outcomes.append(int(number or 0))
    return outcomes


def _list_commands(connection: Connection, items: Sequence[Page]) -> list[list[CommandInfo]]:
    columns = [commands.c[name] for name in CommandInfo._fields[2:]]
    statement = sa.select(commands.c.id, devices.c.device_id, *columns)
    statement = statement.join(devices, devices.c.id == commands.c.device)
    return [
        [CommandInfo._make(row) for row in connection.execute(_page(statement, commands, page))]
        for page in items
    ]


def _list_readings(connection: Connection, items: Sequence[Page]) -> list[list[Reading]]:
    statement = sa.select(
        readings.c.id,
        devices.c.device_id,
        devices.c.label,
        *(readings.c[name] for name in Reading._fields[3:]),
    ).join(devices, devices.c.id == readings.c.device)
    return [
        [Reading._make(row) for row in connection.execute(_page(statement, readings, page))] for page in items
    ]


def _list_events(connection: Connection, items: Sequence[Page]) -> list[list[Event]]:
    return [
        [Event._make(row) for row in connection.execute(_page(sa.select(events), events, page))]
        for page in items
    ]


def _page(statement: sa.Select[Any], table: sa.Table, page: Page) -> sa.Select[Any]:
    return statement.where(table.c.id > page.after).order_by(table.c.id).limit(page.limit)


_DEVICES = Operation(registry_devices.list_devices, reading=True)
_FIND = Operation(registry_devices.find_devices, reading=True)
_APPROVE = Operation(registry_devices.approve, rank=4)
_REFUSE = Operation(registry_devices.refuse, rank=4)
_TOKENS = Operation(list_tokens, reading=True)
_WITHDRAW = Operation(withdraw, rank=4)
_COMMAND = Operation(queue_commands, rank=4)
_COMMANDS = Operation(_list_commands, reading=True)
_READINGS = Operation(_list_readings, reading=True)
_EVENTS = Operation(_list_events, reading=True)
