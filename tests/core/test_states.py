"""The state table: it is whole, the machines act by it and by nothing else, the page shows it."""

import state_diagram
from host_crypto import crypto
from pair import Pair, machine_in
from refusal import refused

from handfast.core import events, messages, states
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LocalError,
    UnexpectedMessageError,
    UnsupportedSuiteError,
)
from handfast.core.initiator import Initiator
from handfast.core.responder import Responder

TABLES = (("initiator", states.INITIATOR), ("responder", states.RESPONDER))
MESSAGES = ("message_1", "message_2", "message_3", "message_4")
_FOLDER, _SLASH, _ = __file__.rpartition("/")
DOCS = (_FOLDER + _SLASH or "./") + "../../docs/states.md"


def test_every_state_but_a_final_one_has_an_exit() -> None:
    for _, table in TABLES:
        for state in _states(table):
            exits = [event for before, event in table if before == state and table[before, event] != state]
            assert bool(exits) == (state not in states.FINAL), state


def test_every_state_can_be_reached_and_leads_to_an_end() -> None:
    for _, table in TABLES:
        reached = _closure(table, states.START)
        assert reached == _states(table)
        for state in reached:
            assert states.FAILED in _closure(table, state) or state in states.FINAL, state


def test_a_step_without_a_row_is_refused_by_whose_mistake_it_is() -> None:
    for _, table in TABLES:
        for state in _states(table):
            for event in {event for _, event in table}:
                if (state, event) in table:
                    assert states.step(table, state, event) == table[state, event]
                    continue
                expected = LocalError if event in states.CALLS else UnexpectedMessageError
                refused(expected, states.step, table, state, event)


def test_the_machines_use_every_row_and_ask_for_no_other() -> None:
    """Whole handshakes, good and bad, with the table's door watched."""
    used = set()
    step = states.step

    def watched(table: "dict[tuple[str, str], str]", state: str, event: str) -> str:
        after = step(table, state, event)
        used.add((table is states.INITIATOR, state, event))
        return after

    states.step = watched
    # A board's Crypto lets go of `states` on the way, and a device loads it anew.
    after = Initiator._after
    Initiator._after = lambda machine, event: watched(states.INITIATOR, machine.state, event)
    try:
        for scenario in SCENARIOS:
            scenario()
    finally:
        states.step = step
        Initiator._after = after
    rows = {(table is states.INITIATOR, state, event) for _, table in TABLES for state, event in table}
    assert rows - used == set(), "rows that no machine uses"
    assert used - rows == set()


def test_an_illegal_call_is_a_local_error_and_changes_nothing() -> None:
    for who, table in TABLES:
        for state in _states(table):
            pair, machine = machine_in(crypto, who, state)
            before = _picture(machine)
            for call in states.CALLS:
                if (state, call) in table or not hasattr(machine, call):
                    continue
                refused(LocalError, getattr(machine, call), *_arguments(pair, who, call))
                assert _picture(machine) == before, (state, call)


def test_a_message_in_the_wrong_state_is_refused_and_changes_nothing() -> None:
    pair = Pair(crypto)
    pair.run()
    for who, table in TABLES:
        for state in _states(table):
            _, machine = machine_in(crypto, who, state)
            before = _picture(machine)
            for number, frame in enumerate(pair.frames):
                if (state, MESSAGES[number]) in table or (state, number) == (states.WAIT_MESSAGE_4, 3):
                    continue
                # A message has no number on the wire: where another of the peer's is awaited, it is that
                # one, with a length that it cannot have.
                awaited = (state, number) in ((states.WAIT_MESSAGE_2, 3), (states.WAIT_MESSAGE_4, 1))
                expected = DecodeError if awaited else UnexpectedMessageError
                refused(expected, machine.receive, frame, 0.0)
                assert _picture(machine) == before, (state, number)


def test_an_error_message_without_a_row_changes_nothing() -> None:
    believed = ((states.WAIT_MESSAGE_2, 2),)
    errors = (messages.ErrorMessage(1, "x"), messages.ErrorMessage(2, (-21,)), messages.ErrorMessage(3, True))
    for who, table in TABLES:
        for state in _states(table):
            _, machine = machine_in(crypto, who, state)
            before = _picture(machine)
            for error in errors:
                if (state, error.code) in believed:
                    continue
                c_x = getattr(machine, "_c_i", None) if who == "initiator" else machine.c_r
                frame = messages.encode_frame(messages.Frame(c_x or b"nobody's", None, error))
                refused(UnexpectedMessageError, machine.receive, frame, 0.0)
                assert _picture(machine) == before, (state, error.code)


def test_a_finished_machine_asks_for_no_more_time() -> None:
    for who in ("initiator", "responder"):
        for state in states.FINAL:
            _, machine = machine_in(crypto, who, state)
            machine.frames_to_send(0.0)
            assert machine.timer() is None
            machine.handle_timer(1e6)
            assert (machine.state, machine.next_event(), machine.frames_to_send(1e6)) == (state, None, [])


def test_the_page_of_the_states_is_the_table() -> None:
    with open(DOCS) as file:
        assert file.read() == state_diagram.page()


def test_the_diagram_holds_every_row() -> None:
    for _, table in TABLES:
        drawn = state_diagram.mermaid(table)
        for before, event in table:
            lines = [
                line for line in drawn.split("\n") if "%s --> %s: " % (before, table[before, event]) in line
            ]
            assert len(lines) == 1
            assert event in lines[0].split(": ")[1].split(", ")


# Scenarios that between them use every row -----------------------------------------------------


def _granted() -> None:
    device, hub = Pair(crypto).run()
    assert (type(device).__name__, type(hub).__name__) == ("Established", "Established")


def _denied() -> None:
    device, hub = Pair(crypto, deny=2).run()
    assert (type(device).__name__, type(hub).__name__) == ("Refused", "Refused")


def _garbage_for_message_2() -> None:
    pair, machine = machine_in(crypto, "initiator", states.WAIT_MESSAGE_2)
    pair.advance("responder", states.WAIT_MESSAGE_3)
    for _ in range(8):
        assert machine.state == states.WAIT_MESSAGE_2
        # Another ciphertext of the KEM: all that it hides turns into noise.
        refused(DecodeError, machine.receive, _spoiled(pair.frames[-1], 100), 0.0)
    assert machine.state == states.FAILED


def _hub_that_is_not_trusted() -> None:
    pair, machine = machine_in(crypto, "initiator", states.CREDENTIAL_R)
    frame = pair.frames[-1]
    for _ in range(8):
        assert machine.state == states.CREDENTIAL_R
        machine.refuse("another hub")
        if machine.state == states.WAIT_MESSAGE_2:
            machine.receive(frame, 0.0)
    assert machine.state == states.FAILED


def _credential_of_another() -> None:
    pair, machine = machine_in(crypto, "initiator", states.CREDENTIAL_R)
    machine.accept(pair.device.credential, 0.0)
    assert machine.state == states.WAIT_MESSAGE_2


def _another_suite() -> None:
    pair = Pair(crypto, hub_suites=(-22,))
    pair.initiator.start(0.0)
    refused(UnsupportedSuiteError, pair.step)
    pair.step()
    assert pair.initiator.state == states.FAILED


def _unknown_kid() -> None:
    pair = Pair(crypto, by_kid=True)
    pair.advance("responder", states.CREDENTIAL_I)
    pair.responder.refuse("who is that?")
    pair.initiator.receive(pair.responder.frames_to_send(0.0)[0], 0.0)
    assert (pair.initiator.state, pair.responder.state) == (states.FAILED, states.FAILED)


def _garbage_for_message_4() -> None:
    pair, _ = machine_in(crypto, "responder", states.ESTABLISHED)
    for _ in range(8):
        assert pair.initiator.state == states.WAIT_MESSAGE_4
        refused(AuthenticationError, pair.initiator.receive, _spoiled(pair.frames[-1], -1), 0.0)
    assert pair.initiator.state == states.FAILED


def _too_late() -> None:
    for who, table in TABLES:
        for state, event in table:
            if event == "expired":
                _, machine = machine_in(crypto, who, state)
                machine.handle_timer(60.0)
                assert machine.state == states.FAILED
                assert isinstance(machine.next_event(), events.Failed)


def _no_gate() -> None:
    pair = Pair(crypto)
    pair.initiator.start(0.0)
    first = messages.decode_message_1(messages.decode_frame(pair.initiator.frames_to_send(0.0)[0]).message)
    bare = messages.encode_message_1(messages.Message1(*first[:4], []))
    frame = messages.encode_frame(messages.Frame(None, bare, None))
    refused(DecodeError, pair.responder.receive, frame, 0.0)


def _wrong_gate() -> None:
    _, machine = machine_in(crypto, "responder", states.GATE)
    refused(AuthenticationError, machine.pass_gate, bytes(32))


def _no_key_in_g_x() -> None:
    _, machine = machine_in(crypto, "responder", states.OPEN)
    method, suites_i, g_x, c_i, ead_1 = machine._received_1
    # Coefficients of 4095 are not below q (FIPS 203 section 7.2).
    g_x = b"\xff" * 1184 + g_x[1184:]
    machine._received_1 = messages.Message1(method, suites_i, g_x, c_i, ead_1)
    refused(DecodeError, machine.answer, 0.0)


def _garbage_for_message_3() -> None:
    pair, _ = machine_in(crypto, "initiator", states.WAIT_MESSAGE_4)
    refused(AuthenticationError, pair.responder.receive, _spoiled(pair.frames[-1], -1), 0.0)
    assert pair.responder.state == states.WAIT_MESSAGE_3


def _message_3_without_rootc() -> None:
    class Forgetful(Initiator):
        def _ead_3(self, th_3: bytes) -> bytes:
            return b""

    pair = Pair(crypto, initiator=Forgetful)
    pair.initiator.start(0.0)
    pair.step()
    refused(DecodeError, pair.step)


def _impostor() -> None:
    pair, machine = machine_in(crypto, "responder", states.CREDENTIAL_I)
    machine.accept(pair.hub.credential, None)
    assert machine.state == states.FAILED


def _hub_that_breaks_the_rules() -> None:
    class Silent(Responder):
        def _message_4(self, items: "list[object]") -> None:
            super()._message_4([])

    device, _ = Pair(crypto, responder=Silent).run()
    assert isinstance(device, events.Failed)


SCENARIOS = (
    _granted,
    _denied,
    _garbage_for_message_2,
    _hub_that_is_not_trusted,
    _credential_of_another,
    _another_suite,
    _unknown_kid,
    _garbage_for_message_4,
    _too_late,
    _no_gate,
    _wrong_gate,
    _no_key_in_g_x,
    _garbage_for_message_3,
    _message_3_without_rootc,
    _impostor,
    _hub_that_breaks_the_rules,
)


def _states(table: "dict[tuple[str, str], str]") -> "set[str]":
    return {state for state, _ in table} | set(table.values())


def _closure(table: "dict[tuple[str, str], str]", start: str) -> "set[str]":
    """Every state that can be reached from `start`."""
    reached, more = set(), {start}
    while more:
        reached |= more
        more = {table[state, event] for state, event in table if state in reached} - reached
    return reached


def _picture(machine: object) -> "list[tuple[str, object]]":
    """Everything that a machine holds, to be compared later."""
    held = []
    for name in sorted(machine.__dict__):
        value = machine.__dict__[name]
        if isinstance(value, list):
            value = list(value)
        elif hasattr(value, "timer"):
            value = _picture(value)
        held.append((name, value))
    return held


def _arguments(pair: Pair, who: str, call: str) -> "tuple[object, ...]":
    if call == "accept":
        return (pair.hub.credential, 0.0) if who == "initiator" else (pair.device.credential, None)
    known = {"grant": (b"device-1", 7), "deny": (2, 60), "pass_gate": (bytes(32),), "refuse": ("no",)}
    return known.get(call, (0.0,))


def _spoiled(frame: bytes, at: int) -> bytes:
    """The frame with one bit of byte `at` turned over."""
    changed = bytearray(frame)
    changed[at] ^= 1
    return bytes(changed)
