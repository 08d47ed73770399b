"""X25519 (RFC 7748 section 5)."""

from handfast_micropython.tier import kernels

_BASE_POINT = b"\x09" + bytes(31)
_multiply = kernels("x25519").scalar_multiplication


def scalar_multiplication(scalar: bytes, u: bytes) -> bytes:
    """The u-coordinate of `scalar` times the point at `u`, 32 bytes each; zero for points of small order."""
    return bytes(_multiply(scalar, u))


def public_key(scalar: bytes) -> bytes:
    """The u-coordinate, 32 bytes, that belongs to the 32 bytes of `scalar` (RFC 7748 section 6.1)."""
    return scalar_multiplication(scalar, _BASE_POINT)
