"""One message under a one-time pad with a Wegman-Carter tag: secret and unforgeable for any computer.

    pad = tag key (32) | as many bytes as the secret has, in whole cells
    sealed = secret XOR pad behind the tag key
    tag = Poly1305(tag key, length of head (4) | head | sealed)      16 bytes

The tag key is one cell of the pool as well, used once (Wegman, Carter 1981). So a message of n keys of 256
bits costs n + 1 cells on every hop.
"""

from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from handfast.core.errors import AuthenticationError, LocalError
from handfast_kme.cells import CELL

TAG_KEY = 32
"""Bytes of a Poly1305 key: one cell."""
TAG = 16
"""Bytes of a tag."""


def cells_of(length: int) -> int:
    """Cells that a message of `length` secret bytes costs, its tag key among them."""
    return -(-length // CELL) + TAG_KEY // CELL


def seal(pad: bytes, head: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """(sealed, tag); `pad`, `cells_of(len(secret))` cells, must never be used again. LocalError when it is of
    another length: under a short one a part of the secret would go in clear."""
    if len(pad) != cells_of(len(secret)) * CELL:
        raise LocalError(f"a secret of {len(secret)} bytes takes a pad of {cells_of(len(secret))} cells")
    sealed = _xor(secret, pad[TAG_KEY:])
    return sealed, Poly1305.generate_tag(pad[:TAG_KEY], _tagged(head, sealed))


def unseal(pad: bytes, head: bytes, sealed: bytes, tag: bytes) -> bytes:
    """The secret; AuthenticationError."""
    if len(pad) != cells_of(len(sealed)) * CELL or len(tag) != TAG:
        raise AuthenticationError("a relayed message does not have the length of its pad")
    try:
        Poly1305.verify_tag(pad[:TAG_KEY], _tagged(head, sealed), tag)
    except InvalidSignature:
        raise AuthenticationError("the Wegman-Carter tag of a relayed message is wrong") from None
    return _xor(sealed, pad[TAG_KEY:])


def combined(shares: Sequence[bytes]) -> bytes:
    """The secret of which these are the shares, all of one length; without any one of them it is any
    secret."""
    whole = bytes(len(shares[0]))
    for share in shares:
        whole = _xor(whole, share)
    return whole


def _xor(one: bytes, other: bytes) -> bytes:
    """As long as `one`, the shorter."""
    length = len(one)
    return (int.from_bytes(one, "big") ^ int.from_bytes(other[:length], "big")).to_bytes(length, "big")


def _tagged(head: bytes, sealed: bytes) -> bytes:
    return len(head).to_bytes(4, "big") + head + sealed
