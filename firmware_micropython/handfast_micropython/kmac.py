"""KMAC256 (SP 800-185 section 4), lengths in bytes where the standard counts bits."""

from handfast_micropython.keccak import RATE_SHAKE256, SUFFIX_CSHAKE, Sponge


def kmac256(key: bytes, data: "bytes | tuple[bytes, ...]", length: int, custom: bytes = b"") -> bytes:
    """`length` bytes over `data` under `key`; `custom` is the S of the standard. All may be empty."""
    return _absorbed(key, data, length, custom).squeeze(length)


def xor_kmac256(key: bytes, data: bytes, text: memoryview) -> None:
    """XOR as many bytes over `data` under `key` as `text` has into `text`; the S is empty."""
    _absorbed(key, data, len(text), b"").squeeze_into(text)


def _absorbed(key: bytes, data: "bytes | tuple[bytes, ...]", length: int, custom: bytes) -> Sponge:
    sponge = Sponge(RATE_SHAKE256, SUFFIX_CSHAKE)
    rate = _left_encode(RATE_SHAKE256)
    # cSHAKE256 with N = "KMAC", then newX = bytepad(encode_string(K), 136) || X || right_encode(L).
    sponge.absorb(rate + _encode_string(b"KMAC") + _encode_string(custom))
    sponge.fill()
    sponge.absorb(rate + _encode_string(key))
    sponge.fill()
    sponge.absorb(data)
    sponge.absorb(_right_encode(8 * length))
    return sponge


def _number(value: int) -> bytes:
    """Big endian, as short as possible, at least one byte."""
    length = 1
    while value >> (8 * length):
        length += 1
    return value.to_bytes(length, "big")


def _left_encode(value: int) -> bytes:
    # SP 800-185 section 2.3.1.
    number = _number(value)
    return bytes((len(number),)) + number


def _right_encode(value: int) -> bytes:
    # SP 800-185 section 2.3.1.
    number = _number(value)
    return number + bytes((len(number),))


def _encode_string(data: bytes) -> bytes:
    # SP 800-185 section 2.3.2.
    return _left_encode(8 * len(data)) + bytes(data)
