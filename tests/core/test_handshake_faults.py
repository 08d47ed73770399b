"""Crypto and randomness fail at call 1, 2, 3 … of every step of a handshake.

After each failure the machine is where it was, or FAILED; nothing has left it; and when the fault is
gone the same step goes through and both sides have the same key.
"""

from host_crypto import crypto
from pair import STEPS, TOKEN, Pair

from handfast.core import events, states
from handfast.core.errors import EntropyError, Error, PeerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.ports import Crypto

OPERATIONS = (
    "hash",
    "hmac",
    "kmac256",
    "equal",
    "xor",
    "seal",
    "open",
    "kem_public_key",
    "encapsulate",
    "decapsulate",
    "signature_public_key",
    "sign",
    "verify",
)


class Faulty:
    """A Crypto port that fails at the call `fail_at` (1 is the next one) with `error`; 0 is never.

    `secrets` are all results that nobody but the two machines may know.
    """

    def __init__(self, machine: "Crypto") -> None:
        self.fail_at = 0
        self.error: "Exception | None" = None
        self.calls = 0
        self.secrets: "list[bytes]" = []
        self._machine = machine
        for name in OPERATIONS:
            setattr(self, name, self._watched(name, getattr(machine, name)))

    def arm(self, fail_at: int, error: "Exception | None") -> None:
        self.fail_at, self.error, self.calls = fail_at, error, 0

    def count(self) -> None:
        """One more call; raises when it is the one."""
        self.calls += 1
        if self.calls == self.fail_at and self.error is not None:
            raise self.error

    def _watched(self, name: str, call: "Callable[..., object]") -> "Callable[..., object]":
        def watched(*arguments: object) -> object:
            self.count()
            result = call(*arguments)
            # Extract, Expand and the shared secret of the KEM; GATE and TOKEN carry the other MACs.
            if name == "decapsulate" or (name == "kmac256" and arguments[3] == b""):
                self.secrets.append(result)
            return result

        return watched


class FaultyRandom:
    """The randomness of one side: fails as its Crypto does, and gives the same again after a fault."""

    def __init__(self, faulty: Faulty, random: "Callable[[int], bytes]") -> None:
        self._faulty = faulty
        self._random = random

    def __call__(self, length: int) -> bytes:
        self._faulty.count()
        drawn = self._random(length)
        # Shorter ones are C_I, C_R and the attempt, which are no secrets.
        if length >= 32:
            self._faulty.secrets.append(drawn)
        return drawn


def test_a_fault_anywhere_leaves_the_machine_where_it_was_and_the_step_can_be_repeated() -> None:
    for error in (RuntimeError("the back end broke"), Error("the back end broke")):
        pair, faulty = _pair()
        for who, what in STEPS:
            machine = getattr(pair, who)
            fail_at = 0
            while True:
                fail_at += 1
                before, frames, seen = machine.state, len(pair.frames), _seen(pair)
                draws = pair.device_random.count, pair.hub_random.count
                faulty.arm(fail_at, error)
                if _passes(pair, who, what, error):
                    break
                assert machine.state == before, "%s %s, call %d" % (who, what, fail_at)
                assert len(pair.frames) == frames
                assert _seen(pair) == seen
                pair.device_random.count, pair.hub_random.count = draws
            # It passed because no call was left to fail.
            assert faulty.calls < fail_at
        device, hub = pair.device_events[-1], pair.hub_events[-1]
        assert isinstance(device, events.Established)
        assert device.keys == hub.keys


def test_a_source_in_alarm_stops_each_draw_and_nothing_leaves() -> None:
    """EntropyError is what a port raises when no random bytes can be had."""
    for who, what, draws in (
        ("initiator", "start", 3),
        ("initiator", "accept", 2),
        ("responder", "answer", 3),
    ):
        for number in range(1, draws + 1):
            pair = Pair(crypto, token=TOKEN)
            while pair.due != (who, what):
                pair.once()
            alarm = Alarm(number, pair.device_random if who == "initiator" else pair.hub_random)
            machine = getattr(pair, who)
            machine._random = alarm
            before, frames = machine.state, len(pair.frames)
            assert not _passes(pair, who, what, alarm.error)
            assert (machine.state, len(pair.frames)) == (before, frames)


class Alarm:
    """A source that fails its health test at draw `number`."""

    def __init__(self, number: int, random: "Callable[[int], bytes]") -> None:
        self.error = EntropyError("the source repeats itself")
        self._left = number
        self._random = random

    def __call__(self, length: int) -> bytes:
        self._left -= 1
        if self._left == 0:
            raise self.error
        return self._random(length)


def test_a_machine_that_is_done_holds_no_secret() -> None:
    for deny in (0, 1):
        pair, faulty = _pair(deny)
        pair.run()
        assert len(faulty.secrets) > 20
        _forgotten(pair.initiator, faulty)
        _forgotten(pair.responder, faulty)


def test_a_machine_that_failed_holds_no_secret() -> None:
    """At each step the session ends by its time: what was derived until then is gone."""
    for index in range(1, len(STEPS)):
        pair, faulty = _pair()
        for _ in range(index):
            pair.once()
        for machine in (pair.initiator, pair.responder):
            if machine.state not in (states.START,) + states.FINAL:
                machine.handle_timer(60.0)
                assert machine.state == states.FAILED
                _forgotten(machine, faulty)


def test_no_secret_stands_in_an_event_but_the_keys_of_established() -> None:
    pair, faulty = _pair()
    pair.run()
    for event in pair.device_events + pair.hub_events:
        found = [value for value in _flat(event) if value in faulty.secrets]
        expected = list(event.keys) if isinstance(event, events.Established) else []
        assert found == expected, type(event).__name__


def test_no_text_of_an_error_holds_a_secret() -> None:
    pair, faulty = _pair()
    pair.run()
    texts = []
    for number, frame in enumerate(pair.frames):
        for at in (0, 3, len(frame) // 3, len(frame) // 2, len(frame) - 1):
            other = Pair(crypto, token=TOKEN)
            while len(other.frames) <= number:
                other.once()
            machine = other.responder if number % 2 == 0 else other.initiator
            try:
                machine.receive(frame[:at] + bytes((frame[at] ^ 0x40,)) + frame[at + 1 :], 0.0)
            except PeerError as error:
                texts.append(error.detail)
    assert len(texts) > 10
    for secret in faulty.secrets:
        for text in texts:
            assert secret.hex() not in text
            assert repr(secret) not in text


def _pair(deny: int = 0) -> "tuple[Pair, Faulty]":
    faulty = Faulty(crypto)
    pair = Pair(faulty, token=TOKEN, deny=deny)
    pair.initiator._random = FaultyRandom(faulty, pair.device_random)
    pair.responder._random = FaultyRandom(faulty, pair.hub_random)
    faulty.secrets = []
    return pair, faulty


def _passes(pair: Pair, who: str, what: str, error: Exception) -> bool:
    """Whether the call goes through; only the planted error may stop it."""
    try:
        pair.call(who, what)
    except Exception as raised:
        assert raised is error, raised
        return False
    return True


def _seen(pair: Pair) -> "tuple[int, int]":
    return len(pair.device_events), len(pair.hub_events)


def _forgotten(machine: object, faulty: Faulty) -> None:
    """Nothing that the machine still holds is a secret of the session."""
    for name in machine.__dict__:
        value = machine.__dict__[name]
        # What the caller gave and holds itself.
        if name not in ("_identity", "_token"):
            assert not [part for part in _flat(value) if part in faulty.secrets], name


def _flat(value: object) -> "list[bytes]":
    """Every byte string in a value, whatever it is nested in."""
    if isinstance(value, (bytes, bytearray)):
        return [bytes(value)]
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "timer"):
        value = list(value.__dict__.values())
    if isinstance(value, (tuple, list)):
        return [part for each in value for part in _flat(each)]
    return []
