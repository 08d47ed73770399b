"""The epochs of a device: steps that the hub asks for, or that counts and forgeries force; the last one."""

from host_crypto import crypto
from joined import Device, active, attempt, enrolled, meet, root_keys
from refusal import refused
from sealed_records import STEP, from_hub, sender_of

from handfast.core import cbor, constants
from handfast.core.device_session import Confirmed, Data, EnrolAgain
from handfast.core.errors import (
    AuthenticationError,
    UnexpectedMessageError,
)
from handfast.core.plaintexts import encode_control
from handfast.core.records import decode_header
from handfast.core.topics import CONTROL, TELEMETRY


def at_epoch(epoch: int) -> Device:
    """A device that was enrolled at `epoch` and heard the hub there."""
    device = Device(crypto, 1, epoch)
    ack = encode_control(constants.CONTROL_ACK, attempt(1))
    device.receive(CONTROL, sender_of(root_keys(1).traffic_secret, epoch).seal(0, CONTROL, ack))
    return device


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
