"""Each library of ML-KEM and ML-DSA as a whole Crypto; tests of one that is not here are skipped by name."""

from functools import cache

import pytest

from handfast_cpython.crypto import _BACK_ENDS, Crypto, back_ends

EVERY_LIBRARY = pytest.mark.parametrize("library", list(_BACK_ENDS))


@cache
def crypto_of(library: str) -> Crypto:
    if library not in back_ends():
        pytest.skip(f"{library}: the C library is not on this machine")
    return Crypto(library)
