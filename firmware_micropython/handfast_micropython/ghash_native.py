"""Multiplication in the field of GHASH, in C: firmware_micropython/native/ghash.c."""

from handfast_native import ghash_absorb as absorb

__all__ = ("absorb",)
