"""One end of a trunk, or both, as a process that is measured.

    python tests/bench/trunk_process.py < requests

`carry` is one end: a Link over TCP, or the same frames over the same carrier unsealed. `bare` is
AES-256-GCM alone, one object made once. `rekey` is both ends of a Link in this process, and how long a
new epoch takes from the wish for it to its use.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import structlog
from child import Answer, serve
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handfast.core.credentials import Identity, make_ccs
from handfast.core.errors import LinkError
from handfast.core.suites import ML_DSA_65
from handfast_cpython.crypto import Crypto
from handfast_hub.trunk.carrier import Carrier
from handfast_hub.trunk.greeting import Door, caller
from handfast_hub.trunk.initiator import Initiator
from handfast_hub.trunk.key_source import open_source
from handfast_hub.trunk.link import KeySource, Link
from handfast_hub.trunk.opening import Party, Peer
from handfast_hub.trunk.policy import BULK_LANE, DEFAULT_TIMING, HYBRID, NORMAL
from handfast_hub.trunk.records import OVERHEAD
from handfast_hub.trunk.settings import Trunk
from handfast_hub.trunk.tcp import TcpCarrier, dial_tcp

CRYPTO = Crypto()
CALLER = caller(CRYPTO, bytes(8), bytes(32))
# Nothing is renewed while records are counted.
TIMING = DEFAULT_TIMING._replace(rekey=86_400.0, fresh=86_400.0)
# Records between two looks at whether the connection keeps up.
BURST = 16
PATIENCE = 120.0


def _identity(number: int) -> Identity:
    seed = bytes([number]) * 32
    return Identity(
        seed, make_ccs(CRYPTO, f"hub {number}", ML_DSA_65, CRYPTO.signature_public_key(ML_DSA_65, seed))
    )


IDENTITIES = (_identity(1), _identity(2))


def _parties(number: int) -> dict[int, Party]:
    peer = Peer(IDENTITIES[1 - number].credential.thumbprint, bytes(range(32)))
    lanes = (HYBRID, BULK_LANE)
    return {lane: Party(CRYPTO, os.urandom, IDENTITIES[number], peer, lane) for lane in lanes}


class _Counted:
    """Counts what comes, and takes the time and the CPU from the first to the last."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._began: tuple[float, float] | None = None
        self.answer: Answer = {}
        self.done = asyncio.Event()

    def take(self, *_: object) -> None:
        if self._began is None:
            self._began = time.perf_counter(), time.process_time()
        self._left -= 1
        if not self._left:
            wall, cpu = self._began
            self.answer = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            self.done.set()


class _Bare:
    """The carrier without a Link: every frame counts, nothing is opened."""

    def __init__(self, counted: _Counted) -> None:
        self._counted = counted

    async def adopt(self, carrier: Carrier) -> None:
        while True:
            await carrier.receive()
            self._counted.take()


@contextlib.asynccontextmanager
async def _listening(port: int, adopt: Callable[[Carrier], Awaitable[None]]) -> AsyncIterator[None]:
    """Give the one connection that comes to `adopt`; both end with the block."""
    calls: list[tuple[Carrier, asyncio.Task[None] | None]] = []

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrier = TcpCarrier(reader, writer, door=Door([CALLER]))
        calls.append((carrier, asyncio.current_task()))
        with contextlib.suppress(LinkError):
            await carrier.greeting()
            await adopt(carrier)

    server = await asyncio.start_server(called, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for carrier, task in calls:
            # Its task ends with the connection.
            await carrier.close()
            if task is not None:
                await asyncio.wait([task])


async def _dialled(port: int) -> Carrier:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await dial_tcp("127.0.0.1", port, CALLER)
            except LinkError:
                await asyncio.sleep(0.02)


async def _take(mode: str, port: int, count: int) -> Answer:
    counted = _Counted(count)
    link = Link("bench", _parties(0), None, counted.take, lambda: None, TIMING)
    if mode == "link":
        link.start()
    end: Link | _Bare = link if mode == "link" else _Bare(counted)
    async with _listening(port, end.adopt), asyncio.timeout(PATIENCE):
        await counted.done.wait()
    await link.close()
    return counted.answer


async def _send(mode: str, port: int, size: int, count: int) -> Answer:
    data = os.urandom(size)
    opened = asyncio.Event()
    link = Link("bench", _parties(1), None, lambda *_: None, opened.set, TIMING)
    carrier = await _dialled(port)
    adopting = None
    frame = os.urandom(size + OVERHEAD)
    send: Callable[[], object] = lambda: carrier.send([frame])  # noqa: E731
    if mode == "link":
        link.start()
        adopting = asyncio.create_task(link.adopt(carrier))
        async with asyncio.timeout(PATIENCE):
            while link.epoch(HYBRID) is None:
                opened.clear()
                await opened.wait()
        send = lambda: link.send(NORMAL, data)  # noqa: E731
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        send()
        if number % BURST == 0:
            await carrier._writer.drain()
    answer = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    # The other end closes when it has everything.
    if adopting is not None:
        await asyncio.gather(adopting, return_exceptions=True)
    else:
        await asyncio.gather(carrier.receive(), return_exceptions=True)
    await link.close()
    await carrier.close()
    return answer


def carry(role: str, mode: str, port: int, size: int, count: int) -> Answer:
    """Wall and CPU seconds of this end for `count` records of `size` bytes."""
    return asyncio.run(_take(mode, port, count) if role == "take" else _send(mode, port, size, count))


def bare(size: int, count: int) -> Answer:
    """CPU seconds of sealing and opening the same bytes by AES-256-GCM alone."""
    aead, nonce, aad, data = AESGCM(os.urandom(32)), bytes(12), bytes(13), os.urandom(size)
    sealed = aead.encrypt(nonce, data, aad)
    began = time.thread_time()
    for _ in range(count):
        aead.encrypt(nonce, data, aad)
    middle = time.thread_time()
    for _ in range(count):
        aead.decrypt(nonce, sealed, aad)
    return {"cpu": time.thread_time() - began, "sealed": middle - began}


def rekey(port: int, count: int, settings: list[dict[str, str]] | None, used: str) -> Answer:
    """Seconds of each of `count` new epochs at the initiator; `settings` name the KME of each end."""
    return {"seconds": asyncio.run(_rekey(port, count, settings, Path(used)))}


async def _rekey(port: int, count: int, settings: list[dict[str, str]] | None, used: Path) -> list[float]:
    sources: list[KeySource | None] = [None, None]
    for number, each in enumerate(settings or []):
        sources[number] = open_source(Trunk.model_validate(each), used / f"used-{number}")
    moved = asyncio.Event()
    # The lane of bulk never asks for a key.
    number_of_lane = BULK_LANE if settings is None else HYBRID
    links = [
        Link("bench", _parties(number), sources[number], lambda *_: None, moved.set, TIMING)
        for number in (0, 1)
    ]
    for link in links:
        link.start()
    [initiator] = [link for link in links if isinstance(link._lanes[number_of_lane], Initiator)]
    lane = initiator._lanes[number_of_lane]

    async def new_epoch(before: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while (epoch := initiator.epoch(number_of_lane)) is None or epoch[0] == before:
                moved.clear()
                await moved.wait()

    found = []
    async with _listening(port, links[0].adopt):
        adopting = asyncio.create_task(links[1].adopt(await _dialled(port)))
        await new_epoch(-1)
        for _ in range(count):
            now = initiator.epoch(number_of_lane)
            assert now is not None
            began = time.perf_counter()
            lane.renew("bench", time.monotonic())
            initiator._wake.set()
            await new_epoch(now[0])
            found.append(time.perf_counter() - began)
            after = initiator.epoch(number_of_lane)
            assert after is not None and (after[1] > 0) == (settings is not None), "a key was missing"
    await asyncio.gather(adopting, return_exceptions=True)
    for link in links:
        await link.close()
    for source in sources:
        if source is not None:
            await source.close()
    return found


if __name__ == "__main__":
    # Our output is for the parent.
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    serve({"carry": carry, "bare": bare, "rekey": rekey})
