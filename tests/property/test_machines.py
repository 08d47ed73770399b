"""Initiator and Responder over a network that does what it likes, with an attacker who sees all of it.

Whatever is lost, doubled, delayed, changed or put in: both sides have the same key or the device has
none, every payload that goes out again is the one that went out before, and a later attempt over a good
network succeeds.
"""

import heapq
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outsider import error_frame, forged_message_2, frame_of, read_message_1
from pair import TOKEN, CountingRandom, identity
from small_hub import SmallHub

from handfast.core import events, messages, states
from handfast.core.constants import MAX_UNVERIFIED_MESSAGES, SESSION_LIFETIME, WANT_KID
from handfast.core.credentials import id_cred_by_kid, id_cred_by_value
from handfast.core.errors import PeerError
from handfast.core.initiator import Initiator
from handfast.core.offer import with_gate
from handfast.core.suites import ML_DSA_65
from handfast_cpython.crypto import Crypto

CRYPTO = Crypto()
DEVICE = identity(CRYPTO, ML_DSA_65, b"\x44" * 32, "device.example")
MALLORY = identity(CRYPTO, ML_DSA_65, b"\x4d" * 32, "hub.example")
CHAN = b"chan"

# One choice for each payload that is on its way: (fate, number); number means what the fate wants.
FATES = ("deliver", "lose", "double", "delay", "change", "cut", "deliver and inject", "lose and inject")
INJECTIONS = ("forged", "signed", "error 1", "error 2", "error 3", "old", "noise", "own message_1", "swap")
CHOICES = st.lists(st.tuples(st.sampled_from(FATES), st.integers(0, 2**16 - 1)), max_size=40)
NOISE = st.lists(st.binary(max_size=60), max_size=5)
SLOW = settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])


class CountedCrypto:
    """The machine's crypto, counting what a device spends on one attempt."""

    def __init__(self) -> None:
        self.decapsulated = 0
        self.opened = 0

    def __getattr__(self, name: str) -> object:
        return getattr(CRYPTO, name)

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        self.decapsulated += 1
        return CRYPTO.decapsulate(kem, seed, ciphertext)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        self.opened += 1
        return CRYPTO.open(algorithm, key, nonce, aad, ciphertext)


class Network:
    """One attempt of one device through a network that a list of choices governs."""

    def __init__(
        self, hub: SmallHub, choices: list[tuple[str, int]], noise: list[bytes], name: bytes
    ) -> None:
        self.hub = hub
        self.crypto = CountedCrypto()
        self.machine = Initiator(
            self.crypto,  # type: ignore[arg-type]
            CountingRandom(CRYPTO, name),
            DEVICE,
            hub.hub_id,
            token=TOKEN if hub.tokens else None,
        )
        self.sent: list[tuple[float, bytes]] = []
        self.answers: list[bytes] = []
        self.result: object = None
        self._choices = list(reversed(choices))
        self._noise = noise
        self._carried: list[bytes] = []
        self._queue: list[tuple[float, int, bool, bytes]] = []
        self._count = 0

    def run(self) -> object:
        """Until the device knows how it ended; its last event."""
        self.machine.start(0.0)
        self._pump(0.0)
        while self.machine.state not in states.FINAL:
            timer = self.machine.timer()
            assert timer is not None
            if self._queue and self._queue[0][0] <= timer:
                now, _, up, payload = heapq.heappop(self._queue)
                self._arrive(now, up, payload)
            else:
                now = timer
                self.machine.handle_timer(now)
            self._pump(now)
        assert now <= SESSION_LIFETIME
        return self.result

    def _arrive(self, now: float, up: bool, payload: bytes) -> None:
        if up:
            for answer in self.hub.receive(CHAN, payload, now):
                self.answers.append(answer)
                self._carry(now, False, answer)
            return
        try:
            self.machine.receive(payload, now)
        except PeerError:
            pass

    def _pump(self, now: float) -> None:
        event = self.machine.next_event()
        while event is not None:
            self.result = event
            if isinstance(event, events.CredentialPresented):
                credential = event.credential
                if credential is not None and credential.thumbprint == self.hub.hub_id:
                    self.machine.accept(credential, now)
                else:
                    self.machine.refuse("not the pinned hub")
            event = self.machine.next_event()
        for frame in self.machine.frames_to_send(now):
            self.sent.append((now, frame))
            self._carry(now, True, frame)

    def _carry(self, now: float, up: bool, payload: bytes) -> None:
        fate, number = self._choices.pop() if self._choices else ("deliver", 0)
        self._carried.append(payload)
        at = number % len(payload)
        if fate == "change":
            payload = payload[:at] + bytes((payload[at] ^ (1 << number % 8),)) + payload[at + 1 :]
        elif fate == "cut":
            payload = payload[:at]
        if not fate.startswith("lose"):
            self._queue_at(now + (number % 20 if fate == "delay" else 0.1), up, payload)
        if fate == "double":
            self._queue_at(now + number % 7, up, payload)
        if fate.endswith("inject"):
            self._inject(now, up, INJECTIONS[number % len(INJECTIONS)], number)

    def _inject(self, now: float, up: bool, what: str, number: int) -> None:
        """What an attacker makes of what he has seen; he may send to either side."""
        message_1 = read_message_1(self.sent[0][1]) if self.sent else None
        if message_1 is None:
            return
        payload, copies = b"", 1
        hub = self.hub.identity.credential
        if what == "forged":
            make = id_cred_by_kid if number & 16 else id_cred_by_value
            payload = forged_message_2(CRYPTO, self.sent[0][1], make(hub), None, number % 251 + 1)
            copies = 1 + number % 3
        elif what == "signed":
            payload = forged_message_2(CRYPTO, self.sent[0][1], id_cred_by_value(MALLORY.credential), MALLORY)
        elif what.startswith("error"):
            info: object = {"error 1": "go away", "error 2": (-22,), "error 3": True}[what]
            payload = error_frame(message_1.c_i, int(what[-1]), info)
        elif what == "old":
            payload, up = self._carried[number % len(self._carried)], bool(number & 32)
        elif what == "noise":
            noise = self._noise[number % len(self._noise)] if self._noise else b"\x00"
            prefix = messages.encode_frame(messages.Frame(message_1.c_i, b"", None))
            payload = prefix + noise if number & 32 else noise
        elif what == "own message_1":
            method, suites_i, g_x, c_i, _ = message_1
            bare = messages.Message1(method, suites_i, g_x, c_i[:-1] + b"?", [])
            payload, up = frame_of(with_gate(CRYPTO, self.hub.hub_id, None, WANT_KID, bare)), True
        else:
            # The answer to another session, with the name of this one on it.
            c_i = messages.decode_frame(self._carried[-1]).c_x or message_1.c_i
            payload = messages.encode_frame(messages.Frame(c_i, b"\x58\x20" + bytes(32), None))
        for _ in range(copies):
            self._queue_at(now + 0.05, up and what in ("old", "own message_1", "noise", "swap"), payload)

    def _queue_at(self, at: float, up: bool, payload: bytes) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, up, payload))


def _hub(by_token: bool) -> SmallHub:
    hub = SmallHub(CRYPTO, tokens=(TOKEN,) if by_token else ())
    hub.admitted.append(DEVICE.credential.thumbprint)
    return hub


def _check(network: Network, result: object) -> None:
    granted = {each.attempt: each for each in network.hub.granted}
    # One key for one attempt, whatever came how often.
    assert len(granted) == len(network.hub.granted) <= 1
    if isinstance(result, events.Established):
        assert granted[result.attempt].keys == result.keys
        assert granted[result.attempt].mixed == result.mixed
    else:
        assert isinstance(result, events.Failed)
    # Two messages at most, each byte for byte the same every time and at most four times.
    different = {frame for _, frame in network.sent}
    assert len(different) <= 2
    for frame in different:
        times = [now for now, each in network.sent if each == frame]
        assert len(times) <= 4
        for delay, (before, after) in zip((2.0, 4.0, 8.0), itertools.pairwise(times)):
            assert delay <= after - before <= 1.25 * delay + 1e-9
    # What nobody can make a device do more often.
    assert network.crypto.decapsulated <= MAX_UNVERIFIED_MESSAGES
    assert network.crypto.opened <= MAX_UNVERIFIED_MESSAGES
    # The hub says the same to the same: at most one message_2 and one message_4 of this session.
    c_i = read_message_1(network.sent[0][1]).c_i
    own = {answer for answer in network.answers if messages.decode_frame(answer).c_x == c_i}
    assert (
        len([answer for answer in own if len(answer) < 1024 and messages.decode_frame(answer).message]) <= 1
    )


@SLOW
@given(CHOICES, NOISE, st.booleans())
def test_both_sides_have_the_same_key_or_the_device_has_none(
    choices: list[tuple[str, int]], noise: list[bytes], by_token: bool
) -> None:
    hub = _hub(by_token)
    network = Network(hub, choices, noise, b"attempt")
    _check(network, network.run())
    # The hub's key of an attempt that came to nothing stands in nobody's way.
    hub.granted.clear()
    again = Network(hub, [], [], b"another attempt")
    result = again.run()
    _check(again, result)
    assert isinstance(result, events.Established)


def test_the_choices_reach_every_outcome() -> None:
    """The property above would be worth nothing if every run ended alike."""
    outcomes = set()
    for choices in (
        [],
        [("lose", 0)] * 3,
        [("lose", 0)] * 40,
        [("deliver and inject", INJECTIONS.index("forged"))] * 5,
        [("deliver and inject", INJECTIONS.index("error 2"))],
        [("double", 3)] * 40,
        [("deliver", 0), ("change", 900)] * 20,
    ):
        network = Network(_hub(False), choices, [], b"attempt")
        result = network.run()
        _check(network, result)
        error = type(result.error).__name__ if isinstance(result, events.Failed) else ""
        outcomes.add((type(result).__name__, error, network.crypto.decapsulated > 1))
    assert outcomes >= {
        ("Established", "", False),
        ("Established", "", True),
        ("Failed", "LinkTimeout", False),
        ("Failed", "UnsupportedSuiteError", False),
    }


@pytest.mark.parametrize("lost", range(4))
def test_a_payload_that_is_lost_thrice_is_made_good_by_the_fourth(lost: int) -> None:
    """Each message in turn: message_1 to message_4."""
    state = {"left": 3}

    class Loser(Network):
        def _carry(self, now: float, up: bool, payload: bytes) -> None:
            number = (0 if not any(len(frame) > 3000 for _, frame in self.sent) else 2) + (0 if up else 1)
            if number == lost and state["left"]:
                state["left"] -= 1
                return
            super()._carry(now, up, payload)

    network = Loser(_hub(True), [], [], b"attempt")
    result = network.run()
    _check(network, result)
    assert isinstance(result, events.Established)
    assert state["left"] == 0
