"""The operator's face of the registry: lists, decisions, tokens, commands and readings.

The command line and the operator's own programs use it, with or without a running hub.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.constants import MAX_PLAINTEXT
from handfast.core.errors import LocalError
from handfast.core.plaintexts import encode_request
from handfast.core.token import Token
from handfast.core.topics import DEVICE_ID_LENGTH
from handfast.ports import Crypto
from handfast_hub.registry import decisions
from handfast_hub.registry.decisions import Decision, Device, Revocation, note
from handfast_hub.registry.group import GroupCommit, Operation
from handfast_hub.registry.schema import ONBOARDED, QUEUED, commands, devices, events, readings
from handfast_hub.registry.tokens import NewTokens, TokenInfo, TokenMint, list_tokens, withdraw
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
    """`data` for the device, worthless after `expires_at`.

    `repeatable`: the device may carry it out twice; then a restart of the device does not lose it.
    """

    device_id: bytes
    data: bytes
    expires_at: float
    now: float
    repeatable: bool = False


class Operator:
    """Made by the Registry; every call is one transaction."""

    def __init__(
        self,
        group: GroupCommit,
        vault: Vault,
        crypto: Crypto,
        random: Callable[[int], bytes],
        changed: Callable[[], None],
        stock: Operation[None, None],
    ) -> None:
        """`changed` is called after each change, for those who watch in this process; `stock` lets them
        know new tokens."""
        self._group = group
        self._random = random
        self._changed = changed
        self._stock = stock
        self._revoke = Operation(Revocation(vault, crypto), rank=0)
        self._mint = Operation(TokenMint(vault, crypto, random), rank=4)

    async def devices(self, state: str | None = None) -> list[Device]:
        """All devices, or those in `state`; oldest first."""
        return await self._group.submit(_DEVICES, state)

    async def find(self, prefix: bytes) -> list[Device]:
        """The devices whose thumbprint or device_id begins with `prefix`; at most 10."""
        return await self._group.submit(_FIND, prefix)

    async def approve(self, thumbprint: bytes, *, label: str = "", again: bool = False) -> bool:
        """Admit a device; False when it was admitted or onboarded before, and then only its label is new.

        LocalError when it was refused or revoked and `again` does not say so.
        """
        decision = self._decision(thumbprint, label, "an operator approved it")
        admitted = await self._group.submit(_APPROVE, decision._replace(again=again))
        self._changed()
        return admitted

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
        # A device may come with one of them before whoever watches has looked.
        await self._group.submit(self._stock, None)
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

    async def commands(self, last: int) -> list[CommandInfo]:
        """The newest `last` commands, oldest first."""
        return await self._group.submit(_COMMANDS, last)

    async def find_command(self, number: int) -> CommandInfo:
        """One command; LocalError when there is none of this number."""
        return await self._group.submit(_FIND_COMMAND, number)

    async def readings(self, after: int, limit: int) -> list[Reading]:
        """At most `limit` readings in the order of delivery, with numbers above `after`."""
        return await self._group.submit(_READINGS, (after, limit))

    async def newest_reading(self) -> int:
        """The number of the newest reading, 0 when there is none."""
        return await self._group.submit(_NEWEST, None)

    async def events(self, thumbprint: bytes | None, last: int) -> list[Event]:
        """The newest `last` lines of the audit log, oldest first; of one device when it is named."""
        return await self._group.submit(_EVENTS, (thumbprint, last))

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
        size = len(encode_request(item.data))
        if size > MAX_PLAINTEXT:
            room = MAX_PLAINTEXT - size + len(item.data)
            outcomes.append(
                LocalError(f"a command has at most {room} bytes, this has {len(item.data)}; send it in parts")
            )
            continue
        number = connection.scalar(
            sa.insert(commands)
            .values(
                device=row.id,
                state=QUEUED,
                data=item.data,
                created_at=item.now,
                expires_at=item.expires_at,
                repeatable=int(item.repeatable),
            )
            .returning(commands.c.id)
        )
        note(connection, item.now, "command", row.thumbprint, f"number {number}")
        outcomes.append(int(number or 0))
    return outcomes


_COMMAND_COLUMNS = (
    sa.select(commands.c.id, devices.c.device_id, *(commands.c[name] for name in CommandInfo._fields[2:]))
    .join(devices, devices.c.id == commands.c.device)
    .order_by(commands.c.id.desc())
)


def _list_commands(connection: Connection, items: Sequence[int]) -> list[list[CommandInfo]]:
    return [
        [CommandInfo._make(row) for row in reversed(connection.execute(_COMMAND_COLUMNS.limit(last)).all())]
        for last in items
    ]


def _find_commands(connection: Connection, items: Sequence[int]) -> list[CommandInfo | Exception]:
    outcomes: list[CommandInfo | Exception] = []
    for number in items:
        row = connection.execute(_COMMAND_COLUMNS.where(commands.c.id == number)).first()
        outcomes.append(
            LocalError(f"there is no command {number}") if row is None else CommandInfo._make(row)
        )
    return outcomes


def reading_rows(
    connection: Connection, after: int, limit: int, *conditions: "sa.ColumnElement[bool]"
) -> list[Reading]:
    """At most `limit` readings with numbers above `after` that meet `conditions`, in order."""
    columns = (readings.c[name] for name in Reading._fields[3:])
    statement = (
        sa.select(readings.c.id, devices.c.device_id, devices.c.label, *columns)
        .join(devices, devices.c.id == readings.c.device)
        .where(readings.c.id > after, *conditions)
        .order_by(readings.c.id)
        .limit(limit)
    )
    return [Reading._make(row) for row in connection.execute(statement)]


def _list_readings(connection: Connection, items: Sequence[tuple[int, int]]) -> list[list[Reading]]:
    return [reading_rows(connection, after, limit) for after, limit in items]


def _newest_reading(connection: Connection, items: Sequence[None]) -> list[int]:
    newest = connection.scalar(sa.select(sa.func.max(readings.c.id)))
    return [newest or 0] * len(items)


def _list_events(connection: Connection, items: Sequence[tuple[bytes | None, int]]) -> list[list[Event]]:
    answers = []
    for thumbprint, last in items:
        statement = sa.select(events).order_by(events.c.id.desc()).limit(last)
        if thumbprint is not None:
            statement = statement.where(events.c.thumbprint == thumbprint)
        answers.append([Event._make(row) for row in reversed(connection.execute(statement).all())])
    return answers


_DEVICES = Operation(decisions.list_devices, reading=True)
_FIND = Operation(decisions.find_devices, reading=True)
_APPROVE = Operation(decisions.approve, rank=4)
_REFUSE = Operation(decisions.refuse, rank=4)
_TOKENS = Operation(list_tokens, reading=True)
_WITHDRAW = Operation(withdraw, rank=4)
_COMMAND = Operation(queue_commands, rank=4)
_COMMANDS = Operation(_list_commands, reading=True)
_FIND_COMMAND = Operation(_find_commands, reading=True)
_READINGS = Operation(_list_readings, reading=True)
_NEWEST = Operation(_newest_reading, reading=True)
_EVENTS = Operation(_list_events, reading=True)
