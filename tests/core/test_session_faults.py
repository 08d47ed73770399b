"""Crypto and storage fail at call 1, 2, 3 … n: the state is unchanged, nothing escapes, a retry works."""

from host_crypto import crypto
from joined import DEVICE_ID, SUITE, Device, Hub, active, attempt, enrolled, meet, root_keys

from handfast.core import constants, device_session, hub_session
from handfast.core.cbor import encode_sequence
from handfast.core.device_session import DeviceSession, Store
from handfast.core.errors import KeystoreError
from handfast.core.key_cache import KeyCache
from handfast.core.key_schedule import KeySchedule
from handfast.core.plaintexts import encode_control, encode_request
from handfast.core.root_key import derive, device_key
from handfast.core.suites import suite
from handfast.core.topics import COMMAND, CONTROL, TELEMETRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class BrokenError(Exception):
    """A back end that broke; none of our errors, so nobody may take it for a peer's fault."""


class Failing:
    """A Crypto port whose call number `at` (from 1) breaks, once."""

    def __init__(self) -> None:
        self.at = 0

    def hmac(self, *arguments: object) -> bytes:
        return self._call(crypto.hmac, arguments)

    def kmac256(self, *arguments: object) -> bytes:
        return self._call(crypto.kmac256, arguments)

    def seal(self, *arguments: object) -> bytes:
        return self._call(crypto.seal, arguments)

    def open(self, *arguments: object) -> bytes:
        return self._call(crypto.open, arguments)

    def _call(self, function: "Callable[..., bytes]", arguments: "tuple[object, ...]") -> bytes:
        self.at -= 1
        if self.at == 0:
            raise BrokenError("the back end broke")
        return function(*arguments)


def calls_until_success(port: Failing, check: "Callable[[], None]", operation: "Callable[[], object]") -> int:
    """Let call 1, 2, 3 … of `operation` break, `check` after each, until it succeeds; gives the calls."""
    for at in range(1, 40):
        port.at = at
        try:
            operation()
        except BrokenError:
            check()
            continue
        finally:
            port.at = 0
        return at - 1
    raise AssertionError("still breaking")


def image(session: DeviceSession) -> "tuple[object, ...]":
    """Everything that a failed call must leave as it was."""
    return session._encode(), session._piv, session._window, session._epoch, session.timer(), session._unsaved


def on_device(
    prepared: "Callable[[Failing], DeviceSession]", operation: "Callable[[DeviceSession], object]"
) -> int:
    """Break each call of an operation on a device's session."""
    port = Failing()
    session = prepared(port)
    before = image(session)

    def unchanged() -> None:
        assert image(session) == before
        assert session._events == [] and session._frames == []

    return calls_until_success(port, unchanged, lambda: operation(session))


def enrolled_on(port: Failing) -> DeviceSession:
    device = Device(port)
    device.session._opener_at = None
    return device.session


def active_on(port: Failing) -> DeviceSession:
    device, _ = active(port)
    return device.session


def from_hub(channel: int, plaintext: bytes, piv: int = 9) -> bytes:
    keys = KeyCache(crypto)
    key = hub_session.pending_key(attempt(1), 1, SUITE, 0, root_keys(1).traffic_secret)
    return keys.get(DEVICE_ID, key, 0, constants.SENDER_HUB).seal(piv, channel, plaintext)


def test_a_root_key_is_derived_whole_or_not_at_all() -> None:
    port = Failing()
    schedule = KeySchedule(port, suite(SUITE))
    arguments = (bytes(64), bytes(32), bytes(32), bytes(16), bytes(32), bytes(32), bytes(32), 1)
    assert calls_until_success(port, lambda: None, lambda: derive(schedule, *arguments)) == 4
    assert calls_until_success(port, lambda: None, lambda: device_key(port, -45, bytes(64))) == 1


def test_an_enrolment_that_breaks_leaves_no_session() -> None:
    port = Failing()
    calls = calls_until_success(
        port,
        lambda: None,
        lambda: device_session.enrol(port, SUITE, DEVICE_ID, attempt(1), 0, root_keys(1), 0.0),
    )
    assert calls == 4


def test_a_start_that_breaks_leaves_storage_as_it_was() -> None:
    port = Failing()
    for prepared, calls in ((enrolled, 4), (active, 5)):
        disk = prepared(crypto)[0].disk
        start = lambda disk=disk: device_session.resume(port, disk, 0.0)  # noqa: E731
        assert calls_until_success(port, lambda: None, start) == calls


def test_a_device_is_unchanged_when_sealing_breaks() -> None:
    for prepared in (enrolled_on, active_on):
        assert on_device(prepared, lambda session: session.send(TELEMETRY, b"21.5 C", 1.0)) == 1
        assert on_device(prepared, lambda session: session.respond(0, 1, 0, b"", 1.0)) == 1
    assert on_device(lambda port: Device(port).session, lambda session: session.frames_to_send(1.0)) == 1


def test_a_device_is_unchanged_when_opening_breaks() -> None:
    ack = from_hub(CONTROL, encode_control(constants.CONTROL_ACK, attempt(1)))
    for prepared in (enrolled_on, active_on):
        assert on_device(prepared, lambda session: session.receive(CONTROL, ack, 1.0)) == 1
    command = from_hub(COMMAND, encode_request(b"open"))
    assert on_device(active_on, lambda session: session.receive(COMMAND, command, 1.0)) == 1


def test_a_device_is_unchanged_when_a_step_breaks() -> None:
    step = from_hub(CONTROL, encode_control(constants.CONTROL_STEP))
    for prepared in (enrolled_on, active_on):
        assert on_device(prepared, lambda session: session.receive(CONTROL, step, 1.0)) == 6

    def full(port: Failing) -> DeviceSession:
        session = active_on(port)
        session._piv = constants.MAX_EPOCH_RECORDS
        return session

    # Five derivations and the hello of the new epoch, in which nothing was sent when that one breaks.
    port = Failing()
    session = full(port)
    calls = calls_until_success(port, lambda: None, lambda: session.send(TELEMETRY, b"", 1.0))
    assert calls >= 5 and session.epoch == 1


def test_a_device_that_cannot_store_says_nothing() -> None:
    device = Device(crypto)
    saves = []

    def save(state: bytes) -> None:
        saves.append(state)
        if len(saves) < 4:
            raise KeystoreError("the flash is worn")
        device.session.stored(state)

    device.session.receive(TELEMETRY, from_hub(TELEMETRY, b"hello"), 1.0)
    for _ in range(3):
        event = device.session.next_event()
        assert isinstance(event, Store)
        try:
            save(event.state)
        except KeystoreError:
            pass
        assert device.session.frames_to_send(1.0) == []
    event = device.session.next_event()
    save(event.state)
    assert saves == [event.state] * 4
    device.pump()
    assert len(device.events) == 2 and device.session.confirmed


def on_hub(hub: Hub, operation: "Callable[[KeyCache], object]") -> int:
    """Break each call of an operation on a ring, each time with an empty cache."""
    port, before = Failing(), hub.ring

    def unchanged() -> None:
        assert hub.ring == before

    return calls_until_success(port, unchanged, lambda: operation(KeyCache(port)))


def test_a_ring_is_unchanged_when_opening_breaks() -> None:
    device, hub = enrolled(crypto)
    channel, record = device.frames()[0]
    opening = lambda keys: hub_session.open_record(keys, hub.ring, channel, record, 0.0)  # noqa: E731
    assert on_hub(hub, opening) == 3
    meet(device, hub, 2.0)
    device.restart()
    channel, record = device.frames()[0]
    opening = lambda keys: hub_session.open_record(keys, hub.ring, channel, record, 0.0)  # noqa: E731
    assert on_hub(hub, opening) == 7


def test_a_ring_is_unchanged_when_sealing_or_revoking_breaks() -> None:
    _, hub = active(crypto)
    assert on_hub(hub, lambda keys: hub_session.seal_record(keys, hub.ring, TELEMETRY, b"")) == 3
    assert on_hub(hub, lambda keys: hub_session.revoke(keys, hub.ring, "lost")) == 7


def test_a_commit_that_fails_leaves_a_record_that_can_be_opened_again() -> None:
    device, hub = enrolled(crypto)
    channel, record = device.frames()[0]
    for _ in range(3):
        opened = hub_session.open_record(hub.keys, hub.ring, channel, record, 0.0)
        assert opened.promoted and hub.ring.active is None
    hub.commit(opened.ring)
    assert hub.ring.active is not None


def test_no_secret_stands_in_a_text() -> None:
    device, hub = active(crypto)
    secrets = [root_keys(1).root_key, root_keys(1).traffic_secret, device.session.device_key()]
    wrong = from_hub(TELEMETRY, b"x")[:-1] + b"?"
    texts = []
    for call in (
        lambda: device.session.receive(TELEMETRY, wrong, 1.0),
        lambda: device.session.receive(CONTROL, from_hub(CONTROL, b"\x00"), 1.0),
        lambda: device.session.send(9, secrets[0], 1.0),
        lambda: hub.receive(TELEMETRY, encode_sequence(secrets[1])),
        lambda: device_session.resume(crypto, device.disk + b"\x00", 1.0),
    ):
        try:
            call()
        except Exception as error:
            texts.append(repr(error))
    assert len(texts) == 5
    for secret in secrets:
        for text in texts:
            assert secret.hex() not in text and repr(secret)[2:-1] not in text
