"""One message under a one-time pad: it opens whole or not at all, and half of a key tells nothing of it."""

import os

import pytest

from handfast.core.errors import AuthenticationError, LocalError
from handfast_kme.one_time_pad import TAG_KEY, cells_of, combined, seal, unseal


def test_a_share_alone_fits_every_key() -> None:
    share = b"\x5a"
    assert {combined([share, bytes([other])]) for other in range(256)} == {bytes([key]) for key in range(256)}


@pytest.mark.parametrize("at", ["head", "sealed", "tag", "pad", "shorter"])
def test_a_message_that_was_touched_does_not_open(at: str) -> None:
    secret = os.urandom(96)
    parts = {"pad": os.urandom(cells_of(96) * 32), "head": b"head"}
    parts["sealed"], parts["tag"] = seal(parts["pad"], parts["head"], secret)
    assert unseal(parts["pad"], parts["head"], parts["sealed"], parts["tag"]) == secret
    if at == "shorter":
        parts["sealed"] = parts["sealed"][:-1]
    else:
        parts[at] = bytes([parts[at][0] ^ 1]) + parts[at][1:]
    with pytest.raises(AuthenticationError):
        unseal(parts["pad"], parts["head"], parts["sealed"], parts["tag"])


def test_the_pad_of_the_key_is_not_the_key_of_the_tag() -> None:
    pad, secret = os.urandom(64), bytes(32)
    sealed, _ = seal(pad, b"", secret)
    assert sealed == pad[TAG_KEY:]


@pytest.mark.parametrize("cells", [0, 1, 3, 5])
def test_nothing_is_sealed_under_a_pad_of_another_length(cells: int) -> None:
    with pytest.raises(LocalError, match="4 cells"):
        seal(os.urandom(32 * cells), b"head", os.urandom(96))
