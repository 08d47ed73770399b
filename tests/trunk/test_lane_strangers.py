"""A lane against recorded, changed and forged frames, and against hubs that are not its own."""

import pytest
from trunk_ends import IDENTITIES, PAIRING, Joined, opened

from handfast.core.errors import AuthenticationError, PeerError, ReplayError
from handfast_hub.trunk.policy import NORMAL, SECRET


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
