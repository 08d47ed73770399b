"""Comparing secrets."""


def equal(left: bytes, right: bytes) -> bool:
    """Compare in a time that depends on the length alone."""
    if len(left) != len(right):
        return False
    difference = 0
    for one, two in zip(left, right):
        difference |= one ^ two
    return difference == 0
