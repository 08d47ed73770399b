"""Records of enrolled devices: in, committed, acknowledged, delivered; and out.

A record is opened against the ring in memory, which moves on at once; its PUBLISH is acknowledged
and its data handed on when the transaction with its replay window has committed. When the
transaction refuses (the device was revoked, its key is gone) the ring is forgotten and nothing is
handed on.

Nothing is sealed under a key or an epoch before the transaction that brought it has committed: after
a crash the same nonce would be used again.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import structlog

from handfast.core import constants, hub_session, topics
from handfast.core.errors import AuthenticationError, DecodeError, Error, LinkError, PeerError
from handfast.core.hub_session import Opened, Sealed
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
from handfast_hub.arrivals import Arrival, Arrivals
from handfast_hub.metrics import METRICS
from handfast_hub.registry.delivery import Delivery
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.traffic import Command, Dispatch
from handfast_hub.rings import Device, Rings, Unanswered

_LOG = structlog.get_logger("handfast.hub.traffic")

# Commands whose answer somebody in this process may wait for.
SENT_LIMIT = 100_000
# A command without an answer goes out again, byte for byte, with the first record of its device after
# so many seconds; the device takes it once. At most so many of one device.
RESEND_SECONDS = 5.0
RESEND_LIMIT = 32


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
        self._hub_kid = hub_kid
        self._publish = publish
        self._connected = connected
        self._deliver = deliver
        self._answered = answered
        self._keys = KeyCache(crypto)
        # Commands that this process has sent, by the record that carried them.
        self._sent: OrderedDict[tuple[bytes, int, int], int] = OrderedDict()
        self._rings = Rings(registry, clock, self._keys, self._ready)
        self._arrivals = Arrivals(self._enter)
        # Devices with commands that could not be sent: the broker or the database was away.
        self._waiting: set[bytes] = set()
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
            self._keep(self._reply(device, None))

    def remind(self) -> None:
        """Send the commands that could not be sent before; call it every second or so."""
        if self._waiting and self._connected():
            waiting, self._waiting = self._waiting, set()
            for device_id in waiting:
                self.notify(device_id)

    async def farewell(self, device_id: bytes) -> None:
        """Tell a device that was just revoked, if it was heard of; else it is told when it speaks."""
        device = self._rings.find(device_id)
        self.forget(device_id)
        if device is not None and device.ring.active is not None:
            epoch = device.ring.active.epoch
            for each in (epoch, epoch + 1):
                await self._last_records(device_id, each)

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
            self._response(device, delivery.response)
        if device.unanswered:
            self._resend(device, now)
        acked = control or opened.promoted or opened.stepped
        if acked or first or hub_session.wants_step(device.ring):
            self._keep(self._reply(device, opened.attempt if acked else None))

    async def _dismiss(self, arrival: Arrival) -> None:
        """Its device has no key; when it was revoked it is told so with what was sealed for it then."""
        try:
            await self._last_records(arrival.device_id, decode_header(arrival.payload).epoch)
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

    def _response(self, device: Device, response: Response) -> None:
        if device.unanswered:
            device.unanswered.pop((response.epoch, response.piv), None)
        number = self._sent.pop((device.id, response.epoch, response.piv), None)
        if number is not None:
            self._answered(number, response)

    # Out --------------------------------------------------------------------------------------

    async def _reply(self, device: Device, attempt: bytes | None) -> None:
        """Send an ack when `attempt` is given, [2] when the device should step, and what waits for it."""
        try:
            async with device.lock:
                if attempt is not None:
                    ack = encode_control(constants.CONTROL_ACK, attempt)
                    await self._send_sealed(device, topics.CONTROL, ack)
                if hub_session.wants_step(device.ring):
                    step = encode_control(constants.CONTROL_STEP)
                    await self._send_sealed(device, topics.CONTROL, step)
                await self._send_commands(device)
        except Error as error:
            _LOG.error("a device was not answered", device=device.id.hex(), reason=error.detail)
            self._waiting.add(device.id)

    async def _send_commands(self, device: Device) -> None:
        if not device.sealable:
            return
        if not self._connected():
            self._waiting.add(device.id)
            return
        for command in await self._registry.waiting_commands(device.id, time.time()):
            await self._send_command(device, command)

    async def _send_command(self, device: Device, command: Command) -> None:
        sealed = await self._seal(device, topics.COMMAND, encode_request(command.data))
        if sealed is None:
            return
        now = time.time()
        if await self._registry.dispatch(Dispatch(command.number, sealed.epoch, sealed.piv, now)):
            self._sent[device.id, sealed.epoch, sealed.piv] = command.number
            if len(self._sent) > SENT_LIMIT:
                self._sent.popitem(last=False)
            if device.unanswered is None:
                device.unanswered = {}
            if len(device.unanswered) < RESEND_LIMIT:
                sent = Unanswered(sealed.record, now, command.expires_at)
                device.unanswered[sealed.epoch, sealed.piv] = sent
            self._send(device.id, topics.COMMAND, sealed.record)

    def _resend(self, device: Device, now: float) -> None:
        """Its link may have been down when the command came; now it has just spoken."""
        unanswered = device.unanswered or {}
        for name, sent in list(unanswered.items()):
            if now >= sent.expires_at or device.committed is None or name[0] != device.committed[1]:
                del unanswered[name]
            elif abs(now - sent.at) >= RESEND_SECONDS:
                unanswered[name] = sent._replace(at=now)
                self._send(device.id, topics.COMMAND, sent.record)

    async def _send_sealed(self, device: Device, channel: int, plaintext: bytes) -> None:
        sealed = await self._seal(device, channel, plaintext)
        if sealed is not None:
            self._send(device.id, channel, sealed.record)

    async def _seal(self, device: Device, channel: int, plaintext: bytes) -> Sealed | None:
        """A record that may leave, None when there can be none now. Call it with the device's lock."""
        if not device.sealable:
            return None
        sealed = hub_session.seal_record(self._keys, device.ring, channel, plaintext)
        device.ring = sealed.ring
        if sealed.reserved:
            self._rings.begin(device)
            try:
                if await self._registry.reserve(sealed.ring) is not None:
                    self.forget(device.id)
            except Error:
                # In memory the bound has moved and on the disk it has not.
                self.forget(device.id)
                raise
            finally:
                self._rings.end(device)
        return None if device.stale else sealed

    async def _last_records(self, device_id: bytes, epoch: int) -> None:
        for record in await self._registry.last_records(device_id, epoch, time.time()):
            self._send(device_id, topics.CONTROL, record)

    def _send(self, device_id: bytes, channel: int, record: bytes) -> None:
        endpoint = topics.enrolled(self._hub_kid, device_id)
        try:
            self._publish(f"{endpoint.down}/{channel}", record)
        except LinkError as error:
            # An ack is asked for again, and a command goes out again when its device speaks.
            _LOG.warning("the broker is away", device=device_id.hex(), reason=error.detail)

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
