"""Who may call at the trunk port, and what a flood of strangers does to who may: nothing."""

import asyncio
import contextlib
import itertools
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aioquic.quic.connection import QuicConnection
from two_hubs import arrivals, running, two_hubs, until, up

from handfast.core.errors import AuthenticationError, DecodeError, PeerError, UnexpectedMessageError
from handfast_cpython import Crypto
from handfast_cpython.swarm import Swarm
from handfast_hub.trunk import trunks
from handfast_hub.trunk.carrier import GREETING_LENGTH, Carrier, decode_greeting, encode_greeting
from handfast_hub.trunk.greeting import ANSWER_LENGTH, CHALLENGE_LENGTH, Door, Places, caller
from handfast_hub.trunk.quic import Protocol
from handfast_hub.trunk.quic_connection import Connection, configuration
from handfast_hub.trunk.udp import udp_socket

CRYPTO = Crypto()
VIENNA = caller(CRYPTO, b"vienna's", bytes(range(32)))
DOOR = Door([VIENNA, caller(CRYPTO, b"the_rome", bytes(32))])
# Of the flood: how many addresses it comes from, and how many strangers there have been before the hub calls.
ADDRESSES = 40
STRANGERS = 400
AT_ONCE = 96
PLACES = 64


def test_the_answer_to_a_challenge_opens_the_door_and_no_other_does() -> None:
    challenge, other = bytes(CHALLENGE_LENGTH), bytes([1] * CHALLENGE_LENGTH)
    answer = VIENNA.answer(challenge)
    assert len(answer) == ANSWER_LENGTH
    assert DOOR.check(challenge, answer) == VIENNA.kid
    with pytest.raises(AuthenticationError):
        DOOR.check(other, answer)
    with pytest.raises(AuthenticationError):
        DOOR.check(challenge, VIENNA._replace(key=bytes(32)).answer(challenge))
    with pytest.raises(AuthenticationError):
        # The secret of another trunk.
        DOOR.check(challenge, b"the_rome" + answer[8:])
    with pytest.raises(UnexpectedMessageError, match="no trunk here"):
        DOOR.check(challenge, VIENNA._replace(kid=b"mallorys").answer(challenge))
    assert "secret" in repr(VIENNA)
    assert VIENNA.key.hex() not in repr(VIENNA)


def test_any_bytes_at_the_door_are_refused() -> None:
    rng = random.Random(7)
    for length in (*range(ANSWER_LENGTH + 2), 500):
        for kid in (b"", VIENNA.kid):
            with pytest.raises(PeerError):
                DOOR.check(bytes(CHALLENGE_LENGTH), kid + rng.randbytes(length))
    with pytest.raises(DecodeError):
        decode_greeting(bytes(GREETING_LENGTH))
    assert decode_greeting(encode_greeting(VIENNA.answer(b""))) == VIENNA.answer(b"")


def test_the_source_with_the_most_places_loses_its_oldest() -> None:
    places: Places[int] = Places(4)
    assert [places.take(number, "192.0.2.1") for number in range(3)] == [None] * 3
    assert places.take(10, "198.51.100.1") is None
    assert [places.take(number, "203.0.113.9") for number in (20, 21)] == [0, 1]
    places.leave(20)
    places.leave(20)
    assert places.take(11, "2001:db8::1") is None
    # All the addresses behind one network are one source.
    assert [places.take(number, f"2001:db8::{number:x}") for number in (12, 13)] == [11, 12]
    assert places.take(22, "203.0.113.10") == 2


async def tcp_stranger(port: int, source: str, peer: bytes) -> None:
    """He names our peer and makes an answer up; or, from every other address, says nothing at all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        await reader.readexactly(CHALLENGE_LENGTH)
        if int(source.split(".")[2]) % 2:
            writer.write(encode_greeting(peer + bytes(ANSWER_LENGTH - len(peer))))
        await reader.read()
    finally:
        writer.close()


async def quic_stranger(port: int, source: str, peer: bytes) -> None:
    """He has his address proven by a Retry, and makes the answer to it up."""
    connection = Connection(configuration=configuration(is_client=True))
    connection.caller = caller(CRYPTO, peer, bytes(32))
    protocol = Protocol(connection, "a stranger")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: protocol, sock=udp_socket(socket.AF_INET, (source, 0))
    )
    try:
        protocol.connect(("127.0.0.1", port))
        await until(lambda: connection._retry_count == 1)
        protocol.transmit()
    finally:
        protocol.close()
        transport.close()


STRANGER: dict[str, Callable[[int, str, bytes], Awaitable[None]]] = {
    "tcp": tcp_stranger,
    "quic": quic_stranger,
}


@contextlib.asynccontextmanager
async def flood(scheme: str, port: int, peer: bytes) -> AsyncIterator["list[str]"]:
    """Strangers without end at a trunk port, from many addresses; where each of them came from."""
    came: list[str] = []
    addresses = (f"127.0.{number}.2" for number in itertools.cycle(range(1, ADDRESSES + 1)))

    async def strangers() -> None:
        for source in addresses:
            came.append(source)
            with contextlib.suppress(OSError, EOFError):
                await STRANGER[scheme](port, source, peer)

    tasks = [asyncio.create_task(strangers()) for _ in range(AT_ONCE)]
    try:
        yield came
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("scheme", ["tcp", "quic"])
async def test_a_hub_gets_in_at_its_first_call_while_strangers_flood_the_port(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = two_hubs(tmp_path, schemes=(scheme,))
    where = configs[0].bridge
    # Fewer places than strangers at once, so that they are always full.
    monkeypatch.setattr(trunks, "GREETINGS_LIMIT", PLACES)
    dialled: list[Carrier] = []
    dial = trunks._dial

    async def dialling(*args: object) -> Carrier:
        dialled.append(await dial(*args))  # type: ignore[arg-type]
        return dialled[-1]

    monkeypatch.setattr(trunks, "_dial", dialling)
    async with running(configs[0]) as berlin:
        handshakes = 0
        began = QuicConnection._initialize

        def counted(self: QuicConnection, *args: object) -> None:
            nonlocal handshakes
            handshakes += not self._is_client
            began(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(QuicConnection, "_initialize", counted)
        peer = bytes.fromhex(str(berlin.trunks.status()["vienna"]["peer"]))[:8]
        async with flood(scheme, where.port or where.quic_port, peer) as came:
            await until(lambda: len(came) >= STRANGERS)
            async with running(configs[1]) as vienna:
                await until(lambda: up(berlin) and up(vienna))
                async with Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=6) as fleet:
                    await fleet.onboard(within=60)
                    await fleet.devices[0].device.send(b"through the flood")

                    async def crossed() -> bool:
                        return await arrivals(vienna) == [b"through the flood"]

                    await until(crossed)
                # Nobody but Vienna was let in, at her first call, which was never cut off.
                assert len(dialled) == 1
                assert len(berlin.trunks._trunks["vienna"].link.paths()) == 1
                assert handshakes == (scheme == "quic")
