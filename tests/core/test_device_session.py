"""The device after its enrolment: what it stores first, its epochs, power cuts, and being revoked."""

from host_crypto import crypto
from joined import DEVICE_ID, SUITE, Device, active, attempt, enrolled, meet, root_keys
from refusal import refused

from handfast.core import cbor, constants, device_session
from handfast.core.device_session import Confirmed, Data, EnrolAgain, Revoked, Store
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LocalError,
    PeerError,
    RefusedError,
    ReplayError,
    UnexpectedMessageError,
)
from handfast.core.plaintexts import decode_control, decode_response, encode_control, encode_request
from handfast.core.records import RecordKeys, decode_header
from handfast.core.root_key import device_key, next_secret, record_keys
from handfast.core.topics import ALARM, BULK, COMMAND, CONTROL, RESPONSE, TELEMETRY

STEP = encode_control(constants.CONTROL_STEP)


def from_hub(number: int = 1, epoch: int = 0) -> RecordKeys:
    """The hub's sending keys of an enrolment that began at epoch 0."""
    secret = root_keys(number).traffic_secret
    for later in range(1, epoch + 1):
        secret = next_secret(crypto, -45, secret, later)
    return sender_of(secret, epoch)


def sender_of(secret: bytes, epoch: int) -> RecordKeys:
    pair = record_keys(crypto, SUITE, secret, b"\x01")
    return RecordKeys(crypto, SUITE, DEVICE_ID, epoch, b"\x01", pair[0], pair[1])


def at_epoch(epoch: int) -> Device:
    """A device that was enrolled at `epoch` and heard the hub there."""
    device = Device(crypto, 1, epoch)
    ack = encode_control(constants.CONTROL_ACK, attempt(1))
    device.receive(CONTROL, sender_of(root_keys(1).traffic_secret, epoch).seal(0, CONTROL, ack))
    return device


def opened(device: Device, frames: "list[tuple[int, bytes]]") -> "list[bytes]":
    """The plaintexts of records that the device sealed in epoch 0."""
    pair = record_keys(crypto, SUITE, root_keys(1).traffic_secret, b"\x00")
    keys = RecordKeys(crypto, SUITE, DEVICE_ID, 0, b"\x00", pair[0], pair[1])
    return [keys.open(decode_header(record), record, channel) for channel, record in frames]


# What is stored first


def test_nothing_leaves_before_the_key_is_stored() -> None:
    session = device_session.enrol(crypto, SUITE, DEVICE_ID, attempt(1), 0, root_keys(1), 0.0)
    session.send(TELEMETRY, b"21.5 C", 0.0)
    assert session.frames_to_send(0.0) == []
    event = session.next_event()
    assert isinstance(event, Store) and session.next_event() == event
    session.stored(b"something else")
    assert session.frames_to_send(0.0) == []
    session.stored(event.state)
    assert session.next_event() is None
    assert [channel for channel, _ in session.frames_to_send(0.0)] == [CONTROL, TELEMETRY]


def test_fin_is_the_first_record_of_a_key() -> None:
    device = Device(crypto)
    device.session.send(TELEMETRY, b"21.5 C", 0.0)
    first, second = opened(device, device.frames())
    assert decode_control(first) == (constants.CONTROL_FIN, attempt(1)) and second == b"21.5 C"


def test_a_confirmation_is_stored_before_it_is_told() -> None:
    device, hub = enrolled(crypto)
    answer = hub.answer(hub.receive(*device.frames()[0]))
    device.session.receive(answer[0], answer[1], 1.0)
    event = device.session.next_event()
    assert isinstance(event, Store) and event.state != device.disk
    assert device.session.frames_to_send(1.0) == [] and device.events == []
    device.pump()
    assert device.events == [Confirmed(attempt(1), 0)]
    assert device.session.state == "ACTIVE" and device.session.confirmed


def test_data_comes_after_the_confirmation_that_it_depends_on() -> None:
    device = Device(crypto)
    device.session.receive(BULK, from_hub().seal(0, BULK, b"hello"), 0.0)
    assert isinstance(device.session.next_event(), Store)
    device.pump()
    assert device.events == [Confirmed(attempt(1), 0), Data(BULK, b"hello", 0, 0)]


def test_a_change_during_a_save_is_saved_too() -> None:
    device = Device(crypto)
    first = device.session.next_event()
    assert first is None
    device.session.receive(TELEMETRY, from_hub().seal(0, TELEMETRY, b"a"), 0.0)
    store = device.session.next_event()
    device.session.receive(CONTROL, from_hub().seal(1, CONTROL, STEP), 0.0)
    device.session.stored(store.state)
    later = device.session.next_event()
    assert isinstance(later, Store) and later.state != store.state


def test_numbers_are_reserved_in_storage_before_they_are_used() -> None:
    device, _ = active(crypto)
    sent = []
    for number in range(2100):
        device.session.send(TELEMETRY, b"", 1.0)
        for _, record in device.frames(1.0):
            sent.append(decode_header(record).piv)
            assert sent[-1] < cbor.decode(device.disk)[7]
        assert len(sent) == number + 1
    assert sent == list(range(1, 2101))
    assert device.saves == 4


def test_a_block_boundary_holds_every_frame_back_until_it_is_stored() -> None:
    device, _ = active(crypto)
    for _ in range(1023):
        device.session.send(TELEMETRY, b"", 1.0)
    assert len(device.session.frames_to_send(1.0)) == 1023
    assert device.session.send(TELEMETRY, b"", 1.0) == (0, 1024)
    assert device.session.frames_to_send(1.0) == []
    assert isinstance(device.session.next_event(), Store)
    device.pump()
    assert len(device.session.frames_to_send(1.0)) == 1


# Power cuts


def test_a_device_that_was_not_heard_goes_on_above_its_bound() -> None:
    device = Device(crypto)
    pivs = []
    for _ in range(4):
        pivs.append(decode_header(device.frames()[0][1]).piv)
        device.restart()
        assert device.session.epoch == 0 and device.session.state == "ENROLLED"
    assert pivs == [0, 1024, 2048, 3072]


def test_a_device_that_was_heard_steps_when_it_starts() -> None:
    device, hub = active(crypto)
    for epoch in range(1, 4):
        device.restart()
        assert (device.session.epoch, device.session.confirmed) == (epoch, False)
        assert device.session.state == "ACTIVE"
        channel, record = device.frames()[0]
        answer = hub.receive(channel, record)
        assert decode_control(answer.plaintext) == (constants.CONTROL_HELLO, None)
        assert decode_header(record).piv == 0
        device.receive(*hub.answer(answer))
        assert device.session.confirmed


def test_a_traffic_secret_is_gone_after_the_step() -> None:
    device, _ = active(crypto)
    secret = root_keys(1).traffic_secret
    assert secret in device.disk
    device.restart()
    assert secret not in device.disk


def test_a_power_cut_before_a_save_repeats_no_number() -> None:
    device, hub = active(crypto)
    device.session.receive(CONTROL, hub.seal(CONTROL, STEP), 1.0)
    assert device.session.epoch == 1
    device.restart(2.0)
    assert device.session.epoch == 1
    meet(device, hub, 2.0)
    assert hub.ring.active.epoch == 1


def test_no_record_of_the_hub_is_delivered_again_after_a_restart() -> None:
    device, hub = active(crypto)
    command = hub.seal(COMMAND, encode_request(b"open"))
    device.receive(COMMAND, command)
    device.restart()
    refused(UnexpectedMessageError, device.receive, COMMAND, command)
    meet(device, hub)
    refused(UnexpectedMessageError, device.receive, COMMAND, command)
    assert device.seen(Data) == [Data(COMMAND, b"open", 0, 1)]


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


# Epochs


def test_the_hub_can_ask_for_a_step() -> None:
    device, hub = active(crypto)
    device.receive(CONTROL, hub.seal(CONTROL, STEP))
    assert (device.session.epoch, device.session.confirmed) == (1, False)
    meet(device, hub)
    assert hub.ring.active.epoch == 1 and device.session.confirmed


def test_a_request_to_step_counts_as_hearing_the_hub() -> None:
    device = Device(crypto)
    device.receive(CONTROL, from_hub().seal(0, CONTROL, STEP))
    assert (device.session.epoch, device.session.state) == (1, "ACTIVE")
    assert device.events == [Confirmed(attempt(1), 0)]


def test_what_was_sealed_before_a_step_still_arrives() -> None:
    device, hub = active(crypto)
    device.session.send(TELEMETRY, b"before", 1.0)
    device.receive(CONTROL, hub.seal(CONTROL, STEP))
    device.session.send(TELEMETRY, b"after", 1.0)
    meet(device, hub, 1.0)
    assert [data for channel, data in hub.delivered if channel == TELEMETRY] == [b"before", b"after"]


def test_a_confirmed_device_steps_after_2_to_the_20_records() -> None:
    device = late(constants.MAX_EPOCH_RECORDS - 1, True)
    assert device.session.send(TELEMETRY, b"", 1.0) == (0, constants.MAX_EPOCH_RECORDS - 1)
    assert device.session.send(TELEMETRY, b"", 1.0) == (1, 1)


def test_a_device_that_nobody_hears_goes_on_after_2_to_the_20_records() -> None:
    device = late(constants.MAX_EPOCH_RECORDS, False)
    epoch, piv = device.session.send(TELEMETRY, b"", 1.0)
    assert epoch == 0 and piv > constants.MAX_EPOCH_RECORDS


def late(piv: int, confirmed: bool) -> Device:
    """A device that starts in epoch 0 at about `piv`, and was heard there or not."""
    device = Device(crypto)
    stored = cbor.decode(device.disk)
    stored[7] = piv
    device.disk = cbor.encode(stored)
    device.restart()
    device.frames()
    if confirmed:
        ack = encode_control(constants.CONTROL_ACK, attempt(1))
        device.receive(CONTROL, from_hub().seal(0, CONTROL, ack))
        device.session._piv = piv
    return device


def test_forgeries_never_stop_a_device() -> None:
    device, hub = active(crypto)
    wrong = from_hub(2).seal(5, TELEMETRY, b"forged")
    device.session._failures = constants.MAX_EPOCH_FAILURES - 3
    for _ in range(2):
        refused(AuthenticationError, device.session.receive, TELEMETRY, wrong, 1.0)
    assert device.session.epoch == 0 and device.session.next_event() is None
    refused(AuthenticationError, device.session.receive, TELEMETRY, wrong, 1.0)
    device.pump()
    assert device.session.epoch == 1
    meet(device, hub, 2.0)
    device.receive(TELEMETRY, hub.seal(TELEMETRY, b"true"))
    assert device.seen(Data)[-1].plaintext == b"true"


def test_forgeries_make_an_unconfirmed_device_jump_to_its_bound() -> None:
    device, hub = enrolled(crypto)
    wrong = from_hub(2).seal(5, TELEMETRY, b"forged")
    device.session._failures = constants.MAX_EPOCH_FAILURES - 1
    refused(AuthenticationError, device.session.receive, TELEMETRY, wrong, 1.0)
    assert device.session.epoch == 0 and decode_header(device.frames(1.0)[-1][1]).piv == 1024
    device.session.send(TELEMETRY, b"21.5 C", 1.0)
    meet(device, hub, 1.0)
    assert hub.delivered == [(TELEMETRY, b"21.5 C")]


def test_the_last_epoch_is_never_left() -> None:
    device = at_epoch(65535)
    hub = sender_of(root_keys(1).traffic_secret, 65535)
    device.receive(CONTROL, hub.seal(1, CONTROL, STEP))
    assert device.session.epoch == 65535 and device.session.confirmed
    device.session.handle_timer(0.0)
    device.pump()
    assert device.seen(EnrolAgain) == [EnrolAgain()]
    device.receive(TELEMETRY, hub.seal(2, TELEMETRY, b"still here"))
    assert device.seen(Data) == [Data(TELEMETRY, b"still here", 65535, 2)]


def test_a_restart_in_the_last_epoch_sends_but_opens_nothing() -> None:
    device = at_epoch(65535)
    hub = sender_of(root_keys(1).traffic_secret, 65535)
    for start in (1.0, 2.0):
        device.restart(start)
        refused(UnexpectedMessageError, device.receive, TELEMETRY, hub.seal(0, TELEMETRY, b"a replay?"))
        assert not device.session.confirmed
        assert device.session.timer() == start
        device.session.handle_timer(start)
        device.pump()
    assert device.seen(EnrolAgain) == [EnrolAgain(), EnrolAgain()]
    assert device.session.send(TELEMETRY, b"21.5 C", 3.0) == (65535, 2048)


def test_a_step_into_the_last_epoch_is_taken() -> None:
    device = at_epoch(65534)
    device.restart()
    assert device.session.epoch == 65535
    assert decode_header(device.frames()[0][1]).epoch == 65535


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


# Storage


def test_the_application_has_a_key_of_its_own() -> None:
    device, _ = active(crypto)
    key = device.session.device_key()
    assert key == device_key(crypto, -45, root_keys(1).root_key) and len(key) == 32
    device.restart()
    assert device.session.device_key() == key


def test_other_bytes_than_a_stored_session_are_refused() -> None:
    device, _ = active(crypto)
    good = cbor.decode(device.disk)
    refused(DecodeError, device_session.resume, crypto, device.disk[:-1], 0.0)
    refused(DecodeError, device_session.resume, crypto, b"", 0.0)
    wrong = (2, -99, "text", 5, None, 65536, 7, -1, 0, 1, b"reason")
    for index in range(len(good)):
        damaged = list(good)
        damaged[index] = wrong[index]
        refused(DecodeError, device_session.resume, crypto, cbor.encode(damaged), 0.0)
    refused(DecodeError, device_session.resume, crypto, cbor.encode(good + [0]), 0.0)
    refused(
        DecodeError,
        device_session.resume,
        crypto,
        cbor.encode([1, [], b"", b"", b"", 0, b"", 0, True, True, None]),
        0.0,
    )
    assert device_session.resume(crypto, cbor.encode(good), 0.0).epoch == 1


def test_an_epoch_out_of_range_enrols_nobody() -> None:
    refused(LocalError, device_session.enrol, crypto, SUITE, DEVICE_ID, attempt(1), 65536, root_keys(1), 0.0)
