"""Combining and comparing bytes in a time that depends on their lengths alone."""

from handfast_micropython.tier import kernels

_KERNELS = kernels("buffers")
difference = _KERNELS.difference
xor_into = _KERNELS.xor_into
zero_words = _KERNELS.zero_words


def equal(left: bytes, right: bytes) -> bool:
    """Whether two secrets are the same."""
    length = len(left)
    return bool(length == len(right) and difference(left, right, length) == 0)
