"""X25519 (RFC 7748 section 5): one function in two tiers, chosen at import."""

try:
    from handfast_micropython.x25519_ladder import scalar_multiplication
except (ImportError, SyntaxError, ValueError):
    # No viper here: a foreign interpreter, a port without a native emitter, or a .mpy of another chip.
    from handfast_micropython.x25519_bytecode import scalar_multiplication

_BASE_POINT = b"\x09" + bytes(31)

__all__ = ("public_key", "scalar_multiplication")


def public_key(scalar: bytes) -> bytes:
    """The u-coordinate, 32 bytes, that belongs to the 32 bytes of `scalar` (RFC 7748 section 6.1)."""
    return scalar_multiplication(scalar, _BASE_POINT)
