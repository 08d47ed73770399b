"""One sealed record: its bytes, and sealing and opening it (docs/protocol.md, section 2.9).

    record       = [ << {1: alg} >>, {4: sender, 6: PIV, 10: epoch, 2 bytes}, ciphertext ]
    external_aad = ["handfast-rec-1", device_id, epoch, sender, PIV, ch]
    nonce        = ( len(sender) || pad(sender, n-6) || pad(PIV, 5) ) XOR civ        RFC 8613 section 5.2

An untagged COSE_Encrypt0 (RFC 9052 section 5.2) whose headers are always the same keys in the same
order, so everything but the PIV, the channel and the ciphertext is made once for each epoch. That
leaves little to do beside the AEAD; tests compare these bytes with those of the CBOR encoder, and
what is accepted with what the strict CBOR decoder accepts.
"""

from collections import namedtuple

from handfast.core.cbor import encode, encode_sequence
from handfast.core.constants import (
    HEADER_ALG,
    HEADER_KID,
    HEADER_KID_CONTEXT,
    HEADER_PARTIAL_IV,
    MAX_PLAINTEXT,
    RECORD_CONTEXT,
    SENDER_DEVICE,
    SENDER_HUB,
)
from handfast.core.errors import AuthenticationError, DecodeError, LocalError
from handfast.core.suites import AEADS, SUITES, suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Crypto

# PIV is at most 5 bytes long (RFC 8613 section 6.1).
MAX_PIV = (1 << 40) - 1

# What a record says about itself, before anything is verified. `sender` h'00' or h'01', `piv` and
# `epoch` integers; `start` is where the ciphertext begins in the record.
Header = namedtuple("Header", ("algorithm", "sender", "piv", "epoch", "start"))

# The shortest ciphertext is a tag alone; every AEAD here has 16 bytes of it.
_MIN_CIPHERTEXT = 16


def _starts() -> "dict[bytes, tuple[int, bytes]]":
    """What stands before the head of the PIV: (algorithm, sender) by these bytes."""
    starts = {}
    for algorithm in {SUITES[number].record_aead for number in SUITES}:
        protected = encode(encode({HEADER_ALG: algorithm}))
        for sender in (SENDER_DEVICE, SENDER_HUB):
            headers = encode_sequence(HEADER_KID, sender, HEADER_PARTIAL_IV)
            starts[b"\x83" + protected + b"\xa3" + headers] = algorithm, sender
    return starts


_STARTS = _starts()
_BEFORE_EPOCH = encode(HEADER_KID_CONTEXT) + b"\x42"


def decode_header(record: bytes) -> Header:
    """The header of `record`; DecodeError unless all its bytes are the one encoding of a record."""
    # << {1: alg} >> has four bytes when alg is below 24 and five otherwise.
    at = 11 if record[1:2] == b"\x43" else 12
    # One look, whatever the bytes are: a stranger's record costs no more.
    start = _STARTS.get(record[: at - 1])
    length = record[at - 1] - 0x40 if start is not None and len(record) >= at else 0
    if start is None or not 1 <= length <= 5:
        raise DecodeError("a record begins with one of our AEADs and {4: sender, 6: PIV, ...")
    algorithm, sender = start
    end = at + length
    partial_iv = record[at:end]
    if length > 1 and partial_iv[:1] == b"\x00":
        raise DecodeError("a PIV has no leading zero")
    if record[end : end + 2] != _BEFORE_EPOCH:
        raise DecodeError("after the PIV comes 10: an epoch of two bytes")
    at = end + 4
    size = len(record) - at
    if size <= _MIN_CIPHERTEXT:
        raise DecodeError("a record ends with a ciphertext of at least 16 bytes")
    # The head of the byte string, as long as its length asks; its end is the end of the record.
    if size <= 1 + 23:
        at, good = at + 1, record[at] == 0x40 + size - 1
    elif size <= 2 + 0xFF:
        at, good = at + 2, record[at] == 0x58 and 24 <= record[at + 1] == size - 2
    else:
        length = record[at + 1] << 8 | record[at + 2]
        at, good = at + 3, record[at] == 0x59 and 0xFF < length == size - 3
    if not good:
        raise DecodeError("a record ends with its ciphertext, whose length is written shortest")
    epoch = record[end + 2] << 8 | record[end + 3]
    return Header(algorithm, sender, int.from_bytes(partial_iv, "big"), epoch, at)


class RecordKeys:
    """The key of one direction in one epoch, with all the constant bytes of its records.

    Sealing twice under one PIV would give the key stream away: whoever calls `seal` counts, and
    reserves what it counts in storage first.
    """

    def __init__(
        self,
        crypto: "Crypto",
        number: int,
        device_id: bytes,
        epoch: int,
        sender: bytes,
        key: bytes,
        civ: bytes,
    ) -> None:
        """`number` is the suite's, `key` and `civ` are those of root_key.record_keys."""
        self.algorithm = suite(number).record_aead
        self.sender = sender
        self.epoch = epoch
        self.key = key
        self.civ = civ
        self._crypto = crypto
        aead = AEADS[self.algorithm]
        length = aead.nonce_length
        pad = bytes(length - 6 - len(sender))
        flat = bytes((len(sender),)) + pad + sender + bytes(5)
        nonce = bytes([left ^ right for left, right in zip(flat, civ)])
        self._nonce_head = nonce[: length - 5]
        self._nonce_tail = int.from_bytes(nonce[length - 5 :], "big")
        self._device_id = device_id
        self._epoch_item = encode_sequence(HEADER_KID_CONTEXT, epoch.to_bytes(2, "big"))
        # By the length of the PIV. Most devices speak a few hundred times in an epoch and need one or two.
        self._before: "dict[int, tuple[bytes, bytes]]" = {}

    def seal(self, piv: int, channel: int, plaintext: bytes) -> bytes:
        """The record with number `piv`; LocalError above 65,000 bytes of plaintext."""
        if len(plaintext) > MAX_PLAINTEXT:
            raise LocalError("a record holds at most %d bytes, not %d" % (MAX_PLAINTEXT, len(plaintext)))
        partial_iv = _shortest(piv)
        nonce = self._nonce_head + (self._nonce_tail ^ piv).to_bytes(5, "big")
        start, aad = self._before_piv(len(partial_iv))
        aad += partial_iv + bytes((channel,))
        ciphertext = self._crypto.seal(self.algorithm, self.key, nonce, aad, plaintext)
        size = len(ciphertext)
        if size < 24:
            head = bytes((0x40 + size,))
        elif size <= 0xFF:
            head = bytes((0x58, size))
        else:
            head = b"\x59" + size.to_bytes(2, "big")
        return start + partial_iv + self._epoch_item + head + ciphertext

    def open(self, header: Header, record: bytes, channel: int) -> bytes:
        """The plaintext of `record`, whose `header` names this direction and epoch.

        AuthenticationError when anything differs: key, channel, device, number or a single bit. The
        header is compared because its caller may have chosen these keys by something else.
        """
        named = (header.algorithm, header.sender, header.epoch)
        if named != (self.algorithm, self.sender, self.epoch):
            raise AuthenticationError
        piv = header.piv
        partial_iv = _shortest(piv)
        nonce = self._nonce_head + (self._nonce_tail ^ piv).to_bytes(5, "big")
        aad = self._before_piv(len(partial_iv))[1] + partial_iv + bytes((channel,))
        return self._crypto.open(self.algorithm, self.key, nonce, aad, record[header.start :])

    def _before_piv(self, size: int) -> "tuple[bytes, bytes]":
        """What stands before a PIV of `size` bytes in the record and in its AAD, which the channel ends."""
        found = self._before.get(size)
        if found is None:
            protected = encode({HEADER_ALG: self.algorithm})
            headers = encode_sequence(HEADER_KID, self.sender, HEADER_PARTIAL_IV)
            start = b"\x83" + encode(protected) + b"\xa3" + headers + bytes((0x40 + size,))
            names = [RECORD_CONTEXT, self._device_id, self.epoch, self.sender, bytes(size), 0]
            # Enc_structure (RFC 9052 section 5.3); with one function of `cose` a board would keep them all.
            aad = encode(["Encrypt0", protected, encode(names)])
            found = start, aad[: -size - 1]
            self._before[size] = found
        return found


def _shortest(piv: int) -> bytes:
    """The PIV's bytes: big endian, no leading zero, h'00' for 0."""
    if piv < 0x100:
        return bytes((piv,))
    if piv < 0x10000:
        return piv.to_bytes(2, "big")
    if piv < 0x1000000:
        return piv.to_bytes(3, "big")
    if piv <= MAX_PIV:
        return piv.to_bytes(4 if piv < 0x100000000 else 5, "big")
    raise LocalError("the numbers of this epoch are used up")
