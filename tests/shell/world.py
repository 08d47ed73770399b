"""Devices and a hub around one broker in memory, with a clock that a test moves.

world = World()
await world.start()
device = await world.device(b"one")
await world.onboard(device)
"""

import asyncio

from host_crypto import crypto
from small_hub import SmallHub

import handfast.identity as identity
from handfast.core import topics
from handfast.core.codes import encode_token
from handfast.core.suites import DEFAULT_SUITES
from handfast.device import Device
from handfast.settings import Settings
from handfast.testing import FakeClock, MemoryBroker, MemoryHost, MemoryKeystore, MemoryLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from small_hub import Known

    from handfast.core.token import Token
    from handfast.ports import Link


class World:
    """`hub` is None while there is no hub process; `seen` is every payload that a device sent."""

    def __init__(
        self,
        suites: "tuple[int, ...]" = DEFAULT_SUITES,
        approval: bool = False,
        tokens: "tuple[Token, ...]" = (),
    ) -> None:
        self.clock = FakeClock()
        self.broker = MemoryBroker(self.clock)
        self.hub = SmallHub(crypto, suites, approval, tokens)
        self.away = False
        self.seen: "list[tuple[topics.Topic, bytes]]" = []

    async def start(self) -> None:
        """The hub joins the broker."""
        await self.broker.start(topics.hub_subscriptions(self.hub.hub_id[:8]), self._on_publish)

    async def device(
        self,
        seed: bytes = b"one",
        token: "Token | None" = None,
        settings: "Settings | None" = None,
        admitted: bool = True,
        wrap: "Callable[[Link], Link] | None" = None,
        keystore: "MemoryKeystore | None" = None,
    ) -> Device:
        """A new device with an identity; the hub has been told of it unless `admitted` is false."""
        host = MemoryHost(crypto, self.clock, seed, keystore)
        settings = settings or Settings()
        text = None if token is None else encode_token(crypto, token)
        made = await identity.create(host, settings.signature, "device " + seed.decode(), self.hub.code, text)
        if admitted and token is None:
            self.hub.admitted.append(made.credential.thumbprint)
        return self._over(host, settings, wrap)

    def again(
        self,
        device: Device,
        seed: bytes = b"next boot",
        settings: "Settings | None" = None,
        wrap: "Callable[[Link], Link] | None" = None,
    ) -> Device:
        """The same device after a restart: its keystore is all that is left."""
        host = MemoryHost(crypto, self.clock, seed, device._host.keystore)
        return self._over(host, settings or device._settings, wrap)

    def _over(self, host: MemoryHost, settings: Settings, wrap: "Callable[[Link], Link] | None") -> Device:
        link: "Link" = MemoryLink(self.broker)
        return Device(host, link if wrap is None else wrap(link), settings)

    async def onboard(self, device: Device, seconds: float = 20.0, retry: bool = False) -> None:
        """Onboard within `seconds` of the world's time, or raise what onboard raises."""
        error = await self.outcome(device, seconds, retry)
        if error is not None:
            raise error

    async def failure(self, device: Device, seconds: float = 20.0, retry: bool = False) -> "Exception":
        """The error that onboard ends with."""
        error = await self.outcome(device, seconds, retry)
        assert error is not None, "the device is onboard, and should not be"
        return error

    async def outcome(self, device: Device, seconds: float, retry: bool) -> "Exception | None":
        """How onboard ends, which it has to do within `seconds`."""
        task = asyncio.create_task(caught(device.onboard(retry)))
        await self.clock.advance(seconds)
        assert task.done(), "not onboard after %d s: %s, %s" % (seconds, device.state, device.trouble)
        return await task

    def known(self, device: Device) -> "Known":
        """The device as the hub knows it."""
        return self.hub.devices[device.thumbprint]

    def publish(self, device: Device, records: "list[tuple[int, bytes]]") -> None:
        """Records of the hub to a device."""
        endpoint = topics.enrolled(self.hub.hub_id[:8], self.known(device).ring.device_id)
        for channel, record in records:
            self.broker.publish("%s/%d" % (endpoint.down, channel), record)

    def command(self, device: Device, data: bytes) -> None:
        """A command for the device."""
        self.publish(device, [self.hub.command(self.known(device), data)])

    def data(self, channel: int = topics.TELEMETRY) -> "list[bytes]":
        """What the devices said on that channel, as the hub read it."""
        return [data for _, number, data in self.hub.readings if number == channel]

    def attempts(self) -> "list[bytes]":
        """The chan of every onboarding attempt, in order."""
        chans: "list[bytes]" = []
        for topic, _ in self.seen:
            if topic.chan is not None and topic.chan not in chans:
                chans.append(topic.chan)
        return chans

    def at_rest(self) -> bool:
        """Whether nobody waits for a time or listens at the broker any more."""
        return not self.clock._sleepers and not self.broker._links

    def _on_publish(self, text: str, payload: bytes, acknowledge: "Callable[[], None]") -> None:
        try:
            self._serve(text, payload)
        finally:
            acknowledge()

    def _serve(self, text: str, payload: bytes) -> None:
        topic = topics.parse(text)
        self.seen.append((topic, payload))
        now = self.clock.now()
        if self.away:
            pass
        elif topic.chan is not None:
            for answer in self.hub.receive(topic.chan, payload, now):
                self.broker.publish(topics.reply_topic(text), answer)
        else:
            endpoint = topics.enrolled(topic.hub, topic.device_id)
            for channel, record in self.hub.open(topic.device_id, topic.channel, payload, now):
                self.broker.publish("%s/%d" % (endpoint.down, channel), record)


async def onboarded(settings: "Settings | None" = None) -> "tuple[World, Device]":
    """A world with one device that is on board."""
    world = World()
    await world.start()
    device = await world.device(settings=settings)
    await world.onboard(device)
    return world, device


async def everything(device: Device) -> "list[bytes]":
    """Every message until the device is closed."""
    seen = []
    message = await device.next_message()
    while message is not None:
        seen.append(message.data)
        message = await device.next_message()
    return seen


async def caught(work: "Awaitable[object]") -> "Exception | None":
    """The error that `work` ends with; MicroPython reports one that leaves a task as lost."""
    try:
        await work
    except Exception as error:
        return error
    return None


class CutError(Exception):
    """The power goes."""


class CutKeystore(MemoryKeystore):
    """A flash whose power goes at write number `cut` (1 is the first), before or after the bytes are down."""

    def __init__(self, values: "dict[str, bytes]", cut: int, after: bool, error: "Exception") -> None:
        super().__init__(values)
        self._cut = cut
        self._after = after
        self._error = error

    def arm(self, cut: int) -> None:
        """Let it go wrong `cut` writes from now."""
        self._cut = self.writes + cut

    def save(self, name: str, value: bytes) -> None:
        self._write()
        if self.writes != self._cut or self._after:
            self.values[name] = bytes(value)
        self._fail()

    def erase(self, name: str) -> None:
        self._write()
        if self.writes != self._cut or self._after:
            self.values.pop(name, None)
        self._fail()

    def _write(self) -> None:
        self.writes += 1

    def _fail(self) -> None:
        if self.writes == self._cut:
            raise self._error
