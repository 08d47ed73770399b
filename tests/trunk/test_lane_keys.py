"""Both ends of a lane when QKD keys fail or an alarm comes: what is closed, degraded, exported."""

import random

import pytest
from trunk_ends import Joined, opened

from handfast.core.errors import LocalError
from handfast_hub.trunk.epochs import Epoch
from handfast_hub.trunk.events import Established, Failed, Suspect
from handfast_hub.trunk.lane import ClassClosed
from handfast_hub.trunk.policy import BULK, BULK_LANE, NORMAL, SECRET


def test_without_qkd_keys_secret_is_closed_and_normal_says_that_it_is_degraded() -> None:
    joined = Joined()
    joined.kmes.up = False
    joined.run(1.0)
    assert joined.epochs(0) == [(0, False)]
    with pytest.raises(ClassClosed):
        joined.ends[0].send(SECRET, b"no", joined.now)
    joined.ends[0].send(NORMAL, b"yes", joined.now)
    joined.settle()
    assert joined.data(1) == [(NORMAL, b"yes", True)]
    joined.kmes.up = True
    joined.run(3.0)
    joined.ends[0].send(SECRET, b"now", joined.now)
    joined.settle()
    assert joined.data(1)[-1] == (SECRET, b"now", False)


def test_a_kme_that_goes_leaves_its_last_epoch_in_use_while_it_is_fresh() -> None:
    joined = opened()
    joined.kmes.up = False
    joined.run(50.0)
    assert joined.epochs(1) == [(0, True)]
    joined.ends[1].send(SECRET, b"still fresh", joined.now)
    joined.run(15.0)
    # Older than `fresh`: the lane goes on by ML-KEM and says so, and secret is closed at both ends.
    assert [hybrid for _, hybrid in joined.epochs(1)] == [True, False]
    for lane in joined.ends:
        with pytest.raises(ClassClosed):
            lane.send(SECRET, b"no", joined.now)
    joined.kmes.up = True
    joined.run(5.0)
    assert joined.epochs(0)[-1][1]
    assert joined.same_keys()


def test_the_other_kme_lacks_the_key_and_the_lane_goes_on() -> None:
    joined = opened()
    joined.kmes.slave_up = False
    joined.run(100.0)
    assert Failed("the other hub refused the new epoch: its KME does not have that key") in joined.events[0]
    assert joined.same_keys()
    assert not joined.epochs(0)[-1][1]
    joined.kmes.slave_up = True
    joined.run(10.0)
    assert joined.epochs(0)[-1][1]
    # A key_ID that was offered once is never offered again, and no number names two epochs.
    numbers = [number for number, _ in joined.epochs(0)]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("number", [0, 1])
def test_an_alarm_at_either_end_closes_secret_at_both_and_makes_a_new_epoch(number: int) -> None:
    joined = opened()
    joined.ends[number].alarm(joined.now)
    with pytest.raises(ClassClosed):
        joined.ends[number].send(SECRET, b"no", joined.now)
    frames = joined.ends[number].frames_to_send(joined.now)
    joined.kmes.up = False
    for frame in frames:
        joined.deliver(1 - number, frame)
    with pytest.raises(ClassClosed):
        joined.ends[1 - number].send(SECRET, b"no", joined.now)
    joined.kmes.up = True
    joined.run(3.0)
    assert joined.same_keys()
    joined.ends[number].send(SECRET, b"clean", joined.now)
    joined.settle()
    assert joined.data(1 - number) == [(SECRET, b"clean", False)]


def test_bulk_has_a_lane_of_its_own_that_asks_for_no_qkd_key() -> None:
    joined = opened(lane=BULK_LANE)
    joined.ends[0].send(BULK, b"firmware", joined.now)
    with pytest.raises(LocalError):
        joined.ends[0].send(SECRET, b"no", joined.now)
    joined.run(55.0)
    assert joined.kmes.given == []
    assert joined.data(1) == [(BULK, b"firmware", True)]
    assert len(joined.epochs(0)) == 3


def test_both_ends_export_the_same_secret_once_for_each_epoch_with_a_sound_qkd_key() -> None:
    joined = Joined()
    joined.run(50)
    exported = [
        [(event.epoch, event.exporter) for event in events if isinstance(event, Established)]
        for events in joined.events
    ]
    assert exported[0] == exported[1]
    secrets = [secret for _, secret in exported[0]]
    assert len(set(secrets)) == len(secrets) >= 3
    assert all(secret is not None and len(secret) == 48 for secret in secrets)
    for lane in joined.ends:
        assert lane.current is not None
        assert lane.current.take_exporter() is None
    # Without a QKD key there is nothing to export, and an alarm tells both ends.
    joined.kmes.up = False
    joined.ends[0].alarm(joined.now)
    joined.run(5)
    for events in joined.events:
        assert any(isinstance(event, Suspect) for event in events)
        last = [event for event in events if isinstance(event, Established)][-1]
        assert (last.hybrid, last.exporter) == (False, None)
    assert joined.same_keys()


def test_the_lane_of_bulk_exports_nothing() -> None:
    joined = Joined(lane=BULK_LANE)
    joined.run(50)
    events = [event for event in joined.events[0] if isinstance(event, Established)]
    assert len(events) >= 2
    assert all(event.exporter is None for event in events)


def test_an_epoch_whose_key_is_suspect_before_it_is_in_use_exports_nothing() -> None:
    joined = opened()
    responder = joined.ends[1]
    promote = responder.promote

    def promote_and_alarm(epoch: Epoch, now: float) -> None:
        promote(epoch, now)
        responder.promote = promote  # type: ignore[method-assign]
        responder.alarm(now)

    # Its alarm comes under the new epoch, before the initiator has heard that this one is in use.
    responder.promote = promote_and_alarm  # type: ignore[method-assign]
    joined.ends[0].renew("now", joined.now)
    joined.run(1.0)
    established = [event for event in joined.events[0] if isinstance(event, Established)]
    assert [(event.hybrid, event.exporter is None) for event in established[:3]] == [
        (True, False),
        (True, True),
        (True, False),
    ]
    assert joined.same_keys()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("frames", range(8))
def test_an_alarm_while_an_epoch_is_made_lets_no_key_of_before_it_be_trusted(
    number: int, frames: int
) -> None:
    """The alarm comes after so many frames of the rekey have arrived: the key was fetched before it."""
    joined = opened()
    joined.run(18.5)
    left = frames

    def carry(rng: random.Random, sent: list[bytes]) -> list[bytes]:
        nonlocal left
        taken = sent[: max(left, 0)]
        left -= len(sent)
        return taken

    joined.carry = carry
    given = len(joined.kmes.given)
    joined.run(0.6)
    assert len(joined.kmes.given) == given + 1
    # The KMEs give no key from here on, as ours do in an alarm.
    joined.kmes.up = False
    joined.events = [[], []]
    joined.ends[number].alarm(joined.now)
    joined.carry = lambda _, sent: sent
    for _ in range(100):
        joined.run(0.1)
        assert not any(lane.fresh(joined.now) for lane in joined.ends)
    for events in joined.events:
        # An epoch of ML-KEM and chain alone was made soon, and no key went to feeds.
        made = [event for event in events if isinstance(event, Established)]
        assert made and not made[-1].hybrid
        assert all(event.exporter is None for event in made)
