"""Both ends of a carrier by themselves, over TCP or QUIC, without lanes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from two_hubs import free_port

from handfast.core.errors import Error
from handfast_cpython import Crypto
from handfast_hub.trunk.carrier import Carrier, Port
from handfast_hub.trunk.greeting import Door, caller
from handfast_hub.trunk.policy import HYBRID, NORMAL
from handfast_hub.trunk.quic import dial_quic
from handfast_hub.trunk.quic_port import listen_quic
from handfast_hub.trunk.tcp import dial_tcp, listen_tcp

KID = b"vienna's"
VIENNA = caller(Crypto(), KID, bytes(32))
DOOR = Door([VIENNA])
LISTEN = {"tcp": listen_tcp, "quic": listen_quic}
DIAL = {"tcp": dial_tcp, "quic": dial_quic}
EVERY = pytest.mark.parametrize("scheme", ["tcp", "quic"])


def record(number: int, length: int, kind: int = NORMAL) -> bytes:
    """A frame that looks like a record of the hybrid lane; carriers look no further."""
    return bytes([HYBRID << 4 | kind]) + number.to_bytes(4, "big") + bytes(length - 5)


class Called:
    """A port, and the carriers that came in there and greeted."""

    def __init__(self) -> None:
        self.carriers: asyncio.Queue[tuple[bytes, Carrier]] = asyncio.Queue()
        self.refused: list[Error] = []
        self.port: Port | None = None

    async def called(self, carrier: Carrier) -> None:
        try:
            self.carriers.put_nowait((await carrier.greeting(), carrier))
        except Error as error:
            self.refused.append(error)
            await carrier.close()


@contextlib.asynccontextmanager
async def listening(scheme: str, port: int, host: str = "127.0.0.1") -> AsyncIterator[Called]:
    """A port that is closed at the end, with what came in there."""
    called = Called()
    called.port = await LISTEN[scheme](host, port, called.called, DOOR)
    try:
        yield called
    finally:
        while not called.carriers.empty():
            await called.carriers.get_nowait()[1].close()
        await called.port.close()


@contextlib.asynccontextmanager
async def met(called: Called, scheme: str, host: str, port: int) -> AsyncIterator[tuple[Carrier, Carrier]]:
    """Both ends of a carrier that dials `host` and comes in at `called`; the one that dialled first."""
    near = await DIAL[scheme](host, port, VIENNA)
    kid, far = await asyncio.wait_for(called.carriers.get(), 60)
    assert kid == KID
    try:
        yield near, far
    finally:
        await near.close()
        await far.close()


@contextlib.asynccontextmanager
async def joined(
    scheme: str, host: str = "127.0.0.1", port: int | None = None, between: int | None = None
) -> AsyncIterator[tuple[Carrier, Carrier]]:
    """Both ends of a carrier and its port. It dials `between` instead of the port, when that is given."""
    port = port or free_port()
    async with listening(scheme, port, host) as called, met(called, scheme, host, between or port) as ends:
        yield ends


async def cross(near: Carrier, far: Carrier) -> None:
    """A frame of the end that dialled comes to the other."""
    near.send([record(1, 100)])
    assert await taken(far, 1) == [record(1, 100)]


async def taken(carrier: Carrier, count: int) -> list[bytes]:
    async with asyncio.timeout(120):
        return [await carrier.receive() for _ in range(count)]
