"""KMAC256 of SP 800-185 section 4 in one call of PyCryptodome's Keccak.

PyCryptodome's own KMAC256 object crosses into C six times, refuses keys below 32 bytes and makes
every key schedule of a suite with SHAKE256 three times as slow. The sponge in one call is a
private name there, so a known answer is checked when this module is loaded, and without it the
public object does the work.
"""

from functools import lru_cache

from Crypto.Hash import KMAC256

_RATE = 136

try:
    from Crypto.Hash.keccak import _raw_keccak_lib
    from Crypto.Util._raw_api import c_size_t, c_ubyte, create_string_buffer, get_raw_buffer

    _keccak = _raw_keccak_lib.keccak_oneshot
    # Capacity in bytes, rounds, and the domain: the bits 00 of cSHAKE and the first bit of the padding
    # (SP 800-185 section 3.3).
    _PERMUTATION = c_size_t(64), c_ubyte(24), c_ubyte(4)
except (ImportError, AttributeError):
    _keccak = None


def _left_encode(number: int) -> bytes:
    """SP 800-185 section 2.3.1."""
    length = (number.bit_length() + 7) // 8 or 1
    return bytes((length,)) + number.to_bytes(length, "big")


def _right_encode(number: int) -> bytes:
    """SP 800-185 section 2.3.1."""
    length = (number.bit_length() + 7) // 8 or 1
    return number.to_bytes(length, "big") + bytes((length,))


def _padded(string: bytes) -> bytes:
    """bytepad(string, 136), SP 800-185 section 2.3.3."""
    block = _left_encode(_RATE) + string
    return block + bytes(-len(block) % _RATE)


# Labels and lengths of the protocol: a few dozen combinations, none of them secret.
@lru_cache(maxsize=128)
def _frame(custom: bytes, key_length: int, length: int) -> tuple[bytes, bytes, bytes]:
    """What the sponge absorbs before the key, between key and data, and after the data."""
    name = _padded(_left_encode(32) + b"KMAC" + _left_encode(8 * len(custom)) + custom)
    key_head = _left_encode(_RATE) + _left_encode(8 * key_length)
    padding = bytes(-(len(key_head) + key_length) % _RATE)
    return name + key_head, padding, _right_encode(8 * length)


def kmac256_sponge(key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
    """KMAC256 of `length` bytes through the sponge; any key length."""
    head, padding, tail = _frame(custom, len(key), length)
    message = b"".join((head, key, padding, data, tail))
    output = create_string_buffer(length)
    if _keccak(message, c_size_t(len(message)), output, c_size_t(length), *_PERMUTATION):
        raise MemoryError("Keccak refused to run")
    return get_raw_buffer(output)


def kmac256_object(key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
    """KMAC256 of `length` bytes (at least 8) by PyCryptodome's object; keys of 32 bytes and more."""
    return KMAC256.new(key=key, data=data, mac_len=length, custom=custom).digest()


def _sponge_is_right() -> bool:
    if _keccak is None:
        return False
    key = bytes(range(64, 96))
    return kmac256_sponge(key, b"handfast", 40, b"check") == kmac256_object(key, b"handfast", 40, b"check")


kmac256 = kmac256_sponge if _sponge_is_right() else kmac256_object
