"""EDHOC_Extract and EDHOC_Expand (RFC 9528 section 4.1), which the keys that outlive a handshake use too."""

from handfast.core.cbor import encode, head_of_bytes
from handfast.core.errors import LocalError
from handfast.core.suites import HASHES, SHAKE256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.ports import Crypto

    # Byte strings that follow one another; views too, where a machine has little memory.
    Pieces = tuple[bytes, ...]

# What stands before and behind a context, by (label, length). A peer who chooses the length of its
# message_2 chooses the length of a keystream: nothing that long is kept.
_AROUND: "dict[tuple[int, int], tuple[bytes, bytes]]" = {}
_LONGEST_KEPT = 64


def extract(crypto: "Crypto", hash_algorithm: int, salt: bytes, ikm: bytes) -> bytes:
    """EDHOC_Extract (section 4.1.1): as long as the hash; KMAC256 goes with SHAKE256."""
    if hash_algorithm == SHAKE256:
        return crypto.kmac256(salt, ikm, HASHES[SHAKE256].length, b"")
    return crypto.hmac(hash_algorithm, salt, ikm)


def expand(
    crypto: "Crypto", hash_algorithm: int, prk: bytes, label: int, context: "bytes | Pieces", length: int
) -> bytes:
    """EDHOC_KDF (section 4.1.2): EDHOC_Expand with the info of `label`, `context` and `length`.

    LocalError when HKDF cannot give `length` bytes; KMAC256 can give any number.
    """
    data = info(label, context, length)
    if hash_algorithm == SHAKE256:
        return crypto.kmac256(prk, data, length, b"")
    if length > okm_limit(hash_algorithm):
        raise LocalError("HKDF-Expand gives %d bytes, not %d" % (okm_limit(hash_algorithm), length))
    if not isinstance(data, bytes):
        data = b"".join([bytes(piece) for piece in data])
    okm = block = b""
    counter = 0
    while len(okm) < length:
        counter += 1
        block = crypto.hmac(hash_algorithm, prk, block + data + bytes([counter]))
        okm += block
    return okm[:length]


def info(label: int, context: "bytes | Pieces", length: int) -> "Any":
    """The CBOR sequence info_label, context, length (section 4.1.2); in pieces when `context` is."""
    around = _AROUND.get((label, length))
    if around is None:
        around = encode(label), encode(length)
        if length <= _LONGEST_KEPT:
            _AROUND[label, length] = around
    if isinstance(context, tuple):
        head = head_of_bytes(sum([len(piece) for piece in context]))
        return (around[0] + head,) + context + (around[1],)
    return around[0] + encode(context) + around[1]


def okm_limit(hash_algorithm: int) -> int:
    """The most bytes that HKDF-Expand gives (RFC 5869 section 2.3)."""
    length: int = HASHES[hash_algorithm].length
    return 255 * length
