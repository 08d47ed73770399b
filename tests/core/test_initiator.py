"""The device's side: what it sends, what it believes, how long it waits, and what nobody can make it do."""

from host_crypto import crypto
from outsider import error_frame, forged_message_2, read_message_1
from pair import HUB_SEED, TOKEN, Pair, identity
from refusal import refused

from handfast.core import ead, events, messages, states
from handfast.core.credentials import id_cred_by_kid, id_cred_by_value
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LinkTimeout,
    LocalError,
    RefusedError,
    UnexpectedMessageError,
    UnknownCredentialError,
    UnsupportedSuiteError,
)
from handfast.core.initiator import DRAWS, Initiator
from handfast.core.suites import ML_DSA_65

# What it offers ---------------------------------------------------------------------------------


def test_it_offers_its_suites_up_to_the_selected_one() -> None:
    for number, offered in ((-21, (-21,)), (-22, (-21, -22))):
        pair = Pair(crypto, number)
        assert read_message_1(_started(pair)).suites_i == offered


def test_no_suite_outside_its_list_can_be_selected() -> None:
    refused(LocalError, lambda: Pair(crypto, -22, (-21,)))
    refused(LocalError, lambda: Pair(crypto, -23, (-21, -22)))
    pair = Pair(crypto)
    own, hub_id = pair.device, pair.hub.credential.thumbprint
    # A suite of another signature algorithm than that of our key, and one that is nobody's.
    refused(LocalError, Initiator, crypto, pair.device_random, own, hub_id, None, (-23,))
    refused(LocalError, Initiator, crypto, pair.device_random, own, hub_id, None, (-25,))


def test_it_asks_for_the_credential_of_the_hub_until_it_knows_it() -> None:
    for known, want in ((False, 1), (True, 0)):
        pair = Pair(crypto, hub_known=known)
        gate = ead.read_items(1, read_message_1(_started(pair)).ead_1)[65280]
        assert gate.want == want
        pair.advance("initiator", states.CREDENTIAL_R)
        shown = pair.device_events[0]
        assert (shown.credential is None, shown.token_id) == (known, None)


def test_it_shows_its_own_credential_by_value_or_by_kid_as_told() -> None:
    for by_kid in (False, True):
        pair = Pair(crypto, by_kid=by_kid)
        pair.run()
        shown = pair.hub_events[1]
        own = pair.device.credential
        assert shown.id_cred == (id_cred_by_kid(own) if by_kid else id_cred_by_value(own))
        assert shown.credential == (None if by_kid else own)


def test_two_attempts_share_no_ephemeral_value() -> None:
    first, second = [read_message_1(_started(Pair(crypto, name=name))) for name in (b"one", b"two")]
    assert first.g_x != second.g_x
    assert first.c_i != second.c_i
    assert len(first.c_i) == 8


def test_it_draws_exactly_what_it_announces() -> None:
    pair = Pair(crypto, token=TOKEN)
    pair.run()
    assert pair.device_random.count == DRAWS


def test_nothing_identifies_the_device_before_the_hub_is_verified() -> None:
    pair = Pair(crypto, token=TOKEN, held=b"attempt before..")
    frame_1 = _started(pair)
    own = pair.device.credential
    for value in (own.kid, own.public_key[:32], own.subject.encode(), b"attempt before..", TOKEN.k_tok):
        assert value not in frame_1


# Whom it believes -------------------------------------------------------------------------------


def test_a_message_2_by_an_encapsulation_of_an_attacker_is_passed_over() -> None:
    """Unsigned, signed with another key, by value and by kid; then the hub's own goes through."""
    pair = Pair(crypto)
    frame_1 = _started(pair)
    mallory = identity(crypto, ML_DSA_65, b"\x4d" * 32, "hub.example")
    hub = pair.hub.credential
    forgeries = (
        forged_message_2(crypto, frame_1, id_cred_by_value(hub)),
        forged_message_2(crypto, frame_1, id_cred_by_kid(hub)),
        forged_message_2(crypto, frame_1, id_cred_by_value(mallory.credential), mallory),
    )
    for forgery in forgeries:
        pair.initiator.receive(forgery, 0.0)
        pair.device_shell()
        assert (pair.initiator.state, pair.initiator.frames_to_send(0.0)) == (states.WAIT_MESSAGE_2, [])
    _finish(pair)


def test_only_the_pinned_hub_is_accepted_whatever_the_shell_says() -> None:
    """The shell may err: a good signature of another hub is worth nothing."""
    pair = Pair(crypto)
    frame_1 = _started(pair)
    mallory = identity(crypto, ML_DSA_65, b"\x4d" * 32, "hub.example")
    pair.initiator.receive(
        forged_message_2(crypto, frame_1, id_cred_by_value(mallory.credential), mallory), 0.0
    )
    pair.initiator.accept(mallory.credential, 0.0)
    assert (pair.initiator.state, pair.initiator.frames_to_send(0.0)) == (states.WAIT_MESSAGE_2, [])


def test_our_own_credential_is_no_hub() -> None:
    pair = Pair(crypto)
    device = identity(crypto, ML_DSA_65, HUB_SEED, "device.example")
    machine = Initiator(crypto, pair.device_random, device, device.credential.thumbprint)
    machine.start(0.0)
    frame_1 = machine.frames_to_send(0.0)[0]
    machine.receive(forged_message_2(crypto, frame_1, id_cred_by_kid(device.credential), device), 0.0)
    # The same key under another name is our own key all the same.
    machine.accept(pair.hub.credential, 0.0)
    assert machine.state == states.FAILED


def test_eight_forgeries_end_the_session_and_seven_do_not() -> None:
    pair = Pair(crypto)
    frame_1 = _started(pair)
    forgery = forged_message_2(crypto, frame_1, id_cred_by_value(pair.hub.credential))
    for _ in range(7):
        pair.initiator.receive(forgery, 0.0)
        pair.device_shell()
    _finish(pair)
    pair = Pair(crypto)
    _started(pair)
    for _ in range(8):
        pair.initiator.receive(forgery, 0.0)
        pair.device_shell()
    assert pair.initiator.state == states.FAILED
    assert isinstance(pair.device_events[-1].error, AuthenticationError)


def test_a_hub_that_the_shell_refuses_is_one_more_forgery() -> None:
    pair = Pair(crypto)
    pair.advance("initiator", states.CREDENTIAL_R)
    pair.initiator.refuse("not ours")
    assert pair.initiator.state == states.WAIT_MESSAGE_2
    for _ in range(7):
        pair.initiator.receive(pair.frames[-1], 0.0)
        pair.initiator.next_event()
        pair.initiator.refuse("not ours")
    failed = pair.initiator.next_event()
    assert isinstance(failed.error, RefusedError)
    assert failed.error.detail == "not ours"


def test_forgeries_of_message_2_leave_all_tries_for_message_4() -> None:
    pair = Pair(crypto)
    frame_1 = _started(pair)
    forgery = forged_message_2(crypto, frame_1, id_cred_by_value(pair.hub.credential))
    for _ in range(7):
        pair.initiator.receive(forgery, 0.0)
        pair.device_shell()
    pair.advance("responder", states.ESTABLISHED)
    frame_4 = pair.frames[-1]
    for at in range(1, 8):
        wrong = frame_4[:-at] + bytes((frame_4[-at] ^ 1,)) + frame_4[len(frame_4) - at + 1 :]
        refused(AuthenticationError, pair.initiator.receive, wrong, 0.0)
    pair.initiator.receive(frame_4, 0.0)
    assert pair.initiator.state == states.ESTABLISHED


def test_copies_of_a_good_message_are_no_tries() -> None:
    """The hub answers each copy of message_1, and a broker may double every answer."""
    pair = Pair(crypto)
    pair.advance("initiator", states.WAIT_MESSAGE_4)
    frame_2 = pair.frames[1]
    for _ in range(50):
        refused(DecodeError, pair.initiator.receive, frame_2, 0.0)
    pair.advance("initiator", states.ESTABLISHED)
    for frame in pair.frames:
        refused(UnexpectedMessageError, pair.initiator.receive, frame, 0.0)


def test_what_cannot_be_a_message_costs_no_try() -> None:
    pair = Pair(crypto)
    frame_1 = _started(pair)
    c_i = read_message_1(frame_1).c_i
    short = messages.encode_frame(messages.Frame(c_i, messages.encode_message_2(b"", b"short"), None))
    for _ in range(50):
        refused(DecodeError, pair.initiator.receive, short, 0.0)
    _finish(pair)


def test_payloads_of_other_sessions_are_not_looked_at() -> None:
    other = Pair(crypto, name=b"another session")
    other.run()
    pair = Pair(crypto)
    _started(pair)
    for _ in range(20):
        for frame in other.frames:
            refused(UnexpectedMessageError, pair.initiator.receive, frame, 0.0)
    _finish(pair)


def test_before_its_start_it_takes_nothing() -> None:
    pair = Pair(crypto)
    other = Pair(crypto)
    other.run()
    for frame in other.frames + [messages.encode_frame(messages.Frame(b"", b"\x41x", None)), b"\xf5"]:
        refused(UnexpectedMessageError, pair.initiator.receive, frame, 0.0)
    _finish(pair)


# Error messages ---------------------------------------------------------------------------------


def test_an_error_message_of_code_1_or_of_an_unknown_code_ends_nothing() -> None:
    for state in (states.WAIT_MESSAGE_2, states.WAIT_MESSAGE_4):
        pair = Pair(crypto)
        pair.advance("initiator", state)
        c_i = read_message_1(pair.frames[0]).c_i
        for code, info in ((1, "go away"), (4, None), (23, b"x"), (-1, [1])):
            refused(UnexpectedMessageError, pair.initiator.receive, error_frame(c_i, code, info), 0.0)
        assert pair.initiator.state == state
        pair.advance("initiator", states.ESTABLISHED)


def test_a_wrong_suite_is_believed_before_message_2_alone() -> None:
    pair = Pair(crypto)
    frame_1 = _started(pair)
    c_i = read_message_1(frame_1).c_i
    pair.initiator.receive(error_frame(c_i, 2, (-22, -30)), 0.0)
    failed = pair.initiator.next_event()
    assert isinstance(failed.error, UnsupportedSuiteError)
    assert failed.error.suites == (-22, -30)
    pair = Pair(crypto)
    pair.advance("initiator", states.WAIT_MESSAGE_4)
    refused(UnexpectedMessageError, pair.initiator.receive, error_frame(c_i, 2, (-22,)), 0.0)
    pair.advance("initiator", states.ESTABLISHED)


def test_an_unknown_credential_is_believed_only_when_it_was_named_by_kid() -> None:
    for by_kid in (False, True):
        pair = Pair(crypto, by_kid=by_kid)
        pair.advance("initiator", states.WAIT_MESSAGE_4)
        frame = error_frame(read_message_1(pair.frames[0]).c_i, 3, True)
        if by_kid:
            pair.initiator.receive(frame, 0.0)
            assert isinstance(pair.initiator.next_event().error, UnknownCredentialError)
        else:
            refused(UnexpectedMessageError, pair.initiator.receive, frame, 0.0)
            pair.advance("initiator", states.ESTABLISHED)


# Time -------------------------------------------------------------------------------------------


def test_message_1_and_message_3_go_out_again_byte_for_byte_after_2_4_and_8_seconds() -> None:
    for state in (states.WAIT_MESSAGE_2, states.WAIT_MESSAGE_4):
        pair = Pair(crypto)
        pair.advance("initiator", state)
        machine, frame, now = pair.initiator, pair.frames[-1], 0.0
        for delay in (2.0, 4.0, 8.0):
            at = machine.timer()
            assert delay <= at - now <= 1.25 * delay
            machine.handle_timer(at - 0.001)
            assert machine.frames_to_send(at) == []
            machine.handle_timer(at)
            assert machine.frames_to_send(at) == [frame]
            assert machine.frames_to_send(at) == []
            now = at
        assert machine.timer() == 60.0
        machine.handle_timer(59.9)
        assert machine.frames_to_send(59.9) == []


def test_a_fleet_does_not_ask_again_at_once() -> None:
    times = set()
    for number in range(8):
        pair = Pair(crypto, name=b"device %d" % number)
        _started(pair)
        times.add(pair.initiator.timer())
    assert len(times) > 4
    assert min(times) >= 2.0
    assert max(times) <= 2.5


def test_a_session_lives_60_seconds_whatever_happens_in_it() -> None:
    for state in (states.WAIT_MESSAGE_2, states.WAIT_MESSAGE_4):
        pair = Pair(crypto)
        pair.once()
        while pair.initiator.state != state:
            pair.once(50.0)
        pair.initiator.handle_timer(59.9)
        assert pair.initiator.state == state
        pair.initiator.handle_timer(60.0)
        failed = pair.initiator.next_event()
        assert isinstance(failed.error, LinkTimeout)
        assert (pair.initiator.state, pair.initiator.timer()) == (states.FAILED, None)
        assert pair.initiator.frames_to_send(60.0) == []


def test_a_good_message_that_comes_too_late_is_not_taken() -> None:
    """Also when nobody had time to handle the timer: whoever floods the link cannot keep a session alive."""
    for who in ("message_2", "message_4"):
        pair = Pair(crypto)
        while pair.due != ("initiator", who):
            pair.once()
        refused(UnexpectedMessageError, pair.initiator.receive, pair.frames[-1], 60.0)
        assert pair.initiator.state == states.FAILED
        assert isinstance(pair.initiator.next_event(), events.Failed)


def test_a_handled_timer_that_is_late_sends_one_frame() -> None:
    pair = Pair(crypto)
    frame = _started(pair)
    pair.initiator.handle_timer(40.0)
    assert pair.initiator.frames_to_send(40.0) == [frame]
    assert pair.initiator.timer() <= 45.0


# The end ----------------------------------------------------------------------------------------


def test_in_production_nothing_can_be_exported_but_the_keys_of_the_event() -> None:
    pair = Pair(crypto)
    device, hub = pair.run()
    assert device.keys == hub.keys
    assert (device.device_id, device.epoch, device.attempt) == (b"device-1", 7, pair.initiator.attempt)
    assert (device.credential, hub.credential) == (pair.hub.credential, pair.device.credential)
    for machine in (pair.initiator, pair.responder):
        refused(LocalError, machine.exporter, 0, b"", 32)


def _started(pair: Pair) -> bytes:
    pair.once()
    return pair.frames[0]


def _finish(pair: Pair) -> None:
    """The genuine answers after all that was tried: both sides have the same key."""
    pair.advance("initiator", states.ESTABLISHED)
    assert pair.device_events[-1].keys == pair.hub_events[-1].keys
