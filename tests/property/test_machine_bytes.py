"""Any bytes into a machine in any state: only PeerError comes out, and the genuine message is still taken.

The bytes are noise, damaged and spliced messages of real sessions, and, worse, whatever a peer with
good keys can put inside: any plaintext of message_2, message_3 and message_4 under the right key.
"""

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_place_crypto import InPlaceCrypto
from outsider import read_message_1
from pair import TOKEN, Pair, machine_in

from handfast.core import cbor, events, messages, sealed_messages, states
from handfast.core.credentials import id_cred_by_value
from handfast.core.errors import PeerError
from handfast.core.key_schedule import KeySchedule
from handfast.core.suites import suite
from handfast_cpython.crypto import Crypto

CRYPTO = Crypto()
ROUNDS = 100
WHOLE = Pair(CRYPTO, token=TOKEN, devinfo=b"\xa1\x00\x631.0")
WHOLE.run()
OTHER = Pair(CRYPTO, name=b"another session")
OTHER.run()
SEEDS = st.integers(0, 2**64 - 1)

# The states that wait for a message, and which call of pair.STEPS takes the genuine one.
WAITING = (
    ("initiator", states.WAIT_MESSAGE_2),
    ("initiator", states.WAIT_MESSAGE_4),
    ("responder", states.START),
    ("responder", states.WAIT_MESSAGE_3),
)
NOT_WAITING = tuple(
    (who, state)
    for who, table in (("initiator", states.INITIATOR), ("responder", states.RESPONDER))
    for state in sorted({state for state, _ in table} | set(table.values()))
    if (who, state) not in WAITING
)


def clone(machine: object) -> object:
    """The same machine once more; what it holds is values and lists of values."""
    other = copy.copy(machine)
    for name, value in vars(machine).items():
        if isinstance(value, (list, dict)) or hasattr(value, "timer"):
            setattr(other, name, copy.copy(value))
    return other


class Bytes:
    """Bytes that are worth trying, from one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def noise(self, length: int = 80) -> bytes:
        return self.dice.randbytes(self.dice.randrange(length))

    def damaged(self, data: bytes) -> bytes:
        """`data` after one to three accidents."""
        for _ in range(self.dice.randint(1, 3)):
            at = self.dice.randrange(len(data) + 1)
            kind = self.dice.randrange(5)
            if kind == 0 and at < len(data):
                data = data[:at] + bytes((data[at] ^ (1 << self.dice.randrange(8)),)) + data[at + 1 :]
            elif kind == 1:
                data = data[:at] + self.noise(6) + data[at:]
            elif kind == 2:
                data = data[:at] + data[at + self.dice.randrange(20) :]
            elif kind == 3:
                data = data[:at]
            else:
                data = data + self.noise(20)
        return data

    def value(self, depth: int = 0) -> object:
        """A CBOR value of the kinds that occur in messages."""
        kind = self.dice.randrange(9 if depth < 3 else 6)
        if kind < 2:
            return self.noise(40)
        if kind == 2:
            return self.dice.choice((0, 1, -1, 23, 24, -24, 65281, -65283, 65282, 2**32, -(2**64)))
        if kind == 3:
            return self.dice.choice((True, False, None))
        if kind == 4:
            return self.dice.choice(("", "sub", "\N{SNOWMAN}" * 60))
        if kind == 5:
            return self.dice.choice((WHOLE.hub.credential.kid, b"", b"\x00", bytes(64)))
        if kind == 6:
            return {self.dice.choice((1, 2, 4, 8, 14, -1, "x", b"y")): self.value(depth + 1)}
        return [self.value(depth + 1) for _ in range(self.dice.randrange(4))]

    def sequence(self) -> bytes:
        return b"".join(cbor.encode(self.value()) for _ in range(self.dice.randrange(7)))

    def items(self) -> list[tuple[int, bytes | None]]:
        """An EAD, good and bad items mixed."""
        labels = (0, 65280, -65281, 65282, -65283, -65284, -65287, 160, -160, 65281, -65282)
        inside = (b"", self.noise(), self.sequence(), cbor.encode([1, bytes(16), None, bytes(32)]))
        return [
            (self.dice.choice(labels), self.dice.choice((*inside, None)))
            for _ in range(self.dice.randrange(4))
        ]

    def plaintext(self, honest: bytes) -> bytes:
        """What a peer with good keys might seal."""
        kind = self.dice.randrange(4)
        if kind == 0:
            return self.damaged(honest)
        if kind == 1:
            return honest + messages.encode_ead(self.items())
        if kind == 2:
            return self.sequence()
        return self.noise()

    def payload(self, c_x: bytes) -> bytes:
        """What anybody might send."""
        prefix = cbor.encode(c_x)
        kind = self.dice.randrange(6)
        frame = self.dice.choice(WHOLE.frames + OTHER.frames)
        if kind == 0:
            return self.noise()
        if kind == 1:
            return prefix + self.sequence()
        if kind == 2:
            return self.damaged(frame)
        if kind == 3:
            return prefix + frame[9:]
        if kind == 4:
            at = self.dice.randrange(len(frame))
            return frame[:at] + self.dice.choice(WHOLE.frames)[at:]
        return b"\xf5" + self.damaged(WHOLE.frames[0][1:])


class Waiting:
    """A machine that waits for a message: made once, tried on copies."""

    def __init__(self, who: str, state: str, in_place: bool = False) -> None:
        # A device with little memory works in the payload itself.
        self.received: Any = (lambda payload: memoryview(bytearray(payload))) if in_place else bytes
        self.pair, self.machine = machine_in(InPlaceCrypto(CRYPTO) if in_place else CRYPTO, who, state)
        while self.pair.due[0] != who or not self.pair.due[1].startswith("message"):
            self.pair.once()
        self.who = who
        self.genuine = bytes(self.pair.frames[-1])
        c_i = read_message_1(self.pair.frames[0]).c_i
        self.c_x = c_i if who == "initiator" else self.pair.responder.c_r or b"c"

    def sealed(self, bytes_: Bytes) -> bytes:
        """A payload with a plaintext of the peer's choice under the right keys."""
        schedule = KeySchedule(CRYPTO, suite(-21))
        row = schedule.suite
        if self.machine.state == states.WAIT_MESSAGE_2:
            message_1 = messages.decode_frame(self.pair.frames[0]).message
            g_y, g_xy = CRYPTO.encapsulate(row.kem, read_message_1(self.pair.frames[0]).g_x, bytes(64))
            th_2 = schedule.th_2(g_y, message_1)
            prk_2e = schedule.prk_2e(th_2, g_xy)
            honest = messages.encode_plaintext_2(
                messages.Plaintext2(b"12345678", id_cred_by_value(self.pair.hub.credential), bytes(3309), [])
            )
            plaintext = bytes_.plaintext(honest)
            message = messages.encode_message_2(g_y, schedule.cipher_2(prk_2e, th_2, plaintext))
            return messages.encode_frame(messages.Frame(self.c_x, message, None))
        if self.machine.state == states.START:
            method, suites_i, g_x, c_i, ead_1 = read_message_1(self.pair.frames[0])
            fields = messages.Message1(method, suites_i, g_x, c_i, ead_1 + bytes_.items())
            return b"\xf5" + bytes_.dice.choice((messages.encode_message_1(fields), bytes_.sequence()))
        if self.who == "initiator":
            sealing, honest = self.machine._sealing_4, b""
        else:
            sealing = self.machine._sealing_3
            honest = messages.encode_plaintext_3(
                messages.Plaintext3(id_cred_by_value(self.pair.device.credential), bytes(3309), [])
            )
        ciphertext = sealed_messages.seal(schedule, sealing, bytes_.plaintext(honest))
        return messages.encode_frame(messages.Frame(self.c_x, cbor.encode(ciphertext), None))

    def attempt(self, payload: bytes) -> None:
        """Feed it; then either the session is over, or the genuine message is taken as ever."""
        machine = clone(self.machine)
        try:
            machine.receive(self.received(payload), 1.0)
        except PeerError:
            pass
        event = machine.next_event()
        if machine.state in states.FINAL:
            assert isinstance(event, (events.Failed, events.Refused, events.Established))
            if payload != self.genuine:
                assert not isinstance(event, events.Established)
            assert machine.timer() is None
            return
        if machine.state != self.machine.state:
            # It has the form of a message. What the shell does next shows whose it is.
            self.answer(machine, event)
            return
        machine.receive(self.received(self.genuine), 1.0)
        assert machine.state != self.machine.state
        assert machine.next_event() is not None

    def answer(self, machine: object, event: object) -> None:
        """What a shell does; nobody here holds a key of the other side, so it leads nowhere."""
        if isinstance(event, events.GatePresented):
            try:
                machine.pass_gate(self.pair.hub.credential.thumbprint)
                machine.answer(1.0)
            except PeerError:
                assert machine.state == states.FAILED
                return
            assert machine.state == states.WAIT_MESSAGE_3
        elif self.who == "initiator":
            machine.accept(event.credential or self.pair.hub.credential, 1.0)
            assert machine.state in (states.WAIT_MESSAGE_2, states.FAILED)
        else:
            machine.accept(event.credential or self.pair.device.credential, TOKEN)
            assert machine.state == states.FAILED


# Each as it is anywhere, and the device's also as it is on a board.
MACHINES = [Waiting(*each) for each in WAITING] + [Waiting(*each, in_place=True) for each in WAITING[:2]]
IDS = [" ".join(each) for each in WAITING] + [" ".join((*each, "in place")) for each in WAITING[:2]]


@pytest.mark.parametrize("waiting", MACHINES, ids=IDS)
@settings(max_examples=40)
@given(SEEDS)
def test_any_payload_is_refused_by_our_own_errors_and_the_genuine_one_still_counts(
    waiting: Waiting, seed: int
) -> None:
    bytes_ = Bytes(seed)
    for _ in range(ROUNDS):
        waiting.attempt(bytes_.payload(waiting.c_x))


@pytest.mark.parametrize("waiting", MACHINES, ids=IDS)
@settings(max_examples=20)
@given(SEEDS)
def test_any_plaintext_of_a_peer_with_good_keys_is_refused_by_our_own_errors(
    waiting: Waiting, seed: int
) -> None:
    bytes_ = Bytes(seed)
    for _ in range(ROUNDS):
        waiting.attempt(waiting.sealed(bytes_))


@pytest.mark.parametrize(("who", "state"), NOT_WAITING)
@settings(max_examples=5)
@given(SEEDS)
def test_where_no_message_is_awaited_nothing_is_taken(who: str, state: str, seed: int) -> None:
    bytes_ = Bytes(seed)
    pair, machine = machine_in(CRYPTO, who, state)
    machine.frames_to_send(1.0)
    c_x = read_message_1(WHOLE.frames[0]).c_i if who == "initiator" else pair.responder.c_r or b"c"
    for _ in range(ROUNDS):
        with pytest.raises(PeerError):
            machine.receive(bytes_.payload(c_x), 1.0)
    assert (machine.state, machine.next_event(), machine.frames_to_send(1.0)) == (state, None, [])
