"""Both ends of a lane, joined: opening, rekeying, classes, alarms, restarts and bad carriers."""

import random

import pytest
from trunk_ends import IDENTITIES, PAIRING, TIMING, Joined

from handfast.core.errors import AuthenticationError, EntropyError, LocalError, PeerError, ReplayError
from handfast_hub.trunk.epochs import Epoch
from handfast_hub.trunk.events import Established, Failed, Heard, Silent, Suspect
from handfast_hub.trunk.lane import ClassClosed
from handfast_hub.trunk.policy import BULK, BULK_LANE, NORMAL, SECRET
from handfast_hub.trunk.records import OVERHEAD


def opened(**values: object) -> Joined:
    joined = Joined(**values)  # type: ignore[arg-type]
    joined.run(1.0)
    assert joined.same_keys()
    return joined


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


def test_a_record_is_taken_once_and_a_window_is_no_longer_than_it_says() -> None:
    joined = opened()
    joined.ends[0].send(NORMAL, b"once", joined.now)
    joined.settle()
    again = joined.recorded[0][-1]
    for _ in range(3):
        with pytest.raises(ReplayError):
            joined.ends[1].receive(again, joined.now)
    for count in range(2000):
        joined.ends[0].send(NORMAL, b"%d" % count, joined.now)
    joined.settle()
    with pytest.raises(ReplayError):
        joined.ends[1].receive(again, joined.now)
    assert len(joined.data(1)) == 2001


def test_three_hundred_old_records_are_refused_after_two_epochs() -> None:
    joined = opened()
    for count in range(300):
        joined.ends[0].send(NORMAL, b"%d" % count, joined.now)
    joined.settle()
    old = [frame for frame in joined.recorded[0] if len(frame) < 60][-300:]
    joined.run(45.0)
    before = len(joined.data(1))
    for frame in old:
        with pytest.raises(PeerError):
            joined.ends[1].receive(frame, joined.now)
    assert len(joined.data(1)) == before == 300


def test_a_changed_byte_anywhere_is_refused() -> None:
    joined = opened()
    joined.ends[0].send(NORMAL, b"a reading", joined.now)
    frame = joined.ends[0].frames_to_send(joined.now)[0]
    for at in range(len(frame)):
        with pytest.raises(PeerError):
            joined.ends[1].receive(frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :], joined.now)
    assert joined.data(1) == []
    joined.deliver(1, frame)
    assert joined.data(1) == [(NORMAL, b"a reading", False)]


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


def test_a_receiver_refuses_secret_under_an_epoch_without_a_qkd_key_whatever_the_sender_thinks() -> None:
    joined = Joined()
    joined.kmes.up = False
    joined.run(1.0)
    epoch = joined.ends[0].current
    assert epoch is not None
    # A sender that breaks the policy, with the right keys.
    joined.deliver(1, epoch.sending.seal(SECRET, b"by mistake"))
    assert joined.data(1) == []
    assert "secret" in joined.errors[-1].detail


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


def test_another_pairing_secret_is_answered_by_nothing() -> None:
    joined = Joined(pairings=(PAIRING, bytes(32)))
    joined.run(5.0)
    assert joined.recorded[1] == []
    assert all(isinstance(error, AuthenticationError) for error in joined.errors)
    assert joined.epochs(0) == joined.epochs(1) == []


def test_a_recorded_opening_moves_nothing() -> None:
    joined = opened()
    recorded = [list(frames) for frames in joined.recorded]
    joined.run(45.0)
    keys = joined.ends[1].current
    for frame in recorded[0]:
        joined.deliver(1, frame)
    for frame in recorded[1]:
        joined.deliver(0, frame)
    joined.run(1.0)
    assert joined.ends[1].current is keys
    assert joined.same_keys()


def test_openings_recorded_before_a_restart_cost_a_bounded_number_of_answers() -> None:
    offers = []
    for seed in range(40):
        before = Joined(seed=seed)
        before.ends[0].handle_timer(0.0)
        while (event := before.ends[0].next_event()) is not None:
            before.ends[0].supply(event.ticket, None, None, 0.0)  # type: ignore[union-attr]
        offers += before.ends[0].frames_to_send(0.0)
    joined = Joined(seed=99)
    for offer in offers * 2:
        joined.deliver(1, offer)
    answers = joined.ends[1].frames_to_send(joined.now)
    assert 0 < len(answers) <= 60
    joined.now += 61.0
    joined.run(30.0)
    assert joined.same_keys()
    # The numbers that those used up do not stop the next epoch.
    joined.run(60.0)
    assert joined.same_keys()
    assert len(joined.epochs(0)) > 2


def test_the_pinned_hub_and_no_other_opens_a_trunk() -> None:
    joined = Joined()
    joined.ends[1].party = joined.ends[1].party._replace(identity=IDENTITIES[0])
    joined.run(3.0)
    assert joined.epochs(0) == []


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


def bad(loss: float, twice: float) -> "object":
    def carry(rng: random.Random, frames: list[bytes]) -> list[bytes]:
        carried = [frame for frame in frames if rng.random() > loss]
        carried += [frame for frame in carried if rng.random() < twice]
        rng.shuffle(carried)
        return carried

    return carry


@pytest.mark.parametrize("seed", range(12))
def test_over_a_bad_carrier_nothing_comes_twice_and_both_ends_agree(seed: int) -> None:
    joined = Joined(seed=seed, carry=bad(0.2, 0.2))  # type: ignore[arg-type]
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


def test_a_record_has_the_size_that_is_promised() -> None:
    joined = opened()
    joined.ends[0].send(NORMAL, bytes(100), joined.now)
    assert [len(frame) for frame in joined.ends[0].frames_to_send(joined.now)] == [100 + OVERHEAD]
    with pytest.raises(LocalError):
        joined.ends[0].send(NORMAL, bytes(66_001), joined.now)


def test_a_forged_accept_costs_no_signature_and_stops_no_opening() -> None:
    joined = Joined()
    joined.run(0.1)
    accept = next(frame for frame in joined.recorded[1] if frame[:1] == b"\x01")
    joined = Joined()
    verified = []
    genuine = joined.ends[0].party.crypto

    class Counting(type(genuine)):  # type: ignore[misc]
        def verify(self, *arguments: object) -> bool:
            verified.append(arguments)
            return bool(super().verify(*arguments))

    joined.ends[0].party = joined.ends[0].party._replace(crypto=Counting())
    joined.kmes.up = False
    joined.carry = lambda _, frames: []
    joined.run(0.1)
    for at in range(60, len(accept), 97):
        joined.deliver(0, accept[:at] + bytes([accept[at] ^ 1]) + accept[at + 1 :])
    joined.deliver(0, accept)
    assert verified == []
    joined.carry = lambda _, frames: frames
    joined.run(5.0)
    assert joined.same_keys()
    assert len(verified) == 1


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
