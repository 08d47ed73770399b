"""Random bytes drawn ahead: each is given once, in the order of the draws, and nothing is left."""

from refusal import refused

from handfast.core.drawn import Drawn, lengths
from handfast.core.errors import EntropyError, LocalError
from handfast.core.initiator import DRAWS
from handfast.core.suites import SUITES


def _numbered() -> "tuple[list[int], object]":
    asked = []

    def random(length: int) -> bytes:
        asked.append(length)
        return bytes([len(asked)]) * length

    return asked, random


def test_everything_is_drawn_at_once_and_given_once_in_its_order() -> None:
    asked, random = _numbered()
    drawn = Drawn(random, (3, 1, 2))
    assert asked == [3, 1, 2]
    held = list(drawn._draws)
    assert [drawn.random(3), drawn.random(1), drawn.random(2)] == [b"\x01\x01\x01", b"\x02", b"\x03\x03"]
    assert asked == [3, 1, 2]
    # What was given out is not kept beside it.
    assert [bytes(draw) for draw in held] == [bytes(3), bytes(1), bytes(2)]
    refused(LocalError, drawn.random, 2)


def test_no_draw_is_cut_or_joined() -> None:
    drawn = Drawn(_numbered()[1], (3, 2))
    for wrong in (2, 4, 0, 5):
        refused(LocalError, drawn.random, wrong)
    assert drawn.random(3) == b"\x01\x01\x01"


def test_what_nobody_asked_for_is_wiped() -> None:
    drawn = Drawn(_numbered()[1], (3, 2))
    held = list(drawn._draws)
    drawn.wipe()
    assert [bytes(draw) for draw in held] == [bytes(3), bytes(2)]
    refused(LocalError, drawn.random, 3)


def test_a_source_in_alarm_is_heard_at_once() -> None:
    def alarm(length: int) -> bytes:
        raise EntropyError("the source repeats itself")

    refused(EntropyError, Drawn, alarm, (3,))


def test_an_enrolment_of_any_suite_draws_as_often_as_is_reserved() -> None:
    for number in SUITES:
        assert len(lengths(SUITES[number])) == DRAWS
