"""One sealed record, and the window against replay.

    type (1) | epoch (4) | seq (8) | AES-256-GCM ciphertext and tag

The header is the additional data. `type` is lane, degraded flag and class (4, 1 and 3 bits): a
receiver knows all of it before it decrypts, and nobody can move a record to another class. The
nonce is four zero bytes and seq. That is safe because each epoch has a fresh key for each
direction, and seq only grows under it.
"""

import struct

from handfast.core.errors import DecodeError, LocalError, ReplayError
from handfast.core.suites import A256GCM
from handfast.ports import Crypto

_HEADER = struct.Struct(">BIQ")
_DEGRADED = 0x08
HEADER_LENGTH = _HEADER.size
OVERHEAD = HEADER_LENGTH + 16
# A reading of 65,000 bytes, the longest that a device can send, and what a bridge says about it.
LONGEST_PLAINTEXT = 66_000
# How far behind the newest record another may come: several carriers reorder a lot.
WINDOW = 1024
_WINDOW_MASK = (1 << WINDOW) - 1
# SP 800-38D section 8.3 allows 2^32 invocations; rekeying comes long before.
LARGEST_SEQ = 2**32 - 1


class Header:
    """What stands in front of a record; `bytes` is what was authenticated."""

    __slots__ = ("bytes", "degraded", "epoch", "kind", "lane", "seq")

    def __init__(self, data: bytes) -> None:
        """DecodeError when `data` is no record."""
        if not OVERHEAD <= len(data) <= OVERHEAD + LONGEST_PLAINTEXT:
            raise DecodeError(f"a record of a trunk has {OVERHEAD} to {OVERHEAD + LONGEST_PLAINTEXT} bytes")
        self.bytes = data[:HEADER_LENGTH]
        kind, self.epoch, self.seq = _HEADER.unpack(self.bytes)
        self.lane, self.degraded, self.kind = kind >> 4, bool(kind & _DEGRADED), kind & 0x07


class Sending:
    """The sending half of an epoch."""

    def __init__(self, crypto: Crypto, lane: int, epoch: int, key: bytes, degraded: bool) -> None:
        self._crypto = crypto
        self._key = key
        self._type = lane << 4 | (_DEGRADED if degraded else 0)
        self.epoch = epoch
        self.records = 0
        self.volume = 0

    def seal(self, kind: int, plaintext: bytes) -> bytes:
        """A record of class `kind`; LocalError for a plaintext of more than 66,000 bytes."""
        if len(plaintext) > LONGEST_PLAINTEXT:
            raise LocalError(
                f"a record of a trunk holds at most {LONGEST_PLAINTEXT} bytes, not {len(plaintext)}"
            )
        if self.records > LARGEST_SEQ:
            raise LocalError("this epoch has sealed 2^32 records; nothing is sent before the next one")
        seq, self.records = self.records, self.records + 1
        self.volume += len(plaintext)
        header = _HEADER.pack(self._type | kind, self.epoch, seq)
        return header + self._crypto.seal(A256GCM, self._key, _nonce(seq), header, plaintext)


class Receiving:
    """The receiving half of an epoch, with its window."""

    def __init__(self, crypto: Crypto, lane: int, epoch: int, key: bytes, degraded: bool) -> None:
        self._crypto = crypto
        self._key = key
        self._lane = lane
        self._degraded = degraded
        self._highest = -1
        self._seen = 0
        self.epoch = epoch

    def open(self, header: Header, record: bytes) -> bytes:
        """The plaintext; ReplayError for a record seen before, AuthenticationError for a forged one.

        The window moves only for what was authenticated, so a forgery moves nothing.
        """
        if header.lane != self._lane or header.degraded is not self._degraded:
            raise DecodeError("a record of a trunk bears the lane and the flag of its epoch")
        seq = header.seq
        age = self._highest - seq
        if age >= WINDOW or (age >= 0 and self._seen >> age & 1):
            raise ReplayError(f"record {seq} of epoch {header.epoch} was seen, or is too old to tell")
        plaintext = self._crypto.open(A256GCM, self._key, _nonce(seq), header.bytes, record[HEADER_LENGTH:])
        if age < 0:
            self._seen = (self._seen << -age | 1) & _WINDOW_MASK if -age < WINDOW else 1
            self._highest = seq
        else:
            self._seen |= 1 << age
        return plaintext


def _nonce(seq: int) -> bytes:
    return seq.to_bytes(12, "big")
