"""Both ends of a lane, joined: what they say to each other, and how one epoch follows another."""

import pytest
from trunk_ends import Joined, opened

from handfast.core.errors import EntropyError, LocalError
from handfast_hub.trunk.policy import NORMAL, SECRET
from handfast_hub.trunk.records import OVERHEAD


def test_two_hubs_open_a_lane_and_talk_both_ways() -> None:
    joined = opened()
    for number, lane in enumerate(joined.ends):
        lane.send(SECRET, b"from %d" % number, joined.now)
    joined.settle()
    assert joined.data(0) == [(SECRET, b"from 1", False)]
    assert joined.data(1) == [(SECRET, b"from 0", False)]
    assert joined.errors == []
    assert joined.epochs(0) == joined.epochs(1) == [(0, True)]


def test_epochs_follow_each_other_and_nothing_is_lost_meanwhile() -> None:
    joined = opened()
    for count in range(300):
        joined.ends[count % 2].send(SECRET, b"%d" % count, joined.now)
        joined.run(0.5)
    sent = [b"%d" % count for count in range(300)]
    assert sorted(data for _, data, _ in joined.data(0) + joined.data(1)) == sorted(sent)
    assert joined.errors == []
    assert joined.epochs(0) == joined.epochs(1)
    assert [number for number, _ in joined.epochs(0)] == list(range(8))
    # One key for each epoch, never one twice.
    assert len(joined.kmes.given) == 8


def test_volume_brings_a_new_epoch_at_either_end() -> None:
    for number in (0, 1):
        joined = Joined()
        joined.timing = joined.timing._replace(records=50)
        joined.ends = [joined.end(0), joined.end(1)]
        joined.run(1.0)
        for _ in range(60):
            joined.ends[number].send(NORMAL, b"x", joined.now)
        joined.run(1.0)
        assert len(joined.epochs(0)) == 2, number


def test_hubs_sign_again_after_a_day() -> None:
    joined = Joined()
    joined.timing = joined.timing._replace(signed=100.0)
    joined.ends = [joined.end(0), joined.end(1)]
    joined.run(150.0)
    openings = [frame for frame in joined.recorded[0] if frame[:1] == b"\x01"]
    assert len(openings) == 4
    assert joined.same_keys()
    assert joined.errors == []


def test_a_record_has_the_size_that_is_promised() -> None:
    joined = opened()
    joined.ends[0].send(NORMAL, bytes(100), joined.now)
    assert [len(frame) for frame in joined.ends[0].frames_to_send(joined.now)] == [100 + OVERHEAD]
    with pytest.raises(LocalError):
        joined.ends[0].send(NORMAL, bytes(66_001), joined.now)


def test_a_hub_without_randomness_keeps_its_epoch_and_makes_the_next_one_later() -> None:
    joined = opened()
    number = joined.epochs(0)[-1][0]
    lane = joined.ends[0]
    genuine = lane.party

    def alarm(length: int) -> bytes:
        raise EntropyError("the source is in alarm")

    lane.party = genuine._replace(random=alarm)
    tries = 0
    for _ in range(400):
        joined.now = round(joined.now + 0.1, 1)
        try:
            if joined.now >= lane.timer():
                lane.handle_timer(joined.now)
            joined.settle()
        except EntropyError:
            tries += 1
    assert 2 <= tries <= 20
    assert lane.current is not None
    assert lane.current.number == number
    lane.party = genuine
    joined.run(20.0)
    assert joined.same_keys()
    assert joined.epochs(0)[-1][0] > number
