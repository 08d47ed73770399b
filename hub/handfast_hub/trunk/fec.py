"""Forward error correction over sealed frames, on carriers that lose datagrams; sans-IO.

    encoder.add(frame, now)         the datagrams to send: the frame at once, repairs when its group is full
    encoder.timer(), handle_timer   repairs for a group that does not fill
    decoder.receive(datagram, now)  the frames that came, and those that could be recovered

    source   0xF0 | group (4) | index (1) | frame
    repair   0xF1 | group (4) | index (1) | sources in the group (1) | shard

A group is k source shards and r repair shards; with 8 and 2, any two of the ten may be lost. A shard is
the length of a frame (2), the frame, and zeros up to the longest of its group, a multiple of 8. Sources
travel without the zeros. The first byte is one that no frame begins with (lane.py), so plain frames and
these may share a carrier. The code is RaptorQ (RFC 6330), which is systematic; the index is the ESI. Of the
libraries, raptorq has a licence that fits ours (Apache-2.0); zfec is GPL or TGPPL. RaptorQ is no perfect
code in general, but with groups of at most 8 + 2 every loss of two can be recovered: the tests try all.

Frames are sealed first and coded then, so there is no key material in a repair. **Shards are not
authenticated**: a frame that comes out of here is what anybody may have sent, and the lane refuses it. A
forged shard spoils the recovery of its own group and nothing else: sources are passed on whatever their
group looks like, no number in a datagram moves a window, memory is bounded, and so is the time that
decoding may take.
"""

import struct
from collections.abc import Callable
from importlib import import_module
from math import inf
from typing import Any

from handfast.core.errors import DecodeError, LocalError, UnexpectedMessageError
from handfast_hub.limits import TokenBucket

SOURCE, REPAIR = 0xF0, 0xF1
# Above what a datagram holds on any path; a longer frame goes without, or over a stream.
LONGEST_FRAME = 2046
MOST_SOURCES, MOST_REPAIRS = 32, 16
# How long a frame may wait for others before it gets its repairs, in seconds.
PATIENCE = 0.02
# Groups that a decoder remembers; the oldest goes. At most 64 * 48 * 2,048 bytes, 6 MiB.
GROUPS = 64
# Decoding 8 of 1,200 bytes takes 50 to 300 microseconds. Forged shards can ask for this many a second.
DECODES_PER_SECOND = 500
DECODES_AT_ONCE = 100

_HEADER = struct.Struct(">BIB")
_LENGTH = 2
# RFC 6330 section 3.2: the FEC Payload ID is the number of the source block, always 0, and the ESI.
_PAYLOAD_ID = 4
# Symbols of RaptorQ are aligned to this here (RFC 6330 section 4.3, Al).
_ALIGNMENT = 8
_LONGEST_SHARD = LONGEST_FRAME + _LENGTH
_LAST_GROUP = 2**32


def is_coded(datagram: bytes) -> bool:
    """Whether a datagram is one of this module, and no plain frame."""
    return datagram[:1] in (b"\xf0", b"\xf1")


class Encoder:
    """Adds repairs to what one carrier sends. One for the life of a carrier: a new one would count anew."""

    def __init__(self, sources: int = 8, repairs: int = 2, patience: float = PATIENCE) -> None:
        """1 to 32 `sources` and 1 to 16 `repairs` a group; LocalError beyond. `patience` in seconds."""
        if not (0 < sources <= MOST_SOURCES and 0 < repairs <= MOST_REPAIRS):
            raise LocalError(
                f"a group has 1 to {MOST_SOURCES} sources and 1 to {MOST_REPAIRS} repairs, "
                f"not {sources} and {repairs}"
            )
        self._raptorq = _raptorq("Encoder")
        self._sources = sources
        self._repairs = repairs
        self._patience = patience
        self._group = 0
        self._frames: list[bytes] = []
        self._ends = inf

    def add(self, frame: bytes, now: float) -> list[bytes]:
        """The datagrams for a frame of 1 to 2,046 bytes; LocalError for any other."""
        if not 0 < len(frame) <= LONGEST_FRAME:
            raise LocalError(f"a frame of 1 to {LONGEST_FRAME} bytes can be coded, not one of {len(frame)}")
        if not self._frames:
            self._ends = now + self._patience
        datagrams = [_HEADER.pack(SOURCE, self._group, len(self._frames)) + frame]
        self._frames.append(frame)
        if len(self._frames) == self._sources:
            datagrams += self._finish()
        return datagrams

    def timer(self) -> float:
        """When to call `handle_timer`; infinity while no frame waits for its repairs."""
        return self._ends

    def handle_timer(self, now: float) -> list[bytes]:
        """The repairs of a group that has waited long enough."""
        return self._finish() if now >= self._ends else []

    def _finish(self) -> list[bytes]:
        count = len(self._frames)
        # A short group gets its share of repairs, and one at least.
        repairs = -(-self._repairs * count // self._sources)
        size = _shard_size(max(map(len, self._frames)))
        shards = b"".join(_shard(frame, size) for frame in self._frames)
        packets = self._raptorq(shards, size).get_encoded_packets(repairs)
        datagrams = [
            _HEADER.pack(REPAIR, self._group, count + number) + bytes([count]) + packet[_PAYLOAD_ID:]
            for number, packet in enumerate(packets[count:])
        ]
        self._group = (self._group + 1) % _LAST_GROUP
        self._frames = []
        self._ends = inf
        return datagrams


class _Group:
    """What came of one group."""

    __slots__ = ("count", "failed", "size", "spoilt", "symbols")

    def __init__(self) -> None:
        # Sources as frames until the size of a shard is known, repairs as shards.
        self.symbols: dict[int, bytes] = {}
        self.count = self.size = 0
        # With how many symbols decoding was tried in vain.
        self.failed = 0
        self.spoilt = False


class Decoder:
    """Undoes it, for what one carrier brings, in any order."""

    def __init__(self) -> None:
        self._raptorq = _raptorq("Decoder")
        self._groups: dict[int, _Group] = {}
        self._decodes = TokenBucket(DECODES_PER_SECOND, -inf, DECODES_AT_ONCE)
        # How many frames were recovered, and how many groups did not agree with themselves.
        self.recovered = self.spoilt = 0

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        """The frames that this datagram brings; none when it is repeated, or a repair that nobody needs.

        DecodeError for what is no coded datagram. UnexpectedMessageError for a repair that contradicts
        its group, of which nothing is recovered then.
        """
        if len(datagram) <= _HEADER.size:
            raise DecodeError(f"a coded datagram has more than {_HEADER.size} bytes, not {len(datagram)}")
        kind, number, index = _HEADER.unpack_from(datagram)
        body = datagram[_HEADER.size :]
        if kind == SOURCE:
            return self._source(number, index, body, now)
        if kind == REPAIR:
            return self._repair(number, index, body[0], body[1:], now)
        raise DecodeError("a coded datagram begins with F0 or F1")

    def _source(self, number: int, index: int, frame: bytes, now: float) -> list[bytes]:
        if index >= MOST_SOURCES or len(frame) > LONGEST_FRAME:
            raise DecodeError("a coded source is one of 32 and has at most 2,046 bytes")
        group = self._named(number)
        known = group.symbols.get(index)
        if known == frame:
            # It is repeated, or was recovered before.
            return []
        if known is not None or (group.count and not _fits(group, index, frame)):
            # One of the two is forged. Both may be tried, by who can tell: the lane.
            self._spoil(group)
            return [frame]
        group.symbols[index] = frame
        return [frame, *self._recover(group, now)]

    def _repair(self, number: int, index: int, count: int, shard: bytes, now: float) -> list[bytes]:
        size = len(shard)
        if not 0 < count <= MOST_SOURCES or not count <= index < count + MOST_REPAIRS:
            raise DecodeError("a coded repair stands behind 1 to 32 sources and is one of 16")
        if not 0 < size <= _LONGEST_SHARD or size % _ALIGNMENT:
            raise DecodeError(f"a shard has a multiple of {_ALIGNMENT} bytes, not {size}")
        group = self._named(number)
        if group.spoilt or group.symbols.get(index) == shard:
            return []
        if not group.count:
            group.count, group.size = count, size
            fitting = all(_fits(group, at, frame) for at, frame in group.symbols.items())
        else:
            fitting = (group.count, group.size) == (count, size) and index not in group.symbols
        if not fitting:
            self._spoil(group)
            raise UnexpectedMessageError("a coded repair contradicts its group; nothing is recovered of it")
        group.symbols[index] = shard
        return self._recover(group, now)

    def _named(self, number: int) -> _Group:
        group = self._groups.get(number)
        if group is None:
            if len(self._groups) >= GROUPS:
                del self._groups[next(iter(self._groups))]
            group = self._groups[number] = _Group()
        return group

    def _spoil(self, group: _Group) -> None:
        if not group.spoilt:
            self.spoilt += 1
            group.spoilt = True
            group.symbols.clear()

    def _recover(self, group: _Group, now: float) -> list[bytes]:
        symbols, count = group.symbols, group.count
        missing = [index for index in range(count) if index not in symbols]
        if not missing or len(symbols) < count or len(symbols) == group.failed or not self._decodes.take(now):
            return []
        decoder = self._raptorq(count * group.size, group.size)
        data = None
        for index, symbol in symbols.items():
            shard = _shard(symbol, group.size) if index < count else symbol
            data = decoder.decode(index.to_bytes(_PAYLOAD_ID, "big") + shard)
            if data is not None:
                break
        if data is None:
            group.failed = len(symbols)
            return []
        frames = []
        for index in missing:
            frame = _frame(data[index * group.size : (index + 1) * group.size])
            if frame is None:
                self._spoil(group)
                return []
            frames.append(frame)
        symbols.update(zip(missing, frames, strict=True))
        self.recovered += len(frames)
        return frames


def _shard_size(longest: int) -> int:
    return -(-(longest + _LENGTH) // _ALIGNMENT) * _ALIGNMENT


def _shard(frame: bytes, size: int) -> bytes:
    return (len(frame).to_bytes(_LENGTH, "big") + frame).ljust(size, b"\0")


def _frame(shard: bytes) -> bytes | None:
    length = int.from_bytes(shard[:_LENGTH], "big")
    frame, rest = shard[_LENGTH : _LENGTH + length], shard[_LENGTH + length :]
    return frame if length and len(frame) == length and not any(rest) else None


def _fits(group: _Group, index: int, frame: bytes) -> bool:
    return index < group.count and len(frame) + _LENGTH <= group.size


def _raptorq(name: str) -> Callable[[bytes | int, int], Any]:
    try:
        return getattr(import_module("raptorq"), name).with_defaults  # type: ignore[no-any-return]
    except ImportError:
        raise LocalError("error correction needs raptorq; install handfast[quic]") from None
