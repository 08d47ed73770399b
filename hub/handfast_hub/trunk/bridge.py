"""Bridges one trunk: readings to the other hub and from it, commands both ways, each exactly once.

A class is a stream: its readings go in the order of their numbers, each naming the one before. The
other hub takes what follows what it has, holds what came too early, and acknowledges after its
commit; whatever is not acknowledged goes again. So a carrier may lose, repeat and reorder, and a hub
may die anywhere.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError, Error, LinkTimeout, LocalError
from handfast.core.plaintexts import Response
from handfast.core.topics import CHANNEL_NAMES, DEVICE_ID_LENGTH
from handfast_hub.registry.bridging import Arrival, Asked, Bridging, Stream, Taken, Wanted
from handfast_hub.registry.engine import RegistryError
from handfast_hub.registry.operator import CommandInfo, NewCommand, Reading
from handfast_hub.trunk.lane import ClassClosed
from handfast_hub.trunk.policy import BULK, NORMAL

_LOG = structlog.get_logger("handfast.hub.bridge")

# What stands in records: the kind of message, then its fields and their types.
_READING, _ACK, _COMMAND, _ANSWER = 1, 2, 3, 4
_SHAPES: dict[int, tuple[type, ...]] = {
    # life, number, previous, device_id, label, channel, data, milliseconds since 1970
    _READING: (int, int, int, bytes, str, int, bytes, int),
    # class, life, number
    _ACK: (int, int, int),
    # command_id, device_id, data, milliseconds that it is worth carrying out
    _COMMAND: (bytes, bytes, bytes, int),
    # command_id, status or -1, answer, why there is none
    _ANSWER: (bytes, int, bytes, str),
}
_NO_ANSWER = -1

# Readings on their way that are not acknowledged.
WINDOW = 256
_PAGE = 64
# Without an acknowledgement for so long everything that is not acknowledged goes again, in seconds.
PATIENCE = 5.0
# A command that nobody answers is sent again; how often, in seconds.
REPEAT_COMMAND = 2.0
# How often is looked for new readings when nobody says that there are some, in seconds.
LOOK = 1.0
# An acknowledgement that goes back was overtaken on its way, unless there was none for so long, in seconds.
OVERTAKEN = 1.0
# Readings that came and wait for their commit, or for the one before; more are dropped, and come again.
ARRIVALS_LIMIT = 1024
ANSWERS_REMEMBERED = 4096
# What another hub may make us remember: how often it was restored, and for how long a command, in seconds.
LIVES_LIMIT = 2**16
LONGEST_COMMAND = 86_400.0


class _Outgoing:
    """One class of readings: what was acknowledged, and what was sent."""

    def __init__(self, stream: Stream, channels: tuple[int, ...], acked: int) -> None:
        self.stream = stream
        self.channels = channels
        self.acked = self.sent = acked
        # The numbers that are on their way.
        self.flying: deque[int] = deque()
        self.moved_at = self.acked_at = 0.0
        # Whether the other hub has said how far it is. Until then it takes the first reading that comes
        # for the beginning, so no other may be on its way that could come before it.
        self.agreed = False
        self.wake = asyncio.Event()

    def rewind(self, number: int) -> None:
        """Send again from behind `number` on."""
        self.sent = number
        self.flying.clear()
        self.moved_at = time.monotonic()


class Bridge:
    """One trunk's traffic."""

    def __init__(
        self,
        name: str,
        registry: Bridging,
        send: Callable[[int, bytes], None],
        channels: Mapping[int, tuple[int, ...]],
        random: Callable[[int], bytes],
        find: Callable[[int], Awaitable[CommandInfo]],
        arrived: Callable[[Arrival], None],
        *,
        obey: bool,
    ) -> None:
        """`send` is that of the Link; `channels` are the channels of each class that goes over it.
        `find` gives the row of a command; `arrived` hears readings of the other hub once they are
        committed. `obey` lets the other hub command devices of this one."""
        self.name = name
        self._registry = registry
        self._send = send
        self._channels = channels
        self._random = random
        self._find = find
        self._arrived = arrived
        self._obey = obey
        self._outgoing: dict[int, _Outgoing] = {}
        self._queue: asyncio.Queue[Arrival] = asyncio.Queue(ARRIVALS_LIMIT)
        self._answers: dict[bytes, asyncio.Future[tuple[int, bytes, str]]] = {}
        self._asked: OrderedDict[bytes, bytes] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._life = 0

    async def start(self) -> None:
        """Read how far each class has come, and go on from there."""
        self._life = await self._registry.life()
        for kind, channels in self._channels.items():
            stream = Stream(self.name, kind)
            self._outgoing[kind] = _Outgoing(stream, channels, await self._registry.cursor(stream))
            self._spawn(self._forward(self._outgoing[kind]))
        self._spawn(self._commit())

    async def close(self) -> None:
        """Stop; what is not acknowledged goes again from the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """There may be something to send, or a way to send it."""
        for outgoing in self._outgoing.values():
            outgoing.wake.set()

    def resend(self) -> None:
        """What is on its way was lost with its carrier: send it again now."""
        for outgoing in self._outgoing.values():
            outgoing.rewind(outgoing.acked)
        self.wake()

    def waiting(self) -> dict[int, tuple[int, int]]:
        """(acknowledged, sent) by class: numbers of readings."""
        return {kind: (outgoing.acked, outgoing.sent) for kind, outgoing in self._outgoing.items()}

    async def command(self, device_id: bytes, data: bytes, expires: float) -> Response:
        """Have the other hub send a command to its device, and wait for the answer.

        LinkTimeout when none came within `expires` seconds, LocalError when that hub cannot.
        """
        command_id, until = self._random(16), time.monotonic() + expires
        future: asyncio.Future[tuple[int, bytes, str]] = asyncio.get_running_loop().create_future()
        self._answers[command_id] = future
        try:
            while (left := until - time.monotonic()) > 0:
                with contextlib.suppress(ClassClosed):
                    self._send(NORMAL, encode([_COMMAND, command_id, device_id, data, int(left * 1000)]))
                with contextlib.suppress(TimeoutError):
                    pause = min(REPEAT_COMMAND, left)
                    status, answer, reason = await asyncio.wait_for(asyncio.shield(future), pause)
                    if status == _NO_ANSWER:
                        raise LocalError(reason)
                    return Response(0, 0, status, answer)
        finally:
            del self._answers[command_id]
        raise LinkTimeout(
            f"the hub at the other end of {self.name} gave no answer within {expires:g} s;"
            " whether the command was carried out is not known"
        )

    # Out --------------------------------------------------------------------------------------

    async def _forward(self, outgoing: _Outgoing) -> None:
        while True:
            try:
                await self._forward_some(outgoing)
            except RegistryError as error:
                _LOG.error("readings are not bridged", trunk=self.name, reason=error.detail)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(outgoing.wake.wait(), LOOK)
            outgoing.wake.clear()

    async def _forward_some(self, outgoing: _Outgoing) -> None:
        now = time.monotonic()
        if outgoing.flying and now - outgoing.moved_at > PATIENCE:
            outgoing.rewind(outgoing.acked)
        while (room := (WINDOW if outgoing.agreed else 1) - len(outgoing.flying)) > 0:
            limit = min(room, _PAGE)
            page = await self._registry.outgoing(Wanted(outgoing.channels, outgoing.sent, limit))
            for reading in page:
                if not self._forward_one(outgoing, reading):
                    return
            if len(page) < limit:
                return

    def _forward_one(self, outgoing: _Outgoing, reading: Reading) -> bool:
        """Send one reading; whether its class is open."""
        fields = [
            self._life,
            reading.number,
            outgoing.sent,
            reading.device_id,
            reading.label,
            reading.channel,
            reading.data,
            int(reading.received_at * 1000),
        ]
        try:
            self._send(outgoing.stream.kind, encode([_READING, *fields]))
        except ClassClosed:
            return False
        if not outgoing.flying:
            outgoing.moved_at = time.monotonic()
        outgoing.sent = reading.number
        outgoing.flying.append(reading.number)
        return True

    async def _acknowledge(self, kind: int, life: int, number: int) -> None:
        outgoing, now = self._outgoing.get(kind), time.monotonic()
        if outgoing is None or life != self._life:
            return
        outgoing.agreed = True
        if number == outgoing.acked or (number < outgoing.acked and now - outgoing.acked_at < OVERTAKEN):
            outgoing.wake.set()
            return
        if number < outgoing.acked or number > outgoing.sent:
            # The other hub was restored from an older copy, or ours was: go on from what it has.
            outgoing.rewind(number)
        while outgoing.flying and outgoing.flying[0] <= number:
            outgoing.flying.popleft()
        outgoing.acked, outgoing.moved_at, outgoing.acked_at = number, now, now
        outgoing.wake.set()
        await self._registry.acknowledged(outgoing.stream, number)

    # In ---------------------------------------------------------------------------------------

    def receive(self, kind: int, data: bytes, degraded: bool) -> None:
        """Take the plaintext of a record of class `kind`; DecodeError when it is none of ours."""
        message, fields = _decode(data)
        if message == _READING:
            life, number, previous, device_id, label, channel, reading, at = fields
            with contextlib.suppress(asyncio.QueueFull):
                self._queue.put_nowait(
                    Arrival(
                        Stream(self.name, kind),
                        life,
                        number,
                        previous,
                        degraded,
                        device_id,
                        label[:128],
                        channel,
                        reading,
                        at / 1000,
                    )
                )
        elif message == _ACK:
            self._spawn(self._acknowledge(*fields))
        elif message == _COMMAND:
            self._spawn(self._carry_out(*fields))
        else:
            command_id, status, answer, reason = fields
            future = self._answers.get(command_id)
            if future is not None and not future.done():
                future.set_result((status, answer, reason))

    async def _commit(self) -> None:
        early: list[Arrival] = []
        while True:
            batch = [*early, await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            batch.sort(key=lambda item: item.number)
            marks = await asyncio.gather(
                *(self._registry.arrive(item) for item in batch), return_exceptions=True
            )
            newest: dict[tuple[int, int], int] = {}
            early = []
            for item, mark in zip(batch, marks, strict=True):
                if isinstance(mark, Taken):
                    newest[item.stream.kind, item.life] = mark.number
                    if mark.new:
                        self._arrived(item)
                    elif item.previous > mark.number and len(early) < ARRIVALS_LIMIT:
                        early.append(item)
                elif not isinstance(mark, Error):
                    raise mark
            for (kind, life), number in newest.items():
                with contextlib.suppress(ClassClosed):
                    self._send(BULK if kind == BULK else NORMAL, encode([_ACK, kind, life, number]))

    async def _carry_out(self, command_id: bytes, device_id: bytes, data: bytes, milliseconds: int) -> None:
        answer = self._asked.get(command_id)
        if answer is None:
            answer = await self._run(command_id, device_id, data, min(milliseconds / 1000, LONGEST_COMMAND))
            if answer is None:
                return
            self._asked[command_id] = answer
            if len(self._asked) > ANSWERS_REMEMBERED:
                self._asked.popitem(last=False)
        with contextlib.suppress(ClassClosed):
            self._send(NORMAL, answer)

    async def _run(self, command_id: bytes, device_id: bytes, data: bytes, lifetime: float) -> bytes | None:
        """The answer to a command; None while there is none: the other hub asks again."""
        now = time.time()
        try:
            if not self._obey:
                raise LocalError("that hub takes no commands over this trunk; its operator can allow them")
            new = NewCommand(device_id, data, now + lifetime, now)
            queued = await self._registry.command(Asked(self.name, command_id, new))
            found = await self._find(queued.number)
        except RegistryError:
            return None
        except Error as error:
            return encode([_ANSWER, command_id, _NO_ANSWER, b"", error.detail[:256]])
        if found.status is None:
            return None
        return encode([_ANSWER, command_id, found.status, found.answer or b"", ""])

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            reason = error.detail if isinstance(error, Error) else repr(error)
            _LOG.error("a part of the bridge failed", trunk=self.name, reason=reason)


def _decode(data: bytes) -> tuple[int, list[Any]]:
    item = decode(data)
    if not isinstance(item, list) or not item or type(item[0]) is not int or item[0] not in _SHAPES:
        raise DecodeError("a record of a bridge is a reading, a command, or an answer to one")
    message, fields = item[0], item[1:]
    shape = _SHAPES[message]
    if len(fields) != len(shape) or any(
        type(value) is not kind for value, kind in zip(fields, shape, strict=True)
    ):
        raise DecodeError(f"a bridge message {message} has not the fields that it should have")
    if any(type(value) is int and not -1 <= value < 2**63 for value in fields):
        raise DecodeError(f"a number in a bridge message {message} is out of range")
    if message == _READING:
        life, number, previous, device_id, _, channel, _, _ = fields
        if (
            life >= LIVES_LIMIT
            or len(device_id) != DEVICE_ID_LENGTH
            or not number > previous >= 0
            or channel not in CHANNEL_NAMES
        ):
            raise DecodeError("a reading names its device by 8 bytes, a channel, and what it follows")
    if message in (_COMMAND, _ANSWER) and len(fields[0]) != 16:
        raise DecodeError("a command over a trunk is named by 16 bytes")
    return message, fields
