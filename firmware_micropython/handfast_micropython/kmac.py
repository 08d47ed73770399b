"""KMAC256 (SP 800-185 section 4), lengths in bytes where the standard counts bits."""

from handfast_micropython.keccak import RATE_SHAKE256, SUFFIX_CSHAKE, Sponge

# The sponge after the first block of every KMAC256 without a customization, which is bytepad of the function
# name (section 4.3, and 3.3 of cSHAKE): a permutation less for each call, and in the flash when frozen.
_STARTED = (
    b"\x6c\x1c\x95\xf8\x7b\x03\x63\x5d\x35\xec\xda\xc6\x7f\x3d\x5e\x13\x45\x90\x57\x76\x63\x80\x73\x29\x35"
    b"\x23\x5e\x7a\xc8\x74\xbc\x4e\x13\xc9\x2a\x02\x67\xe6\xa0\xa4\x90\x1c\x71\x9b\x41\x46\x81\x36\xd4\x54"
    b"\xa2\x12\xb1\x67\xe9\x8d\x23\x48\xb7\x8e\x95\x7d\xbb\x2d\x78\x82\x46\xb7\x20\x3c\xd0\xbe\x03\xa0\xf3"
    b"\xc0\xa8\xc0\x94\x06\x0e\xa8\x7f\xe8\x65\xfc\x40\x64\xfd\x58\xeb\x0c\xda\x5a\xf3\xe5\xf7\x0c\x2d\x8e"
    b"\x84\xe0\x87\x3b\x1c\x77\xa0\xc5\x1f\x18\x2a\x7b\x7d\xd5\x9a\xb1\xc0\x23\x17\x76\x04\x71\xf6\x4e\x5a"
    b"\xdc\xba\xac\x29\x2f\x30\xaf\x18\x51\x21\x7a\x0a\x14\xdd\x16\xee\xd1\x94\xeb\xbd\x4f\x49\x1e\xbf\x33"
    b"\x1f\xb4\x3e\x4b\x0b\x83\x0c\x77\x67\xf4\x54\xb5\x00\xfa\xc7\xe5\x0d\x91\x5b\x42\x46\x52\x17\x5c\xec"
    b"\x6b\x64\x18\xd6\xcf\xf1\xde\xcf\x38\xc6\xd8\xcb\x11\x30\xa9\xe4\x29\xc6\x86\xcd\x5f\x82\x0c\x80\x07"
)


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
    if custom:
        sponge.absorb(rate + _encode_string(b"KMAC") + _encode_string(custom))
        sponge.fill()
    else:
        sponge.start(_STARTED)
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
