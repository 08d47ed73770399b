"""Records of enrolled devices on their way in: opened, committed, acknowledged, delivered.

A record is opened against the ring in memory, which moves on at once; its PUBLISH is acknowledged
and its data handed on when the transaction with its replay window has committed. When the
transaction refuses (the device was revoked, its key is gone) the ring is forgotten and nothing is
handed on. What goes out to them is in `outgoing.py`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import structlog

from handfast.core import constants, hub_session, topics
from handfast.core.errors import AuthenticationError, DecodeError, Error, PeerError
from handfast.core.hub_session import Opened
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import (
    Response,
    decode_control,
    decode_response,
)
from handfast.core.records import decode_header
from handfast.ports import Clock, Crypto
from handfast_hub.arrivals import Arrival, Arrivals
from handfast_hub.metrics import METRICS
from handfast_hub.outgoing import Outgoing
from handfast_hub.registry.delivery import Delivery
from handfast_hub.registry.registry import Registry
from handfast_hub.rings import Device, Rings

_LOG = structlog.get_logger("handfast.hub.traffic")


class Reading(NamedTuple):
    """What a device sent: `device_id` 8 bytes, `channel` a name, `at` seconds since 1970."""

    device_id: bytes
    label: str
    channel: str
    data: bytes
    at: float


class Traffic:
    """Every record of every enrolled device."""

    def __init__(
        self,
        registry: Registry,
        crypto: Crypto,
        clock: Clock,
        hub_kid: bytes,
        publish: Callable[[str, bytes], None],
        connected: Callable[[], bool],
        deliver: Callable[[Reading], None],
        answered: Callable[[int, Response], None],
    ) -> None:
        """`connected` says whether the broker is there. `deliver` hears committed readings, `answered`
        committed answers to commands."""
        self._registry = registry
        self._clock = clock
        self._connected = connected
        self._deliver = deliver
        self._answered = answered
        self._keys = KeyCache(crypto)
        self._rings = Rings(registry, clock, self._keys, self._ready)
        self._outgoing = Outgoing(registry, self._rings, self._keys, hub_kid, publish, connected)
        self._arrivals = Arrivals(self._enter)
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, topic: topics.Topic, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """One payload on a device's topic; never raises, whatever the bytes are."""
        self._arrivals.take(topic.device_id, topic.channel, payload, acknowledge)

    def forget(self, device_id: bytes) -> None:
        """The registry knows better than the ring in memory: read it anew when the device speaks."""
        self._rings.forget(device_id)

    def notify(self, device_id: bytes) -> None:
        """Commands may wait for this device; send them if it was heard since this hub started."""
        device = self._rings.find(device_id)
        if device is not None and device.confirmed:
            self._keep(self._outgoing.reply(device))

    def remind(self) -> None:
        """Send the commands that could not be sent before; call it every second or so."""
        if self._connected():
            for device_id in self._outgoing.take_waiting():
                self.notify(device_id)

    async def farewell(self, device_id: bytes) -> None:
        """Tell a device that was just revoked, if it was heard of; else it is told when it speaks."""
        device = self._rings.find(device_id)
        self.forget(device_id)
        if device is not None and device.ring.active is not None:
            epoch = device.ring.active.epoch
            for each in (epoch, epoch + 1):
                await self._outgoing.last_records(device_id, each)

    async def close(self) -> None:
        """Take nothing more, and wait for what is under way."""
        await self._arrivals.close()
        await self._rings.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # In ---------------------------------------------------------------------------------------

    def _enter(self, arrival: Arrival) -> None:
        """Open a record now, or when its device was read: records of a device keep their order."""
        if not self._registry.knows(arrival.device_id):
            # Anybody can invent a device_id; one that nobody has costs no more than this.
            METRICS.records.labels("unknown_device").inc()
            self._arrivals.done(arrival)
            return
        try:
            decode_header(arrival.payload)
        except PeerError as error:
            self._refuse(arrival, error.detail)
            return
        device = self._rings.enter(arrival.device_id)
        if device.loading is not None:
            device.queue.append(arrival)
        else:
            self._open(device, arrival)

    def _ready(self, device: Device, error: Exception | None) -> None:
        queue, device.queue = device.queue, []
        for arrival in queue:
            if error is not None:
                self._failed(arrival, error)
            elif not device.known:
                METRICS.records.labels("unknown_device").inc()
                self._arrivals.done(arrival)
            elif device.keyless:
                METRICS.records.labels("revoked").inc()
                self._keep(self._dismiss(arrival))
            else:
                self._open(device, arrival)

    def _open(self, device: Device, arrival: Arrival) -> None:
        before, channel = device.ring, arrival.channel
        try:
            opened = hub_session.open_record(self._keys, before, channel, arrival.payload, self._clock.now())
            data, response, control = _read(channel, opened)
        except PeerError as error:
            if isinstance(error, AuthenticationError):
                device.ring = hub_session.count_failure(before)
            self._refuse(arrival, error.detail)
            return
        except Exception as error:
            self._failed(arrival, error)
            return
        device.ring = opened.ring
        self._rings.begin(device)
        delivery = Delivery(before, opened, channel, data, response, time.time())
        self._keep(self._commit(device, arrival, delivery, control))

    async def _commit(self, device: Device, arrival: Arrival, delivery: Delivery, control: bool) -> None:
        try:
            refusal = await self._registry.deliver(delivery)
        except Exception as error:
            self.forget(device.id)
            self._rings.end(device)
            self._failed(arrival, error)
            return
        self._rings.end(device)
        if refusal is not None:
            _LOG.info("record refused", device=device.id.hex(), reason=refusal.reason)
            self.forget(device.id)
            METRICS.records.labels("refused").inc()
            await self._dismiss(arrival)
            return
        self._delivered(device, delivery, control)
        self._arrivals.done(arrival)

    def _delivered(self, device: Device, delivery: Delivery, control: bool) -> None:
        METRICS.records.labels("delivered").inc()
        opened, now = delivery.opened, delivery.now
        device.commit(opened.ring)
        first = not device.confirmed
        device.confirmed = True
        if delivery.data is not None:
            channel = topics.CHANNEL_NAMES[delivery.channel]
            self._deliver(Reading(device.id, device.label, channel, delivery.data, now))
        if delivery.response is not None:
            number = self._outgoing.answered(device, delivery.response)
            if number is not None:
                self._answered(number, delivery.response)
        more = self._outgoing.heard(device, opened, now)
        acked = control or opened.promoted or opened.stepped
        if acked:
            device.owed = opened.attempt
        if acked or first or more or hub_session.wants_step(device.ring):
            self._keep(self._outgoing.reply(device))

    async def _dismiss(self, arrival: Arrival) -> None:
        """Its device has no key; when it was revoked it is told so with what was sealed for it then."""
        try:
            await self._outgoing.last_records(arrival.device_id, decode_header(arrival.payload).epoch)
        except Exception as error:
            self._failed(arrival, error)
        else:
            self._arrivals.done(arrival)

    def _failed(self, arrival: Arrival, error: Exception) -> None:
        if isinstance(error, Error):
            self._arrivals.failed(arrival, error)
        else:
            # Brought again it would fail again, so it must not stay with the broker.
            name = arrival.device_id.hex()
            _LOG.error("a record made the hub fail and is dropped", device=name, exc_info=error)
            self._arrivals.done(arrival)

    def _refuse(self, arrival: Arrival, reason: str) -> None:
        METRICS.records.labels("refused").inc()
        _LOG.debug("record not opened", device=arrival.device_id.hex(), reason=reason)
        self._arrivals.done(arrival)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
