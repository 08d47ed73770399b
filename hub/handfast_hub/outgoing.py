"""What the hub sends to enrolled devices: acks, requests to step, commands, last records.

Nothing is sealed under a key or an epoch before the transaction that brought it has committed: after
a crash the same nonce would be used again.

A command has one record at most, which is in the registry before it leaves. As long as there is no
answer these very bytes go out again when the device speaks in the epoch in which they were sealed,
also from a later process: the device takes them once. So a command is carried out at most once, and
one whose epoch has passed is never sealed anew, because nobody can know whether it arrived. There are
two exceptions: a record that the broker did not take lets its command wait again, and so does the end
of an epoch for a command of which its sender said that it is repeatable.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from handfast.core import constants, hub_session, topics
from handfast.core.errors import Error, LinkError
from handfast.core.hub_session import Opened, Sealed
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import Response, encode_control, encode_request
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.traffic import Command, Dispatch
from handfast_hub.rings import Device, Rings, Unanswered

_LOG = structlog.get_logger("handfast.hub.outgoing")

# Commands whose answer somebody in this process may wait for.
SENT_LIMIT = 100_000
# A command without an answer goes out again with the first record of its device after so many seconds.
RESEND_SECONDS = 5.0
# So many commands of one device may be without an answer; the others wait in the registry.
UNANSWERED_LIMIT = 32


class Outgoing:
    """Seals and publishes; whoever calls `reply` keeps its task."""

    def __init__(
        self,
        registry: Registry,
        rings: Rings,
        keys: KeyCache,
        hub_kid: bytes,
        publish: Callable[[str, bytes], None],
        connected: Callable[[], bool],
    ) -> None:
        """`connected` says whether the broker is there; `publish` raises LinkError when it is not."""
        self._registry = registry
        self._rings = rings
        self._keys = keys
        self._hub_kid = hub_kid
        self._publish = publish
        self._connected = connected
        # Commands that were sent, by the record that carried them.
        self._sent: OrderedDict[tuple[bytes, int, int], int] = OrderedDict()
        # Devices with commands that could not be sent: the broker or the database was away.
        self._waiting: set[bytes] = set()

    def take_waiting(self) -> set[bytes]:
        """The devices with commands that could not be sent before; they are asked about once."""
        waiting, self._waiting = self._waiting, set()
        return waiting

    def answered(self, device: Device, response: Response) -> int | None:
        """A response was committed: the number of its command, None when no one here knows it."""
        if device.unanswered:
            device.unanswered.pop((response.epoch, response.piv), None)
        return self._sent.pop((device.id, response.epoch, response.piv), None)

    def heard(self, device: Device, opened: Opened, now: float) -> bool:
        """A record of the device was committed: send again what has no answer; True: there is room for more.

        Its link may have been down when a command came; now it has just spoken.
        """
        if opened.promoted or opened.stepped:
            # The device has left the epoch in which they were sealed.
            device.unanswered = {}
        unanswered = device.unanswered or {}
        for name, sent in list(unanswered.items()):
            if now >= sent.expires_at:
                del unanswered[name]
            elif abs(now - sent.at) >= RESEND_SECONDS:
                unanswered[name] = sent._replace(at=now)
                self._send(device.id, topics.COMMAND, sent.record)
        return device.held and len(unanswered) < UNANSWERED_LIMIT

    async def reply(self, device: Device) -> None:
        """Send the ack that is owed, [2] when the device should step, and what waits for it."""
        try:
            async with device.lock:
                if device.owed is not None:
                    ack, device.owed = encode_control(constants.CONTROL_ACK, device.owed), None
                    await self._send_sealed(device, topics.CONTROL, ack)
                if hub_session.wants_step(device.ring):
                    step = encode_control(constants.CONTROL_STEP)
                    await self._send_sealed(device, topics.CONTROL, step)
                await self._send_commands(device)
        except Error as error:
            _LOG.error("a device was not answered", device=device.id.hex(), reason=error.detail)
            self._waiting.add(device.id)

    async def last_records(self, device_id: bytes, epoch: int) -> None:
        """Send what was sealed for a revoked device, if it is still told."""
        for record in await self._registry.last_records(device_id, epoch, time.time()):
            self._send(device_id, topics.CONTROL, record)

    async def _send_commands(self, device: Device) -> None:
        if not device.sealable:
            return
        if not self._connected():
            self._waiting.add(device.id)
            return
        now = time.time()
        if device.unanswered is None:
            await self._take_over(device, now)
        unanswered = device.unanswered = {
            name: sent for name, sent in (device.unanswered or {}).items() if now < sent.expires_at
        }
        device.held = False
        active = device.ring.active
        if active is None:
            return
        for command in await self._registry.waiting_commands(device.id, active.epoch, now):
            if len(unanswered) >= UNANSWERED_LIMIT:
                device.held = True
                return
            if device.owed is not None:
                # The device takes no command before that ack; whoever brings it brings the commands.
                return
            await self._send_command(device, command, unanswered)

    async def _take_over(self, device: Device, now: float) -> None:
        """What an earlier process has sent in this epoch and nobody has answered goes out again."""
        device.unanswered = {}
        for sent in await self._registry.sent_commands(device.id, now):
            if device.committed is not None and sent.epoch == device.committed[1]:
                device.unanswered[sent.epoch, sent.piv] = Unanswered(sent.record, now, sent.expires_at)
                self._note(device.id, sent.epoch, sent.piv, sent.number)
                self._send(device.id, topics.COMMAND, sent.record)

    async def _send_command(
        self, device: Device, command: Command, unanswered: dict[tuple[int, int], Unanswered]
    ) -> None:
        sealed = await self._seal(device, topics.COMMAND, encode_request(command.data))
        if sealed is None:
            return
        now = time.time()
        dispatch = Dispatch(command.number, sealed.epoch, sealed.piv, sealed.record, now)
        if not await self._registry.dispatch(dispatch):
            return
        # The device may have left the epoch while we wrote: what never left can wait and be sealed anew.
        gone = device.ring.active is None or device.ring.active.epoch != sealed.epoch
        if not gone and self._send(device.id, topics.COMMAND, sealed.record):
            unanswered[sealed.epoch, sealed.piv] = Unanswered(sealed.record, now, command.expires_at)
            self._note(device.id, sealed.epoch, sealed.piv, command.number)
        else:
            await self._registry.take_back(dispatch)
            self._waiting.add(device.id)

    def _note(self, device_id: bytes, epoch: int, piv: int, number: int) -> None:
        self._sent[device_id, epoch, piv] = number
        if len(self._sent) > SENT_LIMIT:
            self._sent.popitem(last=False)

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
                    self._rings.forget(device.id)
            except Error:
                # In memory the bound has moved and on the disk it has not.
                self._rings.forget(device.id)
                raise
            finally:
                self._rings.end(device)
        return None if device.stale else sealed

    def _send(self, device_id: bytes, channel: int, record: bytes) -> bool:
        """False: the broker is away, and the record has not left."""
        endpoint = topics.enrolled(self._hub_kid, device_id)
        try:
            self._publish(f"{endpoint.down}/{channel}", record)
        except LinkError as error:
            # An ack is asked for again, and a command goes out again when its device speaks.
            _LOG.warning("the broker is away", device=device_id.hex(), reason=error.detail)
            return False
        return True
