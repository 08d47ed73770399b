"""Bridges one trunk: readings to the other hub and from it, commands both ways, each exactly once.

A class is a stream: its readings go in the order of their numbers, each naming the one before. The
other hub commits what follows what it has, holds what comes behind a gap (gathering.py), and
acknowledges after its commit; what was lost goes again (flight.py). So a carrier may lose and a hub
may die anywhere, and one that was restored from a copy goes on by its lives (outgoing.py).
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from handfast.core.errors import Error, LinkTimeout, LocalError
from handfast.core.plaintexts import Response
from handfast_hub.registry.arriving import Arrival, Stream
from handfast_hub.registry.bridging import Asked, Bridging, Wanted
from handfast_hub.registry.engine import RegistryError
from handfast_hub.registry.operator import CommandInfo, NewCommand, Reading
from handfast_hub.trunk.bridge_messages import (
    ACK,
    ANSWER,
    COMMAND,
    COMMAND_ID_LENGTH,
    INSTANCE_LENGTH,
    NO_ANSWER,
    READING,
    decode_message,
    encode_message,
)
from handfast_hub.trunk.flight import Ack
from handfast_hub.trunk.gathering import Gathering
from handfast_hub.trunk.lane import ClassClosed
from handfast_hub.trunk.outgoing import Outgoing
from handfast_hub.trunk.policy import BULK, CLASSES, NORMAL
from handfast_hub.trunk.tasks import Tasks

_LOG = structlog.get_logger("handfast.hub.bridge")

_PAGE = 256
# How often a command that nobody answers is sent again, in seconds.
REPEAT_COMMAND = 2.0
# How often is looked for new readings when nobody says that there are some, in seconds.
LOOK = 1.0
# Readings that came wait so long for company before they are committed together, in seconds.
COMPANY = 0.005
# How often it is noted how far the other hub has come, in seconds. What is not noted goes again after a
# restart, and the other hub says that it has it.
NOTE = 0.25
# Streams of the other hub that readings are gathered for: its classes, in a few of its lives.
STREAMS_LIMIT = 8
ANSWERS_REMEMBERED = 4096
# How long another hub may have us think of a command, in seconds.
LONGEST_COMMAND = 86_400.0


class Bridge:
    """One trunk's traffic."""

    def __init__(
        self,
        name: str,
        peer: bytes,
        registry: Bridging,
        send: Callable[[int, bytes], None],
        ready: Callable[[int], bool],
        channels: Mapping[int, tuple[int, ...]],
        random: Callable[[int], bytes],
        find: Callable[[int], Awaitable[CommandInfo]],
        arrived: Callable[[Arrival], None],
        *,
        obey: bool,
        command_class: int = NORMAL,
    ) -> None:
        """`peer` is the hub_id of the other hub. `send` is that of the Link; `ready` says whether a class
        may be sent now; `channels` are the channels of each class, for readings that an older version
        recorded. `find` gives the row of a command; `arrived` hears readings of the other hub once they
        are committed. `obey` lets the other hub command devices of this one; what it is asked itself goes
        as `command_class`."""
        self.name = name
        self._registry = registry
        self._send = send
        self._ready = ready
        self._channels = channels
        self._random = random
        self._find = find
        self._arrived = arrived
        self._obey = obey
        self._command_class = command_class
        self._outgoing: dict[int, Outgoing] = {}
        self._gatherings: OrderedDict[tuple[int, int], Gathering] = OrderedDict()
        self._came = asyncio.Event()
        self._instance = random(INSTANCE_LENGTH)
        self._acks = 0
        self._answers: dict[bytes, asyncio.Future[tuple[int, bytes, str]]] = {}
        self._asked: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()
        self._tasks = Tasks(name)
        self._peer = peer
        self._restored_at = 0.0

    async def start(self) -> None:
        """Read how far each class has come, and go on from there."""
        lives = await self._registry.lives()
        self._restored_at = lives[-1].at
        await self._registry.meet(self.name, self._peer)
        # All of them: what was recorded as a class goes as it, whatever the configuration has become.
        for kind in CLASSES:
            stream = Stream(self.name, kind)
            sent = await self._registry.cursor(stream)
            self._outgoing[kind] = Outgoing(stream, self._channels.get(kind, ()), sent, lives)
            self._tasks.keep(partial(self._forward, self._outgoing[kind]))
        self._tasks.keep(self._note)
        self._tasks.keep(self._commit)

    async def close(self) -> None:
        """Stop; what is not acknowledged goes again from the next start."""
        await self._tasks.close()

    def wake(self) -> None:
        """There may be something to send."""
        for outgoing in self._outgoing.values():
            outgoing.wake.set()

    def resend(self) -> None:
        """What is on its way was lost with its carrier: send it again now."""
        for outgoing in self._outgoing.values():
            outgoing.flight.strand()
        self.wake()

    def hurry(self) -> None:
        """There is a way to the other hub, at first or again, or a new epoch."""
        for outgoing in self._outgoing.values():
            outgoing.flight.hurry()
        self.wake()

    def waiting(self) -> dict[int, tuple[int, int]]:
        """(acknowledged, sent) by class: numbers of readings."""
        return {kind: (each.flight.acked, each.flight.sent) for kind, each in self._outgoing.items()}

    async def command(self, device_id: bytes, data: bytes, expires: float) -> Response:
        """Have the other hub send a command to its device, and wait for the answer.

        LinkTimeout when none came within `expires` seconds, LocalError when that hub cannot.
        """
        command_id, until = self._random(COMMAND_ID_LENGTH), time.monotonic() + expires
        future: asyncio.Future[tuple[int, bytes, str]] = asyncio.get_running_loop().create_future()
        self._answers[command_id] = future
        try:
            while (left := until - time.monotonic()) > 0:
                with contextlib.suppress(ClassClosed):
                    times = int(left * 1000), int((expires - left) * 1000)
                    message = encode_message(COMMAND, command_id, device_id, data, *times)
                    self._send(self._command_class, message)
                with contextlib.suppress(TimeoutError):
                    pause = min(REPEAT_COMMAND, left)
                    async with asyncio.timeout(pause):
                        status, answer, reason = await asyncio.shield(future)
                    if status == NO_ANSWER:
                        raise LocalError(reason)
                    return Response(0, 0, status, answer)
        finally:
            del self._answers[command_id]
        raise LinkTimeout(
            f"the hub at the other end of {self.name} gave no answer within {expires:g} s;"
            " whether the command was carried out is not known"
        )

    # Out --------------------------------------------------------------------------------------

    async def _forward(self, outgoing: Outgoing) -> None:
        while True:
            try:
                await self._forward_some(outgoing)
            except RegistryError as error:
                _LOG.error("readings are not bridged", trunk=self.name, reason=error.detail)
            pause = min(LOOK, outgoing.flight.patience(time.monotonic()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, COMPANY)):
                    await outgoing.wake.wait()
            outgoing.wake.clear()

    async def _forward_some(self, outgoing: Outgoing) -> None:
        kind = outgoing.stream.kind
        if not self._ready(kind):
            return
        try:
            flight = outgoing.flight
            flight.probe(time.monotonic())
            for lost in flight.lost():
                self._send(kind, lost.message)
                flight.resent(lost, time.monotonic())
            while flight.room and self._ready(kind):
                sent, limit = flight.sent, min(_PAGE, flight.room)
                wanted = Wanted(outgoing.stream, outgoing.channels, outgoing.after, limit)
                page = outgoing.of_this_life(await self._registry.outgoing(wanted))
                if flight.sent != sent:
                    # Meanwhile the other hub has said that it stands elsewhere.
                    continue
                for reading in page.readings:
                    self._forward_one(outgoing, reading)
                if not page.readings and outgoing.go_on():
                    flight = outgoing.flight
                elif len(page.readings) < limit:
                    outgoing.looked(page.newest)
                    return
        except ClassClosed:
            return

    def _forward_one(self, outgoing: Outgoing, reading: Reading) -> None:
        """Send one reading; ClassClosed when its class has to wait."""
        flight = outgoing.flight
        message = encode_message(
            READING,
            outgoing.life,
            reading.number,
            flight.sent,
            outgoing.floor,
            reading.device_id,
            reading.label,
            reading.channel,
            reading.data,
            int(reading.received_at * 1000),
        )
        self._send(outgoing.stream.kind, message)
        flight.add(reading.number, message, time.monotonic())

    def _acknowledged(self, kind: int, life: int, *ack: Any) -> None:
        outgoing = self._outgoing.get(kind)
        if outgoing is not None:
            outgoing.hear(life, Ack(*ack), time.monotonic())

    async def _note(self) -> None:
        """Note how far the other hub has come."""
        while True:
            await asyncio.sleep(NOTE)
            for outgoing in self._outgoing.values():
                if outgoing.moved:
                    outgoing.moved = False
                    try:
                        await self._registry.acknowledged(outgoing.stream, outgoing.flight.acked)
                    except RegistryError as error:
                        outgoing.moved = True
                        _LOG.error("what was acknowledged is not noted", reason=error.detail)

    # In ---------------------------------------------------------------------------------------

    def receive(self, kind: int, data: bytes, degraded: bool) -> None:
        """Take the plaintext of a record of class `kind`; DecodeError when it is none of ours."""
        message, fields = decode_message(data)
        if message == READING:
            device_id, label, channel, reading, at = fields[4:]
            what = (degraded, device_id, label[:128], channel, reading, at / 1000)
            self._gather(Arrival._make((Stream(self.name, kind), *fields[:4], *what)))
        elif message == ACK:
            self._acknowledged(*fields)
        elif message == COMMAND:
            self._tasks.spawn(self._carry_out(kind, *fields))
        else:
            command_id, status, answer, reason = fields
            future = self._answers.get(command_id)
            if future is not None and not future.done():
                future.set_result((status, answer, reason))

    def _gather(self, arrival: Arrival) -> None:
        name = (arrival.stream.kind, arrival.life)
        gathering = self._gatherings.get(name)
        if gathering is None:
            gathering = self._gatherings[name] = Gathering(arrival.floor)
            if len(self._gatherings) > STREAMS_LIMIT:
                self._gatherings.popitem(last=False)
        gathering.put(arrival)
        self._came.set()

    async def _commit(self) -> None:
        while True:
            await self._came.wait()
            await asyncio.sleep(COMPANY)
            self._came.clear()
            for (kind, life), gathering in list(self._gatherings.items()):
                if gathering.owed:
                    gathering.owed = False
                    try:
                        await self._commit_some(kind, life, gathering)
                    except RegistryError as error:
                        _LOG.error("readings of the other hub are not kept", reason=error.detail)

    async def _commit_some(self, kind: int, life: int, gathering: Gathering) -> None:
        """Commit what follows, then acknowledge it, and what is held behind a gap."""
        stream = Stream(self.name, kind)
        if gathering.committed is None:
            gathering.begin(await self._registry.taken(stream, life, gathering.floor))
        if batch := gathering.take():
            # Whatever happens now, it counts as committed when the registry has said so.
            gathering.committed = None
            taken = await self._registry.arrive(batch)
            gathering.begin(taken.number)
            for arrival in taken.new:
                self._arrived(arrival)
        runs = [number for run in gathering.runs() for number in run]
        self._acks += 1
        ack = encode_message(ACK, kind, life, gathering.committed, self._instance, self._acks, runs)
        with contextlib.suppress(ClassClosed):
            self._send(BULK if kind == BULK else NORMAL, ack)

    async def _carry_out(
        self, kind: int, command_id: bytes, device_id: bytes, data: bytes, left: int, age: int
    ) -> None:
        answer = self._asked.get((kind, command_id))
        if answer is None:
            now = time.time()
            new = NewCommand(device_id, data, now + min(left / 1000, LONGEST_COMMAND), now)
            answer = await self._run(Asked(self.name, kind, command_id, new), now - age / 1000)
            if answer is None:
                return
            self._asked[kind, command_id] = answer
            if len(self._asked) > ANSWERS_REMEMBERED:
                self._asked.popitem(last=False)
        with contextlib.suppress(ClassClosed):
            # What a secret command brought is as secret.
            self._send(kind, answer)

    async def _run(self, asked: Asked, asked_at: float) -> bytes | None:
        """The answer to a command; None while there is none: the other hub asks again."""
        try:
            if not self._obey:
                raise LocalError("that hub takes no commands over this trunk; its operator can allow them")
            if asked_at < self._restored_at:
                # It may have been queued in what the copy does not know, and nothing is sent twice.
                raise LocalError("that hub was restored since; nobody knows if the command was carried out")
            queued = await self._registry.command(asked)
            found = await self._find(queued.number)
        except RegistryError:
            return None
        except Error as error:
            return encode_message(ANSWER, asked.command_id, NO_ANSWER, b"", error.detail[:256])
        if found.status is None:
            return None
        return encode_message(ANSWER, asked.command_id, found.status, found.answer or b"", "")
