"""The hub: the only place where its parts are put together; start and stop.

    async with Hub(config) as hub:
        async for reading in hub.readings():
            ...

A program of an operator needs no more than this: readings, commands, and `hub.operator` for
devices, tokens and decisions.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Self

import structlog

from handfast.core import topics
from handfast.core.base32 import b32encode
from handfast.core.constants import KID_LENGTH
from handfast.core.errors import Error, LinkTimeout, LocalError, PeerError
from handfast.core.plaintexts import Response
from handfast.ports import Clock, Crypto
from handfast_cpython.clock import Clock as MachineClock
from handfast_cpython.crypto import Crypto as MachineCrypto
from handfast_hub.config import HubConfig
from handfast_hub.fragments import Fragments
from handfast_hub.listeners import Listeners
from handfast_hub.randomness import Randomness, open_randomness
from handfast_hub.registry.arriving import Arrival
from handfast_hub.registry.engine import RegistryError
from handfast_hub.registry.lease import LEASE_SECONDS, LeaseHeld
from handfast_hub.registry.operator import NewCommand, Operator
from handfast_hub.registry.registry import Change, Registry
from handfast_hub.sessions import Sessions
from handfast_hub.traffic import Reading, Traffic
from handfast_hub.transport import Transport, open_transport
from handfast_hub.trunk.trunks import Trunks
from handfast_hub.workers import Workers, threads_here

_LOG = structlog.get_logger("handfast.hub")

# How often expired sessions are forgotten, in seconds.
SWEEP_SECONDS = 1.0
# A revoked device has this long to hear its last record before its connection is closed, in seconds.
PARTING_SECONDS = 2.0
# Topics that need not be read again when they come again.
TOPICS_LIMIT = 10_000
# Answers of granted handshakes that a new process still gives again, by their age in seconds.
RECALL_SECONDS = 120.0


class Hub:
    """One hub process for one hub key."""

    def __init__(
        self,
        config: HubConfig,
        *,
        transport: Transport | None = None,
        crypto: Crypto | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Without arguments everything is what `config` says; tests bring a transport and a clock."""
        self.config = config
        self.crypto: Crypto = crypto or MachineCrypto()
        self.clock: Clock = clock or MachineClock()
        self._given_transport = transport
        self._readings: Listeners[Reading] = Listeners()
        self._bridged: Listeners[Arrival] = Listeners()
        self._answers: dict[int, asyncio.Future[Response]] = {}
        self._partings: set[asyncio.Task[None]] = set()
        # A device sends all its records on a few topics.
        self._parse = lru_cache(TOPICS_LIMIT)(topics.parse)
        self._closing = contextlib.AsyncExitStack()
        self._failed: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Open the registry, take the lease, join the broker and begin to answer.

        RegistryError, KeystoreError, EntropyError or LinkError when something of that is not to be
        had; nothing stays open then.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        if not self.crypto.hedged:
            _LOG.warning(
                "a crypto library draws its own randomness, so the hub's tested source does not hedge it",
                crypto=self.crypto.name,
            )
        self._random: Randomness = await open_randomness(self.config, self.crypto)
        self._closing.push_async_callback(self._random.close)
        self._registry = await Registry.open(self.config, self.crypto)
        self._closing.push_async_callback(self._registry.close)
        born = await self._registry.serve()
        self._workers = Workers(self.config.limits.workers or threads_here())
        self._closing.push_async_callback(self._workers.close)
        self._transport = self._given_transport or open_transport(
            self.config, self.crypto, self._registry.identity
        )
        self._closing.push_async_callback(self._transport.close)
        publish = self._transport.publish
        self._fragments = Fragments(self.crypto, self.clock, publish, self.config.mqtt.packet_limit)
        self._traffic = Traffic(
            self._registry,
            self.crypto,
            self.clock,
            self.hub_id[:KID_LENGTH],
            self._transport.publish,
            lambda: self._transport.connected,
            self._deliver,
            self._answered,
        )
        self._closing.push_async_callback(self._traffic.close)
        self._sessions = Sessions(
            self.config,
            self._registry,
            self.crypto,
            self._random,
            self.clock,
            self._workers,
            self._fragments.publish,
            self._traffic.forget,
            born,
        )
        self._closing.push_async_callback(self._sessions.close)
        self._trunks = Trunks(self.config, self._registry, self.crypto, self._random, self._bridged.put)
        self._closing.push_async_callback(self._trunks.close)
        self._sessions.recall(await self._registry.answers(time.time() - RECALL_SECONDS))
        subscriptions = topics.hub_subscriptions(self.hub_id[:KID_LENGTH])
        self._onboarding = subscriptions[0].removesuffix("+")
        self._answers_on = topics.reply_topic(self._onboarding)
        await self._transport.start(subscriptions, self._receive)
        await self._trunks.start()
        for work in (self._renew, self._sweep, self._watch):
            self._keep(work)

    async def close(self) -> None:
        """Answer what is under way, give the lease back and leave; may be called twice."""
        for task in self._partings:
            task.cancel()
        await self._closing.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def run(self) -> None:
        """Wait until something makes the hub stop: the lease or the database is lost. Raises it."""
        if self._failed is None:
            raise LocalError("start this hub first")
        await self._failed

    # What a program asks ----------------------------------------------------------------------

    @property
    def hub_id(self) -> bytes:
        """The thumbprint of this hub, 32 bytes; what a hub code carries."""
        return self._registry.hub_id

    @property
    def transport(self) -> Transport:
        """The way to the devices."""
        return self._transport

    @property
    def operator(self) -> Operator:
        """Devices, tokens and decisions."""
        return self._registry.operator

    async def readings(self) -> AsyncIterator[Reading]:
        """What devices send from now on; each was committed before it comes here."""
        async for reading in self._readings.listen():
            yield reading

    async def bridged(self) -> AsyncIterator[Arrival]:
        """What devices of other hubs send over trunks from now on; committed here before it comes."""
        async for arrival in self._bridged.listen():
            yield arrival

    async def command(
        self, device_id: bytes, data: bytes, *, expires: float = 60.0, repeatable: bool = False
    ) -> Response:
        """Send `data` to a device and wait for its answer.

        A device that is away gets it when it is back. LinkTimeout when no answer came within
        `expires` seconds: whether the command was carried out is not known then if it was sent.
        `repeatable` says that the device may carry it out twice: it is sent again then to a device
        that restarted. LocalError for a device that is not onboarded.
        """
        now = time.time()
        number = await self.operator.command(NewCommand(device_id, data, now + expires, now, repeatable))
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            async with asyncio.timeout(expires):
                return await future
        except TimeoutError:
            raise LinkTimeout(f"command {number} was not answered within {expires:g} s") from None
        finally:
            self._answers.pop(number, None)

    async def revoke(self, thumbprint: bytes, reason: str) -> None:
        """Shut a device out at once; when this returns it has been told, if it listens."""
        await self.operator.revoke(thumbprint, reason)
        for device in await self.operator.find(thumbprint):
            await self._shut_out(device.device_id)

    @property
    def trunks(self) -> Trunks:
        """The trunks to other hubs: their status, and commands to devices at their other ends."""
        return self._trunks

    async def key(self, device_id: bytes, purpose: str) -> bytes:
        """The key of 32 bytes for `purpose` that the device makes with `Device.key`.

        LocalError for a device that is not onboarded.
        """
        return await self._registry.application_key(device_id, purpose)

    # In ---------------------------------------------------------------------------------------

    def _receive(self, topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        if topic.startswith(self._onboarding):
            chan = topic[len(self._onboarding) :]
            whole = self._fragments.receive(chan, payload) if topics.is_chan(chan) else None
            if whole is None:
                acknowledge()
            else:
                self._sessions.receive(self._answers_on + chan, whole, acknowledge)
            return
        try:
            parsed = self._parse(topic)
        except PeerError:
            acknowledge()
            return
        if parsed.hub != self.hub_id[:KID_LENGTH] or parsed.direction != "up" or parsed.device_id is None:
            acknowledge()
        else:
            self._traffic.receive(parsed, payload, acknowledge)

    def _deliver(self, reading: Reading) -> None:
        self._readings.put(reading)
        self._trunks.wake()

    def _answered(self, number: int, response: Response) -> None:
        future = self._answers.get(number)
        if future is not None and not future.done():
            future.set_result(response)

    # What goes on meanwhile -------------------------------------------------------------------

    def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        async def until_closed() -> None:
            try:
                await work()
            except Exception as error:
                # Ours or not: a hub that renews no lease or forgets no session must not go on.
                if isinstance(error, Error):
                    _LOG.error("the hub stops", reason=error.detail)
                else:
                    _LOG.exception("the hub stops")
                if self._failed is not None and not self._failed.done():
                    self._failed.set_exception(error)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task = asyncio.create_task(until_closed())
        self._closing.push_async_callback(stop)

    async def _renew(self) -> None:
        renewed = time.monotonic()
        while True:
            # Wall time: a lease is between processes, whatever clock the sessions have.
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await self._registry.renew()
                renewed = time.monotonic()
            except LeaseHeld:
                raise
            except RegistryError as error:
                # Who cannot write cannot be overtaken by somebody who can, until the lease has run out.
                if time.monotonic() - renewed >= LEASE_SECONDS:
                    raise
                _LOG.error("the lease was not renewed", reason=error.detail)

    async def _sweep(self) -> None:
        while True:
            await self.clock.sleep(SWEEP_SECONDS)
            self._sessions.expire()
            self._traffic.remind()
            try:
                if await self._registry.sweep(time.time()):
                    _LOG.info("commands expired")
            except LeaseHeld:
                raise
            except RegistryError as error:
                _LOG.error("commands could not expire", reason=error.detail)

    async def _watch(self) -> None:
        while True:
            try:
                async for change in self._registry.watch():
                    await self._apply(change)
            except RegistryError as error:
                _LOG.error("what operators do is not seen", reason=error.detail)
                await asyncio.sleep(SWEEP_SECONDS)

    async def _apply(self, change: Change) -> None:
        """Something that an operator did, here or in another process."""
        if change.device_id is None:
            return
        if change.kind in ("revoked", "refused"):
            await self._shut_out(change.device_id)
        elif change.kind == "command":
            self._traffic.notify(change.device_id)
        else:
            self._traffic.forget(change.device_id)

    async def _shut_out(self, device_id: bytes) -> None:
        """Nothing of it is opened any more; tell it, and close its connection when it can have heard."""
        try:
            await self._traffic.farewell(device_id)
        except RegistryError as error:
            _LOG.error("a device is told when it speaks", device=device_id.hex(), reason=error.detail)
        task = asyncio.create_task(self._disconnect_later(device_id))
        self._partings.add(task)
        task.add_done_callback(self._partings.discard)

    async def _disconnect_later(self, device_id: bytes) -> None:
        await self.clock.sleep(PARTING_SECONDS)
        self._transport.disconnect(b32encode(device_id))
