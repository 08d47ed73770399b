"""The classical channel between two KMEs, or between a KME and the simulated line: authenticated messages.

Every frame carries an HMAC-SHA-256 under a key of this connection, made of the pre-shared key and two nonces,
with its number and direction inside: nothing is parsed that the other end did not send now. That is
computational security. A block of QKD post-processing therefore ends with a Wegman-Carter tag over everything
that was said in it (`Transcript`), under a one-time key of the reserve: forging it is impossible with any
computer, and no key is stored before it holds.

    frame = length (4, big-endian) | tag (32) | CBOR array [kind, ...]
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
from typing import Any

from cryptography.hazmat.primitives.poly1305 import Poly1305

from handfast.core import cbor
from handfast.core.errors import AuthenticationError, DecodeError, LinkClosed, LinkTimeout, PeerError

MAX_FRAME = 1 << 26
NONCE = TAG = 32
ONE_TIME_KEY = 64
"""Bytes of the reserve that one block takes: a Poly1305 key for each direction."""
_PURPOSE = b"handfast-kme channel 1"


class Transcript:
    """What both directions said in one block, to be tagged with one-time Poly1305 keys (Wegman, Carter 1981).

    It is kept as it was said, some megabytes, so that a block that comes to nothing costs no one-time key.
    """

    def __init__(self, caller: bool) -> None:
        self._caller = caller
        self._sent, self._received = bytearray(), bytearray()

    def sent(self, frame: bytes) -> None:
        self._sent += frame

    def received(self, frame: bytes) -> None:
        self._received += frame

    def tags(self, key: bytes) -> tuple[bytes, bytes]:
        """16 bytes over what we sent, 16 over what we received; `key`, 64 bytes, must never be used again."""
        own, other = (key[:32], key[32:]) if self._caller else (key[32:], key[:32])
        return Poly1305.generate_tag(own, bytes(self._sent)), Poly1305.generate_tag(
            other, bytes(self._received)
        )


class Channel:
    """One connection; made by `open_channel`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        keys: tuple[bytes, bytes],
        timeout: float,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._out, self._in = keys
        self._sent = self._received = 0
        self._timeout = timeout
        self.transcript: Transcript | None = None
        self.latency = 0.0
        """Seconds to wait before each message; fault F5."""

    async def send(self, kind: str, *values: Any) -> None:
        """Send one message; LinkClosed, LinkTimeout."""
        if self.latency:
            await asyncio.sleep(self.latency)
        payload = cbor.encode([kind, *values])
        if len(payload) > MAX_FRAME:
            raise PeerError(f"a message may have {MAX_FRAME} bytes, this one has {len(payload)}")
        if self.transcript is not None:
            self.transcript.sent(_framed(payload))
        tag = _tag(self._out, self._sent, payload)
        self._sent += 1
        try:
            self._writer.write(len(payload).to_bytes(4, "big") + tag + payload)
            async with asyncio.timeout(self._timeout):
                await self._writer.drain()
        except TimeoutError:
            raise LinkTimeout(f"the peer took nothing for {self._timeout:g} s") from None
        except OSError as error:
            raise LinkClosed(f"the peer is gone: {error}") from None

    async def receive(self, *kinds: str, patient: bool = False) -> list[Any]:
        """The values of the next message, which must be one of `kinds`, any when none is named: its kind
        first then.

        `patient` waits for ever. PeerError, AuthenticationError, LinkError.
        """
        try:
            async with asyncio.timeout(None if patient else self._timeout):
                head = await self._reader.readexactly(4 + TAG)
                length = int.from_bytes(head[:4], "big")
                if length > MAX_FRAME:
                    raise PeerError(f"a message may have {MAX_FRAME} bytes, one of {length} was announced")
                payload = await self._reader.readexactly(length)
        except TimeoutError:
            raise LinkTimeout(f"the peer said nothing for {self._timeout:g} s") from None
        except (OSError, EOFError) as error:
            raise LinkClosed(f"the peer is gone: {type(error).__name__}") from None
        if not hmac.compare_digest(_tag(self._in, self._received, payload), head[4:]):
            raise AuthenticationError("a message on the classical channel does not carry the right tag")
        self._received += 1
        if self.transcript is not None:
            self.transcript.received(_framed(payload))
        message = cbor.decode(payload)
        if not isinstance(message, list) or not message or not isinstance(message[0], str):
            raise DecodeError("expected an array that begins with its kind")
        kind, *values = message
        if kind == "stop":
            raise PeerError(f"the peer stopped: {values[0] if values else 'no reason'}")
        if not kinds:
            return [kind, *values]
        if kind not in kinds:
            raise PeerError(f"expected {' or '.join(kinds)}, got {kind[:32]}")
        return values

    async def stop(self, reason: str) -> None:
        """Tell the peer why this ends, if it still listens."""
        self.transcript = None
        with contextlib.suppress(Exception):
            await self.send("stop", reason)

    async def close(self) -> None:
        """Close the connection; never fails."""
        self._writer.close()
        with contextlib.suppress(Exception):
            await self._writer.wait_closed()


async def open_channel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    key: bytes,
    caller: bool,
    purpose: str,
    patience: float = 60.0,
) -> Channel:
    """Exchange nonces and prove to each other that both have `key`; AuthenticationError, LinkError."""
    mine = os.urandom(NONCE)
    try:
        writer.write(mine)
        async with asyncio.timeout(patience):
            await writer.drain()
            theirs = await reader.readexactly(NONCE)
    except TimeoutError:
        raise LinkTimeout(f"the peer said nothing for {patience:g} s") from None
    except (OSError, EOFError) as error:
        raise LinkClosed(f"the peer is gone: {type(error).__name__}") from None
    nonces = mine + theirs if caller else theirs + mine
    forth, back = (
        hmac.digest(key, _PURPOSE + purpose.encode() + direction + nonces, hashlib.sha256)
        for direction in (b">", b"<")
    )
    channel = Channel(reader, writer, (forth, back) if caller else (back, forth), patience)
    await channel.send("hello")
    await channel.receive("hello")
    return channel


def _tag(key: bytes, number: int, payload: bytes) -> bytes:
    return hmac.digest(key, number.to_bytes(8, "big") + payload, hashlib.sha256)


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection that will not be used."""
    writer.close()
    with contextlib.suppress(Exception):
        await writer.wait_closed()
