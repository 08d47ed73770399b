"""Records of enrolled devices: in, committed, acknowledged, delivered; and out.

A record is opened against the ring in memory, which moves on at once; its PUBLISH is acknowledged
and its data handed on when the transaction with its replay window has committed. When the
transaction refuses (the device was revoked, its key is gone) the ring is forgotten and nothing is
handed on.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import structlog

from handfast.core import constants, hub_session, topics
from handfast.core.errors import AuthenticationError, DecodeError, Error, LinkError, PeerError
from handfast.core.hub_session import Opened
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import (
    Response,
    decode_control,
    decode_response,
    encode_control,
    encode_request,
)
from handfast.core.records import decode_header
from handfast.ports import Clock, Crypto
from handfast_hub.metrics import METRICS
from handfast_hub.registry.delivery import Delivery
from handfast_hub.registry.reads import Stored
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.traffic import Command, Dispatch

_LOG = structlog.get_logger("handfast.hub.traffic")

# Devices whose rings are kept in memory; the one that was silent longest goes first.
RINGS_LIMIT = 100_000
# Commands whose answer somebody in this process may wait for.
SENT_LIMIT = 100_000


class Reading(NamedTuple):
    """What a device sent: `device_id` 8 bytes, `channel` a name, `at` seconds since 1970."""

    device_id: bytes
    label: str
    channel: str
    data: bytes
    at: float


class _Device:
    """A device in memory. `confirmed`: a record of it was committed since this hub started."""

    __slots__ = ("confirmed", "label", "lock", "ring")

    def __init__(self, stored: Stored) -> None:
        self.ring = stored.ring
        self.label = stored.label
        self.confirmed = False
        self.lock = asyncio.Lock()


class Traffic:
    """Every record of every enrolled device."""

    def __init__(
        self,
        registry: Registry,
        crypto: Crypto,
        clock: Clock,
        hub_kid: bytes,
        publish: Callable[[str, bytes], None],
        deliver: Callable[[Reading], None],
        answered: Callable[[int, Response], None],
    ) -> None:
        """`deliver` hears committed readings, `answered` committed answers to commands."""
        self._registry = registry
        self._clock = clock
        self._hub_kid = hub_kid
        self._publish = publish
        self._deliver = deliver
        self._answered = answered
        self._keys = KeyCache(crypto)
        # Commands that this process has sent, by the record that carried them.
        self._sent: OrderedDict[tuple[bytes, int, int], int] = OrderedDict()
        self._devices: OrderedDict[bytes, _Device] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, topic: topics.Topic, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """One payload on a device's topic; never raises, whatever the bytes are."""
        task = asyncio.create_task(self._receive(topic.device_id, topic.channel, payload, acknowledge))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, device_id: bytes) -> None:
        """Another process changed this device: read it anew when it speaks."""
        self._devices.pop(device_id, None)
        self._keys.forget(device_id)

    async def notify(self, device_id: bytes) -> None:
        """Commands may wait for this device; send them if it was heard since this hub started."""
        device = self._devices.get(device_id)
        if device is not None and device.confirmed:
            async with device.lock:
                await self._send_commands(device_id, device)

    async def farewell(self, device_id: bytes) -> None:
        """Tell a device that was just revoked, if it was heard of; else it is told when it speaks."""
        device = self._devices.get(device_id)
        self.forget(device_id)
        if device is not None and device.ring.active is not None:
            epoch = device.ring.active.epoch
            for each in (epoch, epoch + 1):
                await self._last_records(device_id, each)

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # In ---------------------------------------------------------------------------------------

    async def _receive(
        self, device_id: bytes, channel: int, payload: bytes, acknowledge: Callable[[], None]
    ) -> None:
        try:
            device = await self._load(device_id)
            if device is None:
                METRICS.records.labels("unknown_device").inc()
            elif device.ring.active is None and not device.ring.pendings:
                await self._stranger(device_id, payload)
            else:
                await self._open(device_id, device, channel, payload)
        except PeerError as error:
            METRICS.records.labels("refused").inc()
            _LOG.debug("record not opened", device=device_id.hex(), reason=error.detail)
        except Error as error:
            # The database could not do its work. Not acknowledged: the broker brings it again.
            _LOG.error("a record could not be committed", device=device_id.hex(), reason=error.detail)
            self.forget(device_id)
            return
        acknowledge()

    async def _load(self, device_id: bytes) -> _Device | None:
        device = self._devices.get(device_id)
        if device is None:
            stored = await self._registry.load(device_id, self._clock.now())
            # Another record of it may have been faster.
            device = self._devices.get(device_id)
            if device is None and stored is not None:
                device = self._devices[device_id] = _Device(stored)
                if len(self._devices) > RINGS_LIMIT:
                    self._devices.popitem(last=False)
        else:
            self._devices.move_to_end(device_id)
        return device

    async def _open(self, device_id: bytes, device: _Device, channel: int, payload: bytes) -> None:
        before = device.ring
        try:
            opened = hub_session.open_record(self._keys, before, channel, payload, self._clock.now())
        except AuthenticationError:
            device.ring = hub_session.count_failure(before)
            raise
        data, response, control = _read(channel, opened)
        device.ring = opened.ring
        now = time.time()
        refusal = await self._registry.deliver(Delivery(before, opened, channel, data, response, now))
        if refusal is not None:
            METRICS.records.labels("refused").inc()
            _LOG.info("record refused", device=device_id.hex(), reason=refusal.reason)
            self.forget(device_id)
            return
        METRICS.records.labels("delivered").inc()
        first = not device.confirmed
        device.confirmed = True
        if data is not None:
            self._deliver(Reading(device_id, device.label, topics.CHANNEL_NAMES[channel], data, now))
        if response is not None:
            number = self._sent.pop((device_id, response.epoch, response.piv), None)
            if number is not None:
                self._answered(number, response)
        async with device.lock:
            if control or opened.promoted or opened.stepped:
                ack = encode_control(constants.CONTROL_ACK, opened.attempt)
                await self._seal(device_id, device, topics.CONTROL, ack)
            if hub_session.wants_step(device.ring):
                await self._seal(device_id, device, topics.CONTROL, encode_control(constants.CONTROL_STEP))
            if first or control:
                await self._send_commands(device_id, device)

    async def _stranger(self, device_id: bytes, payload: bytes) -> None:
        """A device without a key: it was revoked, and is told so with what was sealed for it then."""
        METRICS.records.labels("revoked").inc()
        await self._last_records(device_id, decode_header(payload).epoch)
        self.forget(device_id)

    async def _last_records(self, device_id: bytes, epoch: int) -> None:
        for record in await self._registry.last_records(device_id, epoch, time.time()):
            self._send(device_id, topics.CONTROL, record)

    # Out --------------------------------------------------------------------------------------

    async def _seal(self, device_id: bytes, device: _Device, channel: int, plaintext: bytes) -> None:
        sealed = hub_session.seal_record(self._keys, device.ring, channel, plaintext)
        device.ring = sealed.ring
        if sealed.reserved and await self._registry.reserve(sealed.ring) is not None:
            self.forget(device_id)
            return
        self._send(device_id, channel, sealed.record)

    async def _send_commands(self, device_id: bytes, device: _Device) -> None:
        if device.ring.active is None:
            return
        for command in await self._registry.waiting_commands(device_id, time.time()):
            await self._send_command(device_id, device, command)

    async def _send_command(self, device_id: bytes, device: _Device, command: Command) -> None:
        sealed = hub_session.seal_record(
            self._keys, device.ring, topics.COMMAND, encode_request(command.data)
        )
        device.ring = sealed.ring
        if sealed.reserved and await self._registry.reserve(sealed.ring) is not None:
            self.forget(device_id)
            return
        dispatch = Dispatch(command.number, sealed.epoch, sealed.piv, time.time())
        if await self._registry.dispatch(dispatch):
            self._sent[device_id, sealed.epoch, sealed.piv] = command.number
            if len(self._sent) > SENT_LIMIT:
                self._sent.popitem(last=False)
            self._send(device_id, topics.COMMAND, sealed.record)

    def _send(self, device_id: bytes, channel: int, record: bytes) -> None:
        endpoint = topics.enrolled(self._hub_kid, device_id)
        try:
            self._publish(f"{endpoint.down}/{channel}", record)
        except LinkError as error:
            # An ack is asked for again; a command stays `sent` without an answer, which the operator sees.
            _LOG.warning("the broker is away", device=device_id.hex(), reason=error.detail)


def _read(channel: int, opened: Opened) -> tuple[bytes | None, Response | None, bool]:
    """What a record holds: data for the application, the answer to a command, or a control message.

    DecodeError for what a device may not send; the ring does not move then.
    """
    if channel == topics.CONTROL:
        control = decode_control(opened.plaintext)
        if control.kind == constants.CONTROL_FIN and control.value != opened.attempt:
            raise DecodeError("fin names another attempt than the key that sealed it")
        if control.kind not in (constants.CONTROL_FIN, constants.CONTROL_HELLO):
            raise DecodeError("a device sends fin and hello on channel 0")
        return None, None, True
    if channel == topics.RESPONSE:
        return None, decode_response(opened.plaintext), False
    if channel == topics.COMMAND:
        raise DecodeError("a device sends no commands")
    return opened.plaintext, None, False
