"""What a device stores before anything leaves it, and what it finds after a power cut."""

from host_crypto import crypto
from joined import DEVICE_ID, SUITE, Device, active, attempt, enrolled, meet, root_keys
from refusal import refused
from sealed_records import STEP, from_hub

from handfast.core import cbor, constants, device_session
from handfast.core.device_session import Confirmed, Data, Store
from handfast.core.errors import (
    DecodeError,
    LocalError,
    UnexpectedMessageError,
)
from handfast.core.plaintexts import decode_control, encode_request
from handfast.core.records import RecordKeys, decode_header
from handfast.core.root_key import device_key, record_keys
from handfast.core.topics import BULK, COMMAND, CONTROL, TELEMETRY


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
