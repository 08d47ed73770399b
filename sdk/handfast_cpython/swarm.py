"""Swarm: many simulated devices against one hub, in memory or over a broker.

    async with Swarm(devices=200, hub=hub, clock=clock, link=LossyLink(loss=0.1), seed=7) as swarm:
        await swarm.onboard(within=600)
        assert swarm.count("active") == 200

Each device is a real Device over its own link; only its flash and its source are simulated.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from handfast.core.errors import EntropyError, Error, LinkError, LocalError, RefusedError
from handfast.core.records import decode_header
from handfast.core.topics import Endpoint
from handfast.device import REFUSED, Device
from handfast.identity import create
from handfast.ports import Clock, Crypto, Host, Link
from handfast.settings import Settings
from handfast.testing import LossyLink, MemoryHost
from handfast_cpython.clock import Clock as MachineClock
from handfast_cpython.crypto import Crypto as MachineCrypto


class SwarmHub(Protocol):
    """What a swarm has to know of its hub; the fixture `hub` of the pytest plugin is one."""

    @property
    def code(self) -> str:
        """The hub code."""

    def link(self) -> Link:
        """A new link towards the hub, for one device."""

    async def tokens(self, count: int) -> Sequence[str | None]:
        """An enrolment token for each device; None where the hub admits it otherwise."""


class Summary(NamedTuple):
    """How a swarm fared. Times are seconds from the start of onboarding, None without a device."""

    onboarded: int
    refused: int
    failed: int
    retries: int
    p50: float | None
    p95: float | None
    p99: float | None


class Watched:
    """A link that notes what leaves on it, for `Swarm.reused_nonces`."""

    def __init__(self, link: Link, seen: dict[tuple[str, bytes, int, int], bytes], reused: list[str]) -> None:
        self._link = link
        self._seen = seen
        self._reused = reused
        self._client_id = ""
        self.connects = 0

    async def connect(self, endpoint: Endpoint) -> None:
        """Connect the link within."""
        self.connects += 1
        self._client_id = endpoint.client_id
        await self._link.connect(endpoint)

    async def send(self, channel: int | None, payload: bytes) -> None:
        """Note the nonce of a record, and send it."""
        if channel is not None:
            header = decode_header(payload)
            name = (self._client_id, header.sender, header.epoch, header.piv)
            digest = hashlib.sha256(payload).digest()
            # The same bytes again are a resend; other bytes under one nonce are the end of AES-CCM.
            if self._seen.setdefault(name, digest) != digest:
                self._reused.append(f"{name[0]} epoch {header.epoch} PIV {header.piv}")
        await self._link.send(channel, payload)

    async def receive(self) -> tuple[int | None, bytes]:
        """The next payload."""
        return await self._link.receive()

    async def close(self) -> None:
        """Close the link within."""
        await self._link.close()


class Simulated:
    """One device of a swarm. `seconds` is how long it took to onboard, None until it has."""

    def __init__(self, number: int, host: Host, link: Watched) -> None:
        self.number = number
        self.host = host
        self.link = link
        self.device: Device | None = None
        self.error: Error | None = None
        self.seconds: float | None = None

    @property
    def state(self) -> str:
        """That of the device, "factory" before it exists."""
        return "factory" if self.device is None else self.device.state

    @property
    def id(self) -> bytes | None:
        """The device_id that the hub gave, 8 bytes, or None."""
        return None if self.device is None else self.device.device_id


class Swarm:
    """`devices` simulated devices. Use it with `async with`; then `onboard`."""

    def __init__(
        self,
        devices: int,
        hub: SwarmHub,
        *,
        link: LossyLink | None = None,
        clock: Clock | None = None,
        crypto: Crypto | None = None,
        seed: int = 1,
        settings: Settings | None = None,
        at_once: int = 200,
        host: Callable[[int], Host] | None = None,
    ) -> None:
        """`link` describes a bad network between devices and broker. `at_once` bounds how many
        onboard at the same time. `host(number)` may bring other ports for single devices."""
        if devices < 1:
            raise LocalError(f"a swarm has at least one device, not {devices}")
        self.hub = hub
        self.clock: Clock = clock or MachineClock()
        self._crypto: Crypto = crypto or MachineCrypto()
        self._lossy = link
        self._settings = settings or Settings(firmware="handfast swarm", hardware="simulated")
        self._at_once = at_once
        self._host = host
        self._seed = seed
        self._nonces: dict[tuple[str, bytes, int, int], bytes] = {}
        self._reused: list[str] = []
        self.devices = [self._make(number) for number in range(devices)]

    def _make(self, number: int) -> Simulated:
        host = None if self._host is None else self._host(number)
        if host is None:
            seed = f"swarm {self._seed} device {number}".encode()
            host = MemoryHost(self._crypto, self.clock, seed)
        link = self.hub.link()
        if self._lossy is not None:
            link = self._lossy.over(link, self.clock)
        return Simulated(number, host, Watched(link, self._nonces, self._reused))

    async def onboard(
        self, within: float | None = None, progress: Callable[[int], None] | None = None
    ) -> Summary:
        """Onboard every device; gives how it went. `within` seconds by the swarm's clock, then it stops.

        With a FakeClock the time is moved from here. `progress(count)` hears how many are done.
        """
        tokens = await self.hub.tokens(len(self.devices))
        gate = asyncio.Semaphore(self._at_once)
        done = 0

        async def one(simulated: Simulated, token: str | None) -> None:
            nonlocal done
            async with gate:
                await self._onboard(simulated, token)
            done += 1
            if progress is not None:
                progress(done)

        tasks = [
            asyncio.create_task(one(simulated, token))
            for simulated, token in zip(self.devices, tokens, strict=True)
        ]
        try:
            await self._finish(tasks, within)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return self.summary()

    async def _finish(self, tasks: list[asyncio.Task[None]], within: float | None) -> None:
        advance = getattr(self.clock, "advance", None)
        if advance is None:
            await asyncio.wait(tasks, timeout=within)
            return
        end = self.clock.now() + (600.0 if within is None else within)
        while not all(task.done() for task in tasks) and self.clock.now() < end:
            await advance(0.25)

    async def _onboard(self, simulated: Simulated, token: str | None) -> None:
        started = self.clock.now()
        name = f"swarm-{self._seed}-{simulated.number}"
        try:
            if simulated.host.keystore.load("identity") is None:
                await create(simulated.host, self._settings.signature, name, self.hub.code, token)
            simulated.device = Device(simulated.host, simulated.link, self._settings)
            await simulated.device.onboard()
            simulated.seconds = self.clock.now() - started
        except (RefusedError, EntropyError, LinkError) as error:
            simulated.error = error

    def count(self, state: str) -> int:
        """How many devices are in `state`."""
        return sum(1 for simulated in self.devices if simulated.state == state)

    def reused_nonces(self) -> list[str]:
        """Nonces under which a device sealed two different records; empty, or handfast is broken."""
        return list(self._reused)

    def thumbprint(self, simulated: Simulated) -> bytes:
        """The thumbprint of a device, 32 bytes; what an operator admits and revokes by."""
        device = simulated.device
        if device is None:
            raise LocalError("this device has no identity yet")
        return device.thumbprint

    def summary(self) -> Summary:
        """How the swarm fared until now."""
        times = sorted(each.seconds for each in self.devices if each.seconds is not None)
        refused = self.count(REFUSED)
        failed = sum(1 for each in self.devices if each.error is not None and each.state != REFUSED)
        attempts = sum(max(0, each.link.connects - 2) for each in self.devices)
        return Summary(
            len(times), refused, failed, attempts, _at(times, 0.5), _at(times, 0.95), _at(times, 0.99)
        )

    async def close(self) -> None:
        """Close every device."""
        made = [each.device for each in self.devices if each.device is not None]
        await asyncio.gather(*(device.close() for device in made))

    async def __aenter__(self) -> "Swarm":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _at(times: list[float], quantile: float) -> float | None:
    return times[min(len(times) - 1, int(quantile * len(times)))] if times else None
