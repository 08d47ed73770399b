"""A lane over carriers that fail, and at ends that are killed."""

import random
from collections.abc import Callable

import pytest
from trunk_ends import TIMING, Joined, opened

from handfast_hub.trunk.events import Heard, Silent
from handfast_hub.trunk.lane import ClassClosed
from handfast_hub.trunk.policy import SECRET


@pytest.mark.parametrize("number", [0, 1])
def test_an_end_that_is_killed_comes_back_under_a_new_epoch(number: int) -> None:
    joined = opened()
    joined.run(30.0)
    joined.restart(number)
    joined.run(12.0)
    assert joined.same_keys()
    joined.ends[0].send(SECRET, b"back", joined.now)
    joined.settle()
    assert joined.data(1)[-1] == (SECRET, b"back", False)


def test_a_carrier_that_is_away_is_noticed_and_the_lane_comes_back() -> None:
    joined = opened()
    joined.carry = lambda _, frames: []
    joined.run(10.0)
    assert Silent() in joined.events[0]
    assert Silent() in joined.events[1]
    joined.carry = lambda _, frames: frames
    joined.run(10.0)
    assert joined.events[0].count(Heard()) == joined.events[1].count(Heard()) == 2
    assert joined.same_keys()


def bad(loss: float, twice: float) -> Callable[[random.Random, list[bytes]], list[bytes]]:
    def carry(rng: random.Random, frames: list[bytes]) -> list[bytes]:
        carried = [frame for frame in frames if rng.random() > loss]
        carried += [frame for frame in carried if rng.random() < twice]
        rng.shuffle(carried)
        return carried

    return carry


@pytest.mark.parametrize("seed", range(12))
def test_over_a_bad_carrier_nothing_comes_twice_and_both_ends_agree(seed: int) -> None:
    joined = Joined(seed=seed, carry=bad(0.2, 0.2))
    sent = 0
    for count in range(1200):
        try:
            joined.ends[count % 2].send(SECRET, b"%d" % count, joined.now)
            sent += 1
        except ClassClosed:
            pass
        joined.run(0.2)
    came = [data for _, data, _ in joined.data(0) + joined.data(1)]
    assert len(set(came)) == len(came)
    assert len(came) > sent / 2
    assert len(joined.epochs(1)) >= 8
    joined.carry = lambda _, frames: frames
    joined.run(30.0)
    assert joined.same_keys()
    assert joined.epochs(0)[-1] == joined.epochs(1)[-1]


def test_a_new_carrier_carries_the_opening_at_once_and_many_carriers_carry_no_more_of_it() -> None:
    joined = Joined(carry=lambda _, frames: [])
    initiator = joined.ends[0]
    # Nobody has answered for a while, and the next repetition is seconds away.
    joined.run(5.0)
    before = len(joined.recorded[0])
    joined.run(1.0)
    assert len(joined.recorded[0]) == before
    initiator.new_way(joined.now)
    joined.run(0.3)
    assert len(joined.recorded[0]) == before + 1
    for _ in range(100):
        initiator.new_way(joined.now)
        joined.run(0.1)
    assert len(joined.recorded[0]) <= before + 1 + 10.0 / 0.5 + 1


def test_a_responder_that_is_killed_while_an_epoch_is_made_is_opened_to_as_soon_as_it_is_silent() -> None:
    joined = opened()
    rekeys = joined.epochs(0)[-1]
    carry = joined.carry
    # It is killed when the initiator has just asked for a new epoch.
    joined.run(TIMING.rekey - 0.5 - joined.now)
    joined.carry = lambda _, frames: []
    joined.run(1.0)
    assert joined.ends[0]._pending is not None
    joined.restart(1)
    joined.carry = carry
    began = joined.now
    while not (joined.epochs(1) and joined.epochs(1)[-1] != rekeys and joined.same_keys()):
        joined.run(0.1)
        assert joined.now < began + TIMING.gone + 6.0
