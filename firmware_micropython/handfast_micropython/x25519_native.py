"""X25519, in C: firmware_micropython/native/x25519.c."""

from handfast_native import x25519 as scalar_multiplication

__all__ = ("scalar_multiplication",)
