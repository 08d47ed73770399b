"""How many ways a QKD key came over: both ends agree on it, `secret` waits for enough, `normal` does not."""

import pytest
from trunk_ends import Joined, opened

from handfast.core.errors import AuthenticationError
from handfast_hub.trunk.events import Established
from handfast_hub.trunk.initiator import Initiator
from handfast_hub.trunk.lane import ClassClosed, is_opening
from handfast_hub.trunk.messages import ACCEPT, CONFIRM, OPEN, decode_message, encode_message
from handfast_hub.trunk.opening import _gate
from handfast_hub.trunk.policy import NORMAL, SECRET


def ways(joined: Joined) -> list[tuple[int, int]]:
    """(ways of its key, ways that `secret` needs) of the epoch in use, at each end."""
    assert joined.same_keys()
    return [(lane.current.ways, lane.current.needed) for lane in joined.ends if lane.current]


@pytest.mark.parametrize("wanted", [(2, 1), (1, 2), (2, 2)])
def test_the_hub_that_wants_two_ways_is_obeyed_by_both(wanted: tuple[int, int]) -> None:
    joined = opened(secret_ways=wanted)
    # When it was the responder who wants them, the initiator has heard of it and asked anew at once.
    assert ways(joined) == [(2, 2)] * 2
    assert joined.kmes.asked == [(2, 1)] if wanted[0] == 2 else [(1, 1), (2, 1)]
    for number in (0, 1):
        joined.ends[number].send(SECRET, b"two", joined.now)
    joined.settle()
    assert joined.data(0) == joined.data(1) == [(SECRET, b"two", False)]


@pytest.mark.parametrize("wanted", [(2, 1), (1, 2)])
def test_with_one_way_secret_waits_and_normal_goes_and_is_not_degraded(wanted: tuple[int, int]) -> None:
    joined = Joined(secret_ways=wanted)
    joined.kmes.ways = 1
    joined.run(1.0)
    assert ways(joined) == [(1, 2)] * 2
    for number in (0, 1):
        with pytest.raises(ClassClosed, match="waits for an epoch with a fresh QKD key"):
            joined.ends[number].send(SECRET, b"two", joined.now)
        joined.ends[number].send(NORMAL, b"one", joined.now)
    joined.settle()
    assert joined.data(0) == joined.data(1) == [(NORMAL, b"one", False)]
    # Feeds are given nothing less than `secret`.
    told = [event for events in joined.events for event in events if isinstance(event, Established)]
    assert {(event.hybrid, event.exporter, event.ways) for event in told} == {(True, None, 1)}
    # Both ways are there again, and somebody says so.
    joined.kmes.ways = 2
    initiator = joined.ends[0]
    assert isinstance(initiator, Initiator)
    initiator.more_ways(joined.now)
    joined.run(1.0)
    assert ways(joined) == [(2, 2)] * 2
    assert all(lane.fresh(joined.now) for lane in joined.ends)
    made = len(told)
    initiator.more_ways(joined.now)
    joined.run(1.0)
    told = [event for events in joined.events for event in events if isinstance(event, Established)]
    assert len(told) == made + 2


def test_an_epoch_of_two_ways_is_kept_while_it_is_fresh_and_no_key_of_one_way_is_spent_on_its_end() -> None:
    joined = opened(secret_ways=(2, 2))
    joined.kmes.ways = 1
    given = len(joined.kmes.given)
    # The next one is due after 20 seconds, and fresh is 60.
    joined.run(58.0)
    assert ways(joined) == [(2, 2)] * 2
    assert len(joined.kmes.given) == given
    assert set(joined.kmes.asked[1:]) == {(2, 2)}
    joined.run(6.0)
    assert ways(joined) == [(1, 2)] * 2
    # Each epoch after that asks for two and takes one, at the ordinary pace.
    asked = len(joined.kmes.asked)
    joined.run(60.0)
    assert joined.kmes.asked[asked:] == [(2, 1)] * 3


@pytest.mark.parametrize("number", [0, 1])
def test_a_hub_that_is_started_anew_is_opened_to_with_a_key_of_one_way_rather_than_none(number: int) -> None:
    joined = opened(secret_ways=(2, 2))
    joined.kmes.ways = 1
    joined.restart(number)
    joined.run(8.0)
    assert ways(joined) == [(1, 2)] * 2
    told = [event for event in joined.events[1 - number] if isinstance(event, Established)]
    assert [event.ways for event in told] == [2, 1]


def test_without_any_key_it_goes_on_as_ever() -> None:
    joined = opened(secret_ways=(2, 2))
    joined.kmes.up = False
    joined.run(64.0)
    assert ways(joined) == [(0, 2)] * 2
    assert not any(lane.fresh(joined.now) for lane in joined.ends)
    joined.kmes.up = True
    joined.run(4.0)
    assert ways(joined) == [(2, 2)] * 2


@pytest.mark.parametrize("number", [0, 1])
def test_the_receiver_refuses_secret_under_a_key_of_one_way_whatever_the_sender_thinks(number: int) -> None:
    joined = Joined(secret_ways=(2, 2))
    joined.kmes.ways = 1
    joined.run(1.0)
    sender = joined.ends[1 - number]
    assert sender.current is not None
    sender.current.needed = 1
    sender.send(SECRET, b"two", joined.now)
    joined.settle()
    assert joined.data(number) == []
    assert "class secret came under an epoch without a sound QKD key" in str(joined.errors[-1])


# (message, place of a field in it, what it is made): one way into two, two needed into one.
@pytest.mark.parametrize(("kind", "place", "value"), [(OPEN, 7, 2), (OPEN, 8, 1), (ACCEPT, 6, 1)])
def test_the_ways_are_in_the_transcript_that_both_hubs_sign(kind: int, place: int, value: int) -> None:
    """Even somebody who knows the pairing secret, and so makes right gates, cannot change them."""
    joined = Joined(secret_ways=(2, 2))
    joined.kmes.ways = 1
    parties = [lane.party for lane in joined.ends]
    offered: list[bytes] = []

    def carry(_: object, frames: list[bytes]) -> list[bytes]:
        return [changed(frame) for frame in frames]

    def changed(frame: bytes) -> bytes:
        if not is_opening(frame):
            return frame
        found, fields = decode_message(frame[1:], frozenset((OPEN, ACCEPT, CONFIRM)))
        if found == CONFIRM:
            return frame
        if found == OPEN:
            offered.append(frame[1:])
        if found == kind:
            assert fields[place] != value
            fields[place] = value
        answered = b"" if found == OPEN else offered[-1]
        fields[-1] = _gate(parties[0], tuple(fields[:-1]), answered)
        return frame[:1] + encode_message(found, *fields)

    joined.carry = carry
    joined.run(1.0)
    # The responder took the OPEN and answered it; the initiator found that it signed something else.
    assert offered
    assert [lane.current for lane in joined.ends] == [None, None]
    assert joined.errors and all(isinstance(error, AuthenticationError) for error in joined.errors)
