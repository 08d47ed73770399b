"""Combining and comparing bytes in a time that depends on their lengths alone."""

try:
    from handfast_micropython.buffers_viper import difference, xor_into, zero_words
except (ImportError, SyntaxError, ValueError):
    # No viper here: a foreign interpreter, a port without a native emitter, or a .mpy of another chip.
    from handfast_micropython.buffers_bytecode import difference, xor_into, zero_words

__all__ = ("equal", "xor_into", "zero_words")


def equal(left: bytes, right: bytes) -> bool:
    """Whether two secrets are the same."""
    length = len(left)
    return length == len(right) and difference(left, right, length) == 0
