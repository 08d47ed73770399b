"""The hub's ring of keys: the rules R1 to R4, and which epochs are given."""

from host_crypto import crypto
from joined import DEVICE_ID, attempt
from refusal import refused
from rings import after, key, ring_of
from sealed_records import sealed_by_device

from handfast.core import hub_session
from handfast.core.errors import (
    LocalError,
    UnexpectedMessageError,
)
from handfast.core.hub_session import Ring
from handfast.core.key_cache import KeyCache
from handfast.core.topics import TELEMETRY


def attempts(ring: Ring) -> "list[int]":
    return [other.attempt[0] for other in ring.pendings]


def test_r1_a_message_3_that_began_before_any_key_is_dropped() -> None:
    assert hub_session.accepts_message_3(hub_session.empty(DEVICE_ID), 0)
    for ring in (ring_of(key(1, 5, 0)), ring_of(None, key(1, 5, 0)), ring_of(key(1, 3, 0), key(2, 5, 2))):
        assert not hub_session.accepts_message_3(ring, 4)
        assert hub_session.accepts_message_3(ring, 5)
        assert hub_session.accepts_message_3(ring, 6)
        refused(UnexpectedMessageError, hub_session.add_pending, ring, key(9, 4, 9), None)


def test_r2_a_new_pending_deletes_the_others_except_the_one_the_device_holds() -> None:
    ring = ring_of(None, key(1, 1, 0), key(2, 2, 1))
    assert attempts(hub_session.add_pending(ring, key(3, 3, 2), None)) == [3]
    assert attempts(hub_session.add_pending(ring, key(3, 3, 2), attempt(1))) == [1, 3]
    assert attempts(hub_session.add_pending(ring, key(3, 3, 2), attempt(2))) == [2, 3]
    assert attempts(hub_session.add_pending(ring, key(3, 3, 2), attempt(7))) == [3]


def test_r2_never_touches_the_active_key() -> None:
    held = key(1, 1, 0)
    ring = hub_session.add_pending(ring_of(held, key(2, 2, 2)), key(3, 3, 3), None)
    assert ring.active == held and attempts(ring) == [3]


def test_a_ring_never_has_more_than_two_pendings() -> None:
    ring = hub_session.empty(DEVICE_ID)
    for number in range(1, 20):
        have = ring.pendings[-1].attempt if ring.pendings else None
        ring = hub_session.add_pending(ring, key(number, number, hub_session.next_epoch(ring)), have)
        assert len(ring.pendings) <= 2


def test_one_attempt_never_gets_a_second_key() -> None:
    ring = ring_of(key(1, 1, 0), key(2, 2, 2))
    for number in (1, 2):
        refused(UnexpectedMessageError, hub_session.add_pending, ring, key(number, 3, 3), None)


def test_r3_promotion_deletes_the_active_key_and_what_was_born_before() -> None:
    ring = ring_of(key(1, 1, 0), key(2, 2, 2), key(3, 3, 3))
    promoted = hub_session.promote(ring, attempt(3))
    assert promoted.active == key(3, 3, 3) and attempts(promoted) == []
    promoted = hub_session.promote(ring, attempt(2))
    assert promoted.active == key(2, 2, 2) and attempts(promoted) == [3]
    refused(LocalError, hub_session.promote, ring, attempt(1))


def test_r4_a_record_names_its_key_by_its_epoch() -> None:
    held, newer = key(1, 1, 5), key(2, 2, 7)
    ring = ring_of(held, newer)
    found = {epoch: hub_session.candidates(ring, epoch, 0.0) for epoch in range(10)}
    assert found[5] == [(held, 0)] and found[6] == [(held, 1)] and found[7] == [(newer, 0)]
    assert all(found[epoch] == [] for epoch in (0, 1, 2, 3, 4, 8, 9))


def test_every_key_that_bears_an_epoch_is_tried() -> None:
    ring = ring_of(key(1, 1, 6), key(2, 2, 7), key(3, 3, 7))
    assert [found[0].attempt[0] for found in hub_session.candidates(ring, 7, 0.0)] == [1, 3, 2]
    for number, secret in ((1, after(1, 6, 7)), (2, after(2, 7, 7)), (3, after(3, 7, 7))):
        opened = hub_session.open_record(
            KeyCache(crypto), ring, TELEMETRY, sealed_by_device(secret, 7, 0, TELEMETRY), 0.0
        )
        assert opened.attempt == attempt(number)
        assert (opened.promoted, opened.stepped) == (number != 1, number == 1)


def test_a_pending_is_never_tried_in_a_later_epoch() -> None:
    ring = ring_of(None, key(2, 2, 7))
    record = sealed_by_device(after(2, 7, 8), 8, 0, TELEMETRY)
    refused(UnexpectedMessageError, hub_session.open_record, KeyCache(crypto), ring, TELEMETRY, record, 0.0)


def test_an_epoch_is_given_once_and_leaves_room_for_the_active_key() -> None:
    assert hub_session.next_epoch(hub_session.empty(DEVICE_ID)) == 0
    assert hub_session.next_epoch(ring_of(None, key(1, 1, 4))) == 5
    assert hub_session.next_epoch(ring_of(key(1, 1, 4))) == 6
    assert hub_session.next_epoch(ring_of(key(1, 1, 4), key(2, 2, 9))) == 10
    ring = hub_session.promote(ring_of(None, key(2, 2, 9)), attempt(2))
    assert hub_session.next_epoch(ring) == 11


def test_epochs_begin_again_when_all_were_given() -> None:
    assert hub_session.next_epoch(ring_of(None, key(1, 1, 65534))) == 65535
    assert hub_session.next_epoch(ring_of(None, key(1, 1, 65535))) == 0
    assert hub_session.next_epoch(ring_of(key(1, 1, 65535))) == 0
    ring = hub_session.add_pending(ring_of(key(1, 1, 65535)), key(2, 2, 0), attempt(1))
    assert hub_session.next_epoch(hub_session.promote(ring, attempt(2))) == 2
