"""Combining and comparing bytes, in C: firmware_micropython/native/buffers.c."""

from handfast_native import difference, xor_into, zero_words

__all__ = ("difference", "xor_into", "zero_words")
