"""The hub's ring of keys: the rules R1 to R4, epochs, bounds, revocation, and coming back from a copy."""

from host_crypto import crypto
from joined import DEVICE_ID, Device, active, attempt, enrolled, meet, root_keys
from refusal import refused

from handfast.core import constants, hub_session
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LocalError,
    ReplayError,
    UnexpectedMessageError,
)
from handfast.core.hub_session import Key, Ring
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import decode_control, encode_control
from handfast.core.records import RecordKeys, decode_header
from handfast.core.replay import Window
from handfast.core.root_key import record_keys
from handfast.core.topics import ALARM, BULK, CONTROL, TELEMETRY


def key(number: int, born: int, epoch: int) -> Key:
    return hub_session.pending_key(attempt(number), born, -21, epoch, root_keys(number).traffic_secret)


def ring_of(active: "Key | None", *pendings: Key) -> Ring:
    ring = hub_session.empty(DEVICE_ID)
    highest = max([-1] + [other.epoch for other in pendings + (() if active is None else (active,))])
    return Ring(DEVICE_ID, active, pendings, highest, ring.lookahead)


def attempts(ring: Ring) -> "list[int]":
    return [other.attempt[0] for other in ring.pendings]


def sealed_by_device(
    secret: bytes, epoch: int, piv: int, channel: int, plaintext: bytes = b"21.5 C"
) -> bytes:
    pair = record_keys(crypto, -21, secret, b"\x00")
    return RecordKeys(crypto, -21, DEVICE_ID, epoch, b"\x00", pair[0], pair[1]).seal(piv, channel, plaintext)


def after(number: int, epoch: int, later: int) -> bytes:
    """T_later of a key that began at `epoch`."""
    return KeyCache(crypto).secret(key(number, 1, epoch), later)


# The rules


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


# Records in


def test_the_first_record_promotes() -> None:
    device, hub = enrolled(crypto)
    channel, record = device.frames()[0]
    opened = hub.receive(channel, record)
    assert opened.promoted and decode_control(opened.plaintext) == (constants.CONTROL_FIN, attempt(1))
    assert hub.ring.active.attempt == attempt(1) and hub.ring.pendings == ()
    again = device.frames(2.0)[0]
    assert not hub.receive(again[0], again[1]).promoted


def test_a_replayed_record_is_refused() -> None:
    device, hub = active(crypto)
    device.session.send(TELEMETRY, b"21.5 C", 1.0)
    channel, record = device.frames(1.0)[0]
    hub.receive(channel, record)
    refused(ReplayError, hub.receive, channel, record)
    hub.restart()
    refused(ReplayError, hub.receive, channel, record)


def test_a_record_from_the_hub_is_not_taken_for_one_of_the_device() -> None:
    _, hub = active(crypto)
    refused(DecodeError, hub.receive, TELEMETRY, hub.seal(TELEMETRY, b"21.5 C"))


def test_a_forged_record_changes_nothing() -> None:
    device, hub = active(crypto)
    device.session.send(TELEMETRY, b"21.5 C", 1.0)
    channel, record = device.frames(1.0)[0]
    before = hub.ring
    for wrong in (record[:-1] + bytes([record[-1] ^ 1]), record):
        refused(AuthenticationError, hub.receive, ALARM, wrong)
        assert hub.ring == before
    assert hub.receive(channel, record).plaintext == b"21.5 C"


def test_an_unknown_epoch_is_refused_before_any_key_is_derived() -> None:
    _, hub = active(crypto)
    hub.keys.crypto = None
    for epoch in (2, 3, 65535):
        refused(
            UnexpectedMessageError, hub.receive, TELEMETRY, sealed_by_device(b"?" * 64, epoch, 0, TELEMETRY)
        )


def test_the_hub_follows_the_device_one_epoch() -> None:
    device, hub = active(crypto)
    device.restart(10.0)
    opened = hub.receive(*device.frames(10.0)[0])
    assert opened.stepped and not opened.promoted
    assert hub.ring.active.epoch == device.session.epoch == 1
    assert hub.ring.active.secret == after(1, 0, 1)
    assert (hub.ring.active.send_next, hub.ring.active.send_bound) == (0, 1024)


def test_the_epoch_before_is_open_for_60_seconds() -> None:
    device, hub = active(crypto)
    for data in (b"early", b"late", b"too late"):
        device.session.send(TELEMETRY, data, 1.0)
    frames = device.frames(1.0)
    device.restart(10.0)
    hub.receive(*device.frames(10.0)[0], now=10.0)
    assert hub.receive(*frames[0], now=11.0).plaintext == b"early"
    refused(ReplayError, hub.receive, *frames[0], 12.0)
    assert hub.receive(*frames[1], now=69.9).plaintext == b"late"
    refused(UnexpectedMessageError, hub.receive, *frames[2], 70.0)
    assert hub.ring.active.epoch == 1


def test_the_epoch_before_survives_a_restart_of_the_hub() -> None:
    device, hub = active(crypto)
    for data in (b"one", b"two"):
        device.session.send(TELEMETRY, data, 1.0)
    frames = device.frames(1.0)
    hub.receive(*frames[0])
    device.restart(10.0)
    hub.receive(*device.frames(10.0)[0], now=10.0)
    hub.restart(1000.0)
    refused(ReplayError, hub.receive, *frames[0], 1001.0)
    assert hub.receive(*frames[1], now=1001.0).plaintext == b"two"


def test_the_epoch_before_can_open_and_not_seal() -> None:
    device, hub = active(crypto)
    secret = hub.ring.active.secret
    device.restart(10.0)
    hub.receive(*device.frames(10.0)[0])
    kept = hub.disk.active
    secrets = (kept.secret, kept.previous.key, kept.previous.civ)
    assert secret not in secrets
    assert record_keys(crypto, -21, secret, b"\x01")[0] not in secrets


def test_an_ordered_channel_does_not_go_back_an_epoch() -> None:
    device, hub = active(crypto)
    device.session.send(BULK, b"old", 1.0)
    device.session.send(BULK, b"older than new", 1.0)
    frames = device.frames(1.0)
    device.restart(10.0)
    device.session.send(BULK, b"new", 10.0)
    hello, new = device.frames(10.0)
    hub.receive(*hello)
    hub.receive(*frames[0])
    hub.receive(*new)
    refused(ReplayError, hub.receive, *frames[1])


def test_an_old_epoch_goes_for_good_with_the_next_record() -> None:
    device, hub = active(crypto)
    device.restart(10.0)
    hub.receive(*device.frames(10.0)[0], now=10.0)
    device.session.send(TELEMETRY, b"21.5 C", 80.0)
    hub.receive(*device.frames(80.0)[-1], now=80.0)
    assert hub.ring.active.previous is None


# Records out


def test_nothing_is_sealed_for_a_device_that_was_not_heard() -> None:
    _, hub = enrolled(crypto)
    refused(LocalError, hub.seal, TELEMETRY, b"")


def test_a_bound_is_committed_before_its_numbers_are_used() -> None:
    _, hub = active(crypto)
    reserved = []
    for _ in range(2100):
        sealed = hub_session.seal_record(hub.keys, hub.ring, TELEMETRY, b"")
        if sealed.reserved:
            reserved.append(sealed.piv)
            hub.commit(sealed.ring)
        assert sealed.piv < hub.disk.active.send_bound
        hub.ring = sealed.ring
    assert reserved == [1024, 2048]


def test_a_hub_that_restarts_goes_on_from_the_bound() -> None:
    _, hub = active(crypto)
    pivs = []
    for _ in range(4):
        pivs.extend([decode_header(hub.seal(TELEMETRY, b"")).piv for _ in range(3)])
        hub.restart()
    assert pivs == [1, 2, 3, 1024, 1025, 1026, 2048, 2049, 2050, 3072, 3073, 3074]


def test_the_hub_asks_for_a_step_in_time() -> None:
    _, hub = active(crypto)
    held, limit = hub.ring.active, constants.MAX_EPOCH_RECORDS

    def with_counts(send_next: int, highest: int, failures: int, epoch: int = 0) -> Ring:
        window = Window(highest, 1, -1, -1, -1)
        return ring_of(
            Key(held.attempt, 1, -21, epoch, held.secret, 0, send_next, send_next, window, None, failures)
        )

    assert not hub_session.wants_step(hub_session.empty(DEVICE_ID))
    assert not hub_session.wants_step(with_counts(limit - 1, limit - 1, constants.MAX_EPOCH_FAILURES - 1))
    assert hub_session.wants_step(with_counts(limit, 0, 0))
    assert hub_session.wants_step(with_counts(0, limit, 0))
    assert hub_session.wants_step(with_counts(0, 0, constants.MAX_EPOCH_FAILURES))
    assert not hub_session.wants_step(with_counts(limit, limit, 1 << 20, 65535))


def test_forgeries_are_counted_and_stop_nobody() -> None:
    device, hub = active(crypto)
    ring = hub.ring
    for _ in range(3):
        ring = hub_session.count_failure(ring)
    assert ring.active.failures == 3
    assert hub_session.count_failure(hub_session.empty(DEVICE_ID)) == hub_session.empty(DEVICE_ID)
    hub.ring = ring
    device.session.send(TELEMETRY, b"21.5 C", 1.0)
    assert hub.receive(*device.frames(1.0)[0]).plaintext == b"21.5 C"
    assert hub.ring.active.failures == 3
    device.restart(2.0)
    hub.receive(*device.frames(2.0)[0])
    assert hub.ring.active.failures == 0


# Revocation


def test_a_revoked_device_can_open_one_of_the_notices_wherever_it_is() -> None:
    for restarts in (0, 1, 2):
        device, hub = active(crypto)
        for _ in range(restarts):
            device.restart(10.0)
        notices, ring = hub_session.revoke(hub.keys, hub.ring, "lost")
        assert (ring.active, ring.pendings) == (None, ())
        heard = [record for epoch, record in notices if epoch == device.session.epoch]
        assert len(heard) == 1
        device.receive(CONTROL, heard[0])
        assert device.session.state == "REVOKED"


def test_a_device_that_was_not_heard_yet_can_open_its_notice() -> None:
    device, hub = active(crypto)
    epoch = hub.grant(2, 2, attempt(1))
    newer = Device(crypto, 2, epoch)
    notices, _ = hub_session.revoke(hub.keys, hub.ring, "lost")
    assert [epoch for epoch, _ in notices] == [0, 1, 2]
    newer.receive(CONTROL, notices[2][1])
    assert newer.session.state == "REVOKED"
    device.receive(CONTROL, notices[0][1])
    assert device.session.state == "REVOKED"


def test_no_record_is_opened_after_a_revocation() -> None:
    device, hub = active(crypto)
    device.session.send(TELEMETRY, b"21.5 C", 1.0)
    frame = device.frames(1.0)[0]
    _, ring = hub_session.revoke(hub.keys, hub.ring, "lost")
    hub.commit(ring)
    refused(UnexpectedMessageError, hub.receive, *frame)
    hub.restart()
    refused(UnexpectedMessageError, hub.receive, *frame)


def test_a_notice_has_a_number_of_its_own() -> None:
    _, hub = active(crypto)
    used = {decode_header(hub.seal(TELEMETRY, b"")).piv for _ in range(5)}
    notices, _ = hub_session.revoke(hub.keys, hub.ring, "lost")
    assert decode_header(notices[0][1]).piv not in used


def test_an_epoch_of_a_revoked_device_is_not_given_again() -> None:
    _, hub = active(crypto)
    _, ring = hub_session.revoke(hub.keys, hub.ring, "lost")
    assert hub_session.next_epoch(ring) == 1


# An old copy of the database


def test_a_hub_from_an_old_copy_finds_a_device_that_went_on() -> None:
    for steps in (0, 1, 5, 64):
        device, hub = active(crypto)
        copy = hub.disk
        for step in range(steps):
            device.restart(float(step))
            meet(device, hub, float(step))
        hub.disk = copy
        hub.restart()
        hub.commit(hub_session.restored(hub.ring))
        hub.restart()
        device.session.send(TELEMETRY, b"21.5 C", 100.0)
        for channel, record in device.frames(100.0):
            hub.receive(channel, record, 100.0)
        assert hub.delivered[-1] == (TELEMETRY, b"21.5 C")
        assert hub.ring.active.epoch == device.session.epoch and hub.ring.lookahead == 1


def test_a_restored_hub_never_counts_where_it_counted_before() -> None:
    device, hub = active(crypto)
    copy, used = hub.disk, []
    for step in range(4):
        used.extend([(hub.ring.active.epoch, decode_header(hub.seal(TELEMETRY, b"")).piv) for _ in range(3)])
        device.restart(float(step))
        meet(device, hub, float(step))
    hub.disk = copy
    hub.restart()
    hub.commit(hub_session.restored(hub.ring))
    hub.restart()
    for step in range(4):
        epoch = device.session.epoch
        device.restart(10.0 + step)
        meet(device, hub, 10.0 + step)
        assert hub.ring.active.epoch == epoch + 1
        again = [(epoch + 1, decode_header(hub.seal(TELEMETRY, b"")).piv) for _ in range(3)]
        assert all(piv >= 1 << 32 for _, piv in again)
        assert not set(used) & set(again)
        used.extend(again)


def test_a_record_replayed_into_a_restored_hub_leads_to_no_second_nonce() -> None:
    device, hub = active(crypto)
    copy, hellos, used = hub.disk, [], []
    for step in range(3):
        device.restart(float(step))
        hello = device.frames(float(step))[0]
        hellos.append(hello)
        device.receive(*hub.answer(hub.receive(*hello, now=float(step))))
        used.append(hub.ring.active.epoch)
    hub.disk = copy
    hub.restart()
    hub.commit(hub_session.restored(hub.ring))
    for hello in hellos:
        opened = hub.receive(*hello, now=50.0)
        assert decode_header(hub.answer(opened)[1]).piv >= 1 << 32


def test_a_restored_hub_asks_for_a_step_and_a_second_copy_starts_higher() -> None:
    _, hub = active(crypto)
    ring = hub_session.restored(hub.ring)
    assert hub_session.wants_step(ring) and ring.lookahead == 64
    assert ring.active.send_next == ring.active.send_bound == ring.active.send_base == (1 << 32) + 1024
    assert hub_session.restored(hub.ring, 7 << 32).active.send_next == 7 << 32
    assert hub_session.next_epoch(ring) == 65


def test_a_restored_hub_finds_a_device_whose_pending_was_promoted_since() -> None:
    device, hub = enrolled(crypto)
    copy = hub.disk
    meet(device, hub)
    device.restart(1.0)
    meet(device, hub, 1.0)
    hub.disk = copy
    hub.restart()
    hub.commit(hub_session.restored(hub.ring))
    device.session.send(TELEMETRY, b"21.5 C", 2.0)
    opened = hub.receive(*device.frames(2.0)[0], now=2.0)
    assert opened.promoted and opened.stepped and hub.ring.active.epoch == 1


# The cache


def test_the_cache_forgets_devices_that_nobody_asks_for() -> None:
    cache = KeyCache(crypto, 4)
    kept = cache.get(b"device 0", key(1, 1, 0), 0, b"\x00")
    for number in range(4):
        assert cache.get(b"device 0", key(1, 1, 0), 0, b"\x00") is kept
        cache.get(b"device-%d" % (number + 1), key(1, 1, 0), 0, b"\x00")
    for number in range(8):
        cache.get(b"other--%d" % number, key(1, 1, 0), 0, b"\x00")
    assert cache.get(b"device 0", key(1, 1, 0), 0, b"\x00") is not kept


def test_the_cache_keeps_a_bounded_number_of_epochs_for_each_device() -> None:
    cache, held = KeyCache(crypto, 4), key(1, 1, 0)
    first = cache.get(DEVICE_ID, held, 0, b"\x00")
    for epoch in range(1, 20):
        cache.get(DEVICE_ID, held, epoch, b"\x00")
    assert cache.get(DEVICE_ID, held, 0, b"\x00") is not first


def test_a_control_record_that_the_hub_sends_is_read_by_the_device() -> None:
    device, hub = active(crypto)
    device.receive(CONTROL, hub.seal(CONTROL, encode_control(constants.CONTROL_STEP)))
    assert device.session.epoch == 1
