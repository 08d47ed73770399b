"""Payloads on links that cannot take them as they are: fragments, and frames on a byte stream.

Fragments (docs/protocol.md 2.3), for a broker with a small packet limit. Each is one CBOR array,

    [sid bstr 8, idx 0..n-1, n 2..16, SHA-256 of the whole payload, bytes]

and the whole payload is at most 16,384 bytes. No other payload begins with an array of 5: those
of the handshake begin with no array at all, and a record is an array of 3.

Frames, for a UART. Every frame is

    0x00 || COBS( payload || CRC-32 of payload, 4 bytes big endian ) || 0x00

COBS (Cheshire and Baker, 1999) writes bytes without a zero: the data is cut after each zero, and
before each piece stands 1 + the length of the piece without its zero; 0xFF stands before 254
bytes that no zero follows. So a zero always means that a frame ends, and after any garbage the
next frame is read again. The CRC (the one of zlib) finds line errors; it is no protection against
anybody, which is the work of the layers above.
"""

from binascii import crc32

from handfast.core.cbor import decode, encode
from handfast.core.constants import (
    MAX_FRAGMENTED,
    MAX_FRAGMENTS,
    MAX_STREAM_PAYLOAD,
    REASSEMBLY_LIFETIME,
    SID_LENGTH,
)
from handfast.core.errors import DecodeError, LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HASH_LENGTH = 32
# Array head 1, sid 1 + 8, idx 1, n 1, hash 2 + 32, head of the bytes at most 3.
FRAGMENT_OVERHEAD = 49
_FRAGMENT_HEAD = b"\x85"


def fragment(payload: bytes, limit: int, sid: bytes, sha256: "Callable[[bytes], bytes]") -> "list[bytes]":
    """What to send for `payload` where a packet carries at most `limit` bytes.

    The payload itself when it fits, else 2 to 16 fragments; LocalError when even those do not.
    `sid` is 8 random bytes. To resend, send the same list again.
    """
    if len(payload) <= limit:
        return [payload]
    if len(sid) != SID_LENGTH:
        raise LocalError("sid is 8 bytes, not %d" % len(sid))
    room = limit - FRAGMENT_OVERHEAD
    count = -(-len(payload) // room) if room > 0 else MAX_FRAGMENTS + 1
    if count > MAX_FRAGMENTS or len(payload) > MAX_FRAGMENTED:
        raise LocalError("%d bytes do not go through packets of %d bytes" % (len(payload), limit))
    digest = sha256(payload)
    parts = [payload[at : at + room] for at in range(0, len(payload), room)]
    return [encode([sid, index, count, digest, part]) for index, part in enumerate(parts)]


def is_fragment(payload: bytes) -> bool:
    """Whether this payload goes to a Reassembly before anything else."""
    return payload[:1] == _FRAGMENT_HEAD


class Reassembly:
    """Puts the fragments of one chan together again; bounded in bytes and in time.

    One payload at a time. While one is under way, fragments of another are ignored: whoever sends
    them cannot push it out. Fragments may come in any order and more than once; where two differ,
    the first one counts.
    """

    def __init__(self, sha256: "Callable[[bytes], bytes]") -> None:
        self._sha256 = sha256
        self._name: "tuple[object, ...] | None" = None
        self._completed: "tuple[object, ...] | None" = None
        self._parts: "dict[int, bytes]" = {}
        self._until = 0.0

    def receive(self, payload: bytes, now: float) -> "bytes | None":
        """The whole payload when `payload` completes it, else None.

        What is no fragment is given back as it is. DecodeError for a malformed fragment, one that
        makes the whole too long, and when the whole has another SHA-256 (it is dropped then).
        """
        if not is_fragment(payload):
            return payload
        name, index, part = _decode_fragment(payload)
        if name != self._name:
            if self._busy(now):
                return None
            self._name = name
            self._parts = {}
            self._until = now + REASSEMBLY_LIFETIME
        elif now >= self._until:
            self._parts = {}
            self._until = now + REASSEMBLY_LIFETIME
        if index in self._parts:
            return None
        if sum([len(other) for other in self._parts.values()]) + len(part) > MAX_FRAGMENTED:
            raise DecodeError("a fragmented payload is at most %d bytes" % MAX_FRAGMENTED)
        self._parts[index] = part
        _, count, digest = name
        if len(self._parts) < count:
            return None
        whole = b"".join([self._parts[number] for number in range(count)])
        self._forget()
        if self._sha256(whole) != digest:
            raise DecodeError("the fragments do not give the payload that they announce")
        self._completed = name
        return whole

    def timer(self) -> "float | None":
        """When what is under way is too old and can be forgotten, or None."""
        return None if self._name is None else self._until

    def handle_timer(self, now: float) -> None:
        """Forget what is too old."""
        if now >= self._until:
            self._forget()

    def _busy(self, now: float) -> bool:
        # A repeated fragment of what is complete already may be the start of a resend, so it is
        # taken; but it may be a mere duplicate, so it gives way to whatever comes next.
        return self._name is not None and self._name != self._completed and now < self._until

    def _forget(self) -> None:
        self._name = None
        self._parts = {}


def _decode_fragment(payload: bytes) -> "tuple[tuple[bytes, int, bytes], int, bytes]":
    """((sid, n, hash), idx, bytes) of one fragment."""
    if len(payload) > MAX_FRAGMENTED + FRAGMENT_OVERHEAD:
        raise DecodeError("a fragment is at most %d bytes" % (MAX_FRAGMENTED + FRAGMENT_OVERHEAD))
    value = decode(payload)
    if not isinstance(value, list) or len(value) != 5:
        raise DecodeError("a fragment is an array of 5")
    sid, index, count, digest, part = value
    if not isinstance(sid, bytes) or len(sid) != SID_LENGTH:
        raise DecodeError("a fragment begins with a sid of 8 bytes")
    # type() and not isinstance(): True is no number of fragments.
    if type(count) is not int or not 2 <= count <= MAX_FRAGMENTS:
        raise DecodeError("a payload has 2 to %d fragments" % MAX_FRAGMENTS)
    if type(index) is not int or not 0 <= index < count:
        raise DecodeError("the number of a fragment is below their count")
    if not isinstance(digest, bytes) or len(digest) != _HASH_LENGTH:
        raise DecodeError("a fragment names the SHA-256 of the whole payload")
    if not isinstance(part, bytes) or not part:
        raise DecodeError("a fragment carries one byte at least")
    return (sid, count, digest), index, part


def delimit(payload: bytes) -> bytes:
    """One frame for a byte stream; at most MAX_STREAM_PAYLOAD bytes of payload."""
    if len(payload) > MAX_STREAM_PAYLOAD:
        raise LocalError("a frame carries %d bytes, not %d" % (MAX_STREAM_PAYLOAD, len(payload)))
    out = bytearray(1)
    for piece in (payload + _check(payload)).split(b"\x00"):
        at = 0
        while len(piece) - at >= 254:
            out.append(255)
            out.extend(piece[at : at + 254])
            at += 254
        out.append(1 + len(piece) - at)
        out.extend(piece[at:])
    out.append(0)
    return bytes(out)


class FrameReader:
    """Finds the frames in a byte stream. Never raises: `dropped` counts what could not be read.

    `limit` bounds the payload in bytes, and so the memory; a board may set it lower.
    """

    def __init__(self, limit: int = MAX_STREAM_PAYLOAD) -> None:
        self.dropped = 0
        # The CRC, and one byte of COBS for each 254 bytes and for the start.
        self._limit = limit + 4 + (limit + 4) // 254 + 1
        self._buffer = bytearray()
        self._skipping = False

    def receive(self, data: bytes) -> "list[bytes]":
        """The payloads of the frames that end in `data`, in their order."""
        payloads = []
        pieces = data.split(b"\x00")
        for number, piece in enumerate(pieces):
            self._take(piece)
            if number == len(pieces) - 1:
                break
            if self._buffer:
                payload = _undelimit(bytes(self._buffer))
                if payload is None:
                    self.dropped += 1
                else:
                    payloads.append(payload)
            self._buffer = bytearray()
            self._skipping = False
        return payloads

    def _take(self, piece: bytes) -> None:
        if self._skipping:
            return
        if len(self._buffer) + len(piece) > self._limit:
            self.dropped += 1
            self._skipping = True
            self._buffer = bytearray()
        else:
            self._buffer.extend(piece)


def _undelimit(stuffed: bytes) -> "bytes | None":
    """The payload between two zeros of the stream, or None when it was damaged."""
    out = bytearray()
    at = 0
    while at < len(stuffed):
        end = at + stuffed[at]
        if end > len(stuffed):
            return None
        out.extend(stuffed[at + 1 : end])
        if stuffed[at] < 255 and end < len(stuffed):
            out.append(0)
        at = end
    data = bytes(out)
    return data[:-4] if _check(data[:-4]) == data[-4:] else None


def _check(payload: bytes) -> bytes:
    return (crc32(payload) & 0xFFFFFFFF).to_bytes(4, "big")
