"""Records that a hub opens and seals: promotion, the epoch before, bounds, the last ones when it revokes."""

from host_crypto import crypto
from joined import DEVICE_ID, Device, active, attempt, enrolled
from refusal import refused
from rings import after, ring_of
from sealed_records import sealed_by_device

from handfast.core import constants, hub_session
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LocalError,
    ReplayError,
    UnexpectedMessageError,
)
from handfast.core.hub_session import Key, Ring
from handfast.core.plaintexts import decode_control, encode_control
from handfast.core.records import decode_header
from handfast.core.replay import Window
from handfast.core.root_key import record_keys
from handfast.core.topics import ALARM, BULK, CONTROL, TELEMETRY

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


def test_a_control_record_that_the_hub_sends_is_read_by_the_device() -> None:
    device, hub = active(crypto)
    device.receive(CONTROL, hub.seal(CONTROL, encode_control(constants.CONTROL_STEP)))
    assert device.session.epoch == 1


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
