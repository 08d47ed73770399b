"""A device after its enrolment: how it is confirmed, what it sends and takes, and being revoked."""

from host_crypto import crypto
from joined import Device, active, attempt, enrolled, meet, root_keys
from refusal import refused
from sealed_records import from_hub

from handfast.core import constants
from handfast.core.device_session import Data, EnrolAgain, Revoked, Store
from handfast.core.errors import (
    DecodeError,
    LocalError,
    PeerError,
    RefusedError,
    ReplayError,
    UnexpectedMessageError,
)
from handfast.core.plaintexts import decode_response, encode_control, encode_request
from handfast.core.topics import ALARM, BULK, COMMAND, CONTROL, RESPONSE, TELEMETRY

# Confirmation


def test_fin_is_repeated_with_doubling_delays_up_to_300_seconds() -> None:
    device = Device(crypto)
    now, waits = 0.0, []
    for _ in range(11):
        assert len(device.frames(now)) == 1 and device.frames(now) == []
        waits.append(device.session.timer() - now)
        now = device.session.timer()
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0]


def test_a_confirmed_device_is_quiet() -> None:
    device, _ = active(crypto)
    assert device.session.timer() is None
    assert device.frames(10000.0) == []
    device.session.handle_timer(10000.0)
    assert device.session.next_event() is None


def test_after_an_hour_of_silence_method_0_may_run_again_and_the_key_stays() -> None:
    device = Device(crypto)
    before = device.disk
    device.session.handle_timer(3599.0)
    device.pump()
    assert device.seen(EnrolAgain) == []
    for hour in (1, 2, 3):
        device.session.handle_timer(3600.0 * hour)
        device.session.handle_timer(3600.0 * hour + 1)
        device.pump()
        assert len(device.seen(EnrolAgain)) == hour
    assert device.disk == before and len(device.frames(9999.0)) == 1


def test_a_device_that_waits_for_hours_keeps_one_frame_at_most() -> None:
    device = Device(crypto)
    for now in range(0, 36000, 50):
        device.session.handle_timer(float(now))
        device.pump()
    assert len(device.frames(36000.0)) == 1


def test_an_ack_for_another_attempt_confirms_nothing() -> None:
    device = Device(crypto)
    ack = encode_control(constants.CONTROL_ACK, attempt(2))
    refused(DecodeError, device.receive, CONTROL, from_hub().seal(0, CONTROL, ack))
    assert not device.session.confirmed and device.session.state == "ENROLLED"


def test_only_what_a_hub_says_is_heard_on_the_control_channel() -> None:
    device = Device(crypto)
    for piv, plaintext in enumerate(
        (
            encode_control(constants.CONTROL_FIN, attempt(1)),
            encode_control(constants.CONTROL_HELLO),
            b"",
            b"\x00",
        )
    ):
        refused(DecodeError, device.receive, CONTROL, from_hub().seal(piv, CONTROL, plaintext))
    assert not device.session.confirmed


def test_a_command_needs_an_epoch_that_was_confirmed_since_the_start() -> None:
    device, hub = enrolled(crypto)
    command = from_hub().seal(900, COMMAND, encode_request(b"open"))
    refused(UnexpectedMessageError, device.receive, COMMAND, command)
    meet(device, hub)
    device.receive(COMMAND, command)
    assert device.seen(Data) == [Data(COMMAND, b"open", 0, 900)]


# Records


def test_a_response_carries_the_numbers_of_its_request() -> None:
    device, hub = active(crypto)
    device.receive(COMMAND, hub.seal(COMMAND, encode_request(b"open")))
    request = device.seen(Data)[0]
    device.session.respond(request.epoch, request.piv, 0, b"done", 1.0)
    channel, record = device.frames(1.0)[0]
    response = decode_response(hub.receive(channel, record).plaintext)
    assert (channel, response) == (RESPONSE, (0, 1, 0, b"done"))


def test_send_tells_the_epoch_and_the_number() -> None:
    device, _ = active(crypto)
    assert device.session.send(TELEMETRY, b"", 1.0) == (0, 1)
    assert device.session.send(ALARM, b"", 1.0) == (0, 2)
    device.restart()
    assert device.session.send(BULK, b"", 1.0) == (1, 1)


def test_applications_send_on_their_own_channels_only() -> None:
    device, _ = active(crypto)
    for channel in (CONTROL, COMMAND, RESPONSE, 6, -1):
        refused(LocalError, device.session.send, channel, b"", 1.0)
    refused(LocalError, device.session.send, TELEMETRY, bytes(65001), 1.0)
    assert device.frames(1.0) == []


def test_a_replayed_record_is_refused() -> None:
    device, hub = active(crypto)
    record = hub.seal(TELEMETRY, b"once")
    device.receive(TELEMETRY, record)
    refused(ReplayError, device.receive, TELEMETRY, record)
    assert len(device.seen(Data)) == 1


def test_a_record_of_the_device_is_not_taken_for_one_of_the_hub() -> None:
    device, _ = active(crypto)
    device.session.send(TELEMETRY, b"21.5 C", 1.0)
    refused(DecodeError, device.receive, *device.frames(1.0)[0])


def test_a_record_of_another_epoch_is_refused() -> None:
    device, _ = active(crypto)
    for epoch in (1, 2):
        refused(UnexpectedMessageError, device.receive, TELEMETRY, from_hub(1, epoch).seal(9, TELEMETRY, b""))


def test_a_malformed_command_is_refused_and_the_next_one_is_heard() -> None:
    device, hub = active(crypto)
    refused(DecodeError, device.receive, COMMAND, hub.seal(COMMAND, b"open"))
    device.receive(COMMAND, hub.seal(COMMAND, encode_request(b"open")))
    assert len(device.seen(Data)) == 1


# Revocation


def test_a_revoked_device_stops_for_good_and_keeps_nothing_to_seal_with() -> None:
    device, hub = active(crypto)
    device.session.send(TELEMETRY, b"never sent", 1.0)
    notice = hub.seal(CONTROL, encode_control(constants.CONTROL_REVOKED, "lost"))
    device.session.receive(CONTROL, notice, 1.0)
    assert isinstance(device.session.next_event(), Store)
    device.pump()
    for _ in range(2):
        assert device.session.state == "REVOKED" and device.events[-1] == Revoked("lost")
        assert device.session.frames_to_send(2.0) == [] and device.session.timer() is None
        refused(RefusedError, device.session.send, TELEMETRY, b"", 2.0)
        refused(RefusedError, device.session.respond, 0, 0, 0, b"", 2.0)
        refused(RefusedError, device.session.device_key)
        device.receive(CONTROL, notice)
        assert root_keys(1).root_key not in device.disk and root_keys(1).traffic_secret not in device.disk
        device.restart(3.0)


def test_only_a_sealed_record_revokes() -> None:
    device, _ = active(crypto)
    plaintext = encode_control(constants.CONTROL_REVOKED, "lost")
    for wrong in (plaintext, from_hub(2).seal(5, CONTROL, plaintext), from_hub().seal(5, ALARM, plaintext)):
        refusal = None
        try:
            device.receive(CONTROL, wrong)
        except PeerError as error:
            refusal = error
        assert refusal is not None and device.session.state == "ACTIVE"
