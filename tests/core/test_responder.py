"""The hub's side: whom it answers, in which order it works, and what nobody can make it do."""

from host_crypto import crypto
from insider import device_that
from outsider import error_frame, frame_of, read_message_1
from pair import DEVICE_ID, DEVICE_SEED, EPOCH, TOKEN, Pair, identity
from refusal import refused

from handfast.core import events, messages, states
from handfast.core.constants import GATE_BY_HUB_ID, WANT_VALUE
from handfast.core.credentials import Identity, id_cred_by_kid, id_cred_by_value, make_ccs
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LinkTimeout,
    LocalError,
    RefusedError,
    UnexpectedMessageError,
    UnsupportedSuiteError,
)
from handfast.core.initiator import Initiator
from handfast.core.offer import with_gate
from handfast.core.responder import Responder
from handfast.core.suites import ML_DSA_65, SHA_256

# Suites -----------------------------------------------------------------------------------------


def test_a_better_common_suite_cannot_be_passed_over() -> None:
    """Whatever made the device select a weaker one: its own list in SUITES_I shows it."""
    pair = Pair(crypto, -22, hub_suites=(-21, -22))
    error = _refused_offer(pair)
    assert isinstance(error, UnsupportedSuiteError)
    assert error.suites == (-21, -22)
    _granted(Pair(crypto, -22, hub_suites=(-22,)))
    # Order is the device's; the hub has none against it.
    _granted(Pair(crypto, -21, hub_suites=(-22, -21)))


def test_a_list_that_was_stripped_on_the_way_is_a_handshake_that_fails() -> None:
    """Anybody can make a GATE of kind 0 anew; TH_2 holds the message_1 that the device has sent."""
    pair = Pair(crypto, -22, hub_suites=(-21, -22))
    pair.once()
    method, _, g_x, c_i, _ = read_message_1(pair.frames[0])
    bare = messages.Message1(method, (-22,), g_x, c_i, [])
    stripped = with_gate(crypto, pair.hub.credential.thumbprint, None, WANT_VALUE, bare)
    pair.responder.receive(frame_of(stripped), 0.0)
    pair.hub_shell()
    # Another TH_2 gives another key stream: the device reads noise.
    refused(DecodeError, pair.initiator.receive, pair.responder.frames_to_send(0.0)[0], 0.0)
    assert (pair.initiator.state, pair.initiator.frames_to_send(0.0)) == (states.WAIT_MESSAGE_2, [])


def test_a_wrong_offer_is_answered_with_our_suites_once_the_gate_is_passed() -> None:
    pair = Pair(crypto, -21, (-21,), hub_suites=(-22,))
    _refused_offer(pair)
    error = messages.decode_frame(pair.responder.frames_to_send(0.0)[0]).error
    assert (error.code, error.info) == (2, (-22,))
    assert pair.responder.frames_to_send(0.0) == []
    assert isinstance(pair.responder.next_event(), events.Failed)


def test_another_method_and_a_g_x_of_another_length_are_refused() -> None:
    pair = Pair(crypto)
    pair.once()
    method, suites_i, g_x, c_i, _ = read_message_1(pair.frames[0])
    for changed in ((3, suites_i, g_x), (method, suites_i, g_x[1:]), (method, suites_i, b"")):
        message = with_gate(
            crypto, pair.hub.credential.thumbprint, None, WANT_VALUE, messages.Message1(*changed, c_i, [])
        )
        responder = Pair(crypto).responder
        responder.receive(frame_of(message), 0.0)
        refused(DecodeError, responder.pass_gate, pair.hub.credential.thumbprint)
        assert messages.decode_frame(responder.frames_to_send(0.0)[0]).error.code == 1


def test_a_hub_serves_only_suites_that_its_key_can_sign() -> None:
    pair = Pair(crypto)
    refused(LocalError, Responder, crypto, pair.hub_random, pair.hub, (-21, -23))
    refused(LocalError, Responder, crypto, pair.hub_random, pair.hub, (-21, 0))


# message_1 and message_2 ------------------------------------------------------------------------


def test_the_gate_is_shown_before_anything_is_computed() -> None:
    """One hash: the digest by which the shell finds a copy of this message_1."""
    calls = []

    class Watched:
        def __init__(self) -> None:
            self.hash = self._count("hash")

        def _count(self, name: str) -> object:
            def call(*arguments: object) -> object:
                calls.append(name)
                return getattr(crypto, name)(*arguments)

            return call

    pair = Pair(crypto)
    pair.once()
    responder = Responder(Watched(), pair.hub_random, pair.hub)
    responder.receive(pair.frames[0], 0.0)
    message_1 = messages.decode_frame(pair.frames[0]).message
    assert responder.next_event() == events.GatePresented(
        GATE_BY_HUB_ID, None, crypto.hash(SHA_256, message_1)
    )
    assert calls == ["hash"]
    assert pair.hub_random.count == 0


def test_it_shows_its_credential_as_the_device_wants_it() -> None:
    for known, make in ((True, id_cred_by_kid), (False, id_cred_by_value)):
        pair = Pair(crypto, hub_known=known)
        pair.run()
        assert pair.device_events[0].id_cred == make(pair.hub.credential)


def test_nobody_without_a_good_g_x_costs_a_signature() -> None:
    pair = Pair(crypto)
    pair.once()
    method, suites_i, g_x, c_i, _ = read_message_1(pair.frames[0])
    bare = messages.Message1(method, suites_i, b"\xff" * 1184 + g_x[1184:], c_i, [])
    message = with_gate(crypto, pair.hub.credential.thumbprint, None, WANT_VALUE, bare)
    pair.responder.receive(frame_of(message), 0.0)
    pair.responder.pass_gate(pair.hub.credential.thumbprint)
    refused(DecodeError, pair.responder.answer, 0.0)
    assert pair.hub_random.count == 1
    assert pair.responder.state == states.FAILED


def test_a_message_1_in_a_session_that_has_one_is_not_taken() -> None:
    other = Pair(crypto, name=b"other")
    other.once()
    pair = Pair(crypto)
    pair.advance("responder", states.WAIT_MESSAGE_3)
    for frame in (pair.frames[0], other.frames[0]):
        refused(UnexpectedMessageError, pair.responder.receive, frame, 0.0)
    pair.advance("responder", states.ESTABLISHED)


# message_3 --------------------------------------------------------------------------------------


def test_a_message_3_that_does_not_open_ends_nothing_however_often() -> None:
    pair = Pair(crypto)
    pair.advance("initiator", states.WAIT_MESSAGE_4)
    frame_3 = pair.frames[-1]
    for at in range(100):
        wrong = frame_3[: 20 + at] + bytes((frame_3[20 + at] ^ 1,)) + frame_3[21 + at :]
        refused(AuthenticationError, pair.responder.receive, wrong, 0.0)
    c_r = pair.responder.c_r
    refused(
        DecodeError, pair.responder.receive, messages.encode_frame(messages.Frame(c_r, b"\x41", None)), 0.0
    )
    pair.advance("responder", states.ESTABLISHED)


def test_a_message_3_of_another_session_is_not_opened() -> None:
    other = Pair(crypto, name=b"other")
    other.advance("initiator", states.WAIT_MESSAGE_4)
    pair = Pair(crypto)
    pair.advance("responder", states.WAIT_MESSAGE_3)
    refused(UnexpectedMessageError, pair.responder.receive, other.frames[-1], 0.0)
    moved = messages.Frame(pair.responder.c_r, messages.decode_frame(other.frames[-1]).message, None)
    refused(AuthenticationError, pair.responder.receive, messages.encode_frame(moved), 0.0)
    pair.advance("responder", states.ESTABLISHED)


def test_error_messages_end_nothing() -> None:
    for state in (states.START, states.GATE, states.OPEN, states.WAIT_MESSAGE_3):
        pair = Pair(crypto)
        pair.advance("responder", state)
        for code, info in ((1, "stop"), (2, (-22,)), (3, True), (9, None)):
            frame = error_frame(pair.responder.c_r or b"c", code, info)
            refused(UnexpectedMessageError, pair.responder.receive, frame, 0.0)
        pair.advance("responder", states.ESTABLISHED)


def test_a_signature_by_another_key_is_refused() -> None:
    pair = Pair(crypto)
    pair.advance("responder", states.CREDENTIAL_I)
    mallory = identity(crypto, ML_DSA_65, b"\x4d" * 32, "device.example")
    pair.responder.accept(mallory.credential, None)
    failed = pair.responder.next_event()
    assert isinstance(failed.error, AuthenticationError)
    assert messages.decode_frame(pair.responder.frames_to_send(0.0)[0]).error.code == 1


def test_the_same_key_under_another_name_is_another_credential() -> None:
    """Misbinding: the signature covers CRED_I, subject included."""
    pair = Pair(crypto, by_kid=True)
    pair.advance("responder", states.CREDENTIAL_I)
    own = pair.device.credential
    pair.responder.accept(make_ccs(crypto, "somebody else", own.algorithm, own.public_key), None)
    assert isinstance(pair.responder.next_event().error, AuthenticationError)


def test_the_hub_s_own_key_is_no_device_under_any_name() -> None:
    class Reflecting(Initiator):
        def _make_message_3(self, credential: object, now: float) -> None:
            own = make_ccs(crypto, "device.example", credential.algorithm, credential.public_key)
            self._identity = Identity(DEVICE_SEED, own)
            self._id_cred_i = id_cred_by_value(own)
            super()._make_message_3(credential, now)

    pair = Pair(crypto, initiator=Reflecting)
    pair.advance("responder", states.CREDENTIAL_I)
    pair.responder.accept(pair.hub_events[-1].credential, None)
    failed = pair.responder.next_event()
    assert isinstance(failed.error, DecodeError)
    assert pair.responder.state == states.FAILED


def test_an_unknown_kid_is_answered_with_error_3_and_the_end() -> None:
    pair = Pair(crypto, by_kid=True)
    pair.advance("responder", states.CREDENTIAL_I)
    assert pair.hub_events[-1].credential is None
    pair.responder.refuse("nobody has this credential")
    failed = pair.responder.next_event()
    assert isinstance(failed.error, RefusedError)
    error = messages.decode_frame(pair.responder.frames_to_send(0.0)[0]).error
    assert (error.code, error.info) == (3, True)


def test_a_plaintext_3_that_is_authentic_and_malformed_ends_the_session() -> None:
    for items in ([(1, b"x"), (-2, None)], [(-65281, b"")]):
        pair = Pair(crypto, initiator=device_that(lambda honest, items=items: items + honest))
        pair.advance("initiator", states.WAIT_MESSAGE_4)
        refused(DecodeError, pair.responder.receive, pair.frames[-1], 0.0)
        assert pair.responder.state == states.FAILED


# The answer -------------------------------------------------------------------------------------


def test_grant_gives_the_keys_once_with_one_r_h() -> None:
    pair = Pair(crypto, token=TOKEN)
    pair.advance("responder", states.AUTHENTICATED)
    draws = pair.hub_random.count
    pair.responder.grant(DEVICE_ID, EPOCH)
    assert pair.hub_random.count == draws + 1
    refused(LocalError, pair.responder.grant, DEVICE_ID, EPOCH)
    refused(LocalError, pair.responder.deny, 2, 60)
    assert len(pair.responder.frames_to_send(0.0)) == 1
    granted = pair.responder.next_event()
    assert (granted.device_id, granted.epoch, granted.mixed) == (DEVICE_ID, EPOCH, True)
    assert pair.responder.next_event() is None


def test_an_answer_that_no_device_could_read_is_not_given() -> None:
    pair = Pair(crypto)
    pair.advance("responder", states.AUTHENTICATED)
    for device_id, epoch in ((b"seven b", 0), (DEVICE_ID, -1), (DEVICE_ID, 65536)):
        refused(LocalError, pair.responder.grant, device_id, epoch)
    for code, seconds in ((0, 1), (3, 1), (1, -1), (2, 2**32)):
        refused(LocalError, pair.responder.deny, code, seconds)
    assert (pair.responder.state, pair.responder.frames_to_send(0.0)) == (states.AUTHENTICATED, [])
    pair.advance("initiator", states.ESTABLISHED)


def test_authenticated_tells_all_that_the_transaction_needs() -> None:
    info = b"\xa1\x00\x631.0"
    pair = Pair(crypto, token=TOKEN, devinfo=info, held=b"the one before..")
    pair.run()
    claim = next(event for event in pair.hub_events if isinstance(event, events.Authenticated))
    message_3 = messages.decode_frame(pair.frames[2]).message
    assert claim == events.Authenticated(
        pair.device.credential,
        pair.initiator.attempt,
        b"the one before..",
        TOKEN.token_id,
        True,
        info,
        pair.responder.c_r,
        crypto.hash(SHA_256, message_3),
    )
    assert len(claim.c_r) == 8


# Time -------------------------------------------------------------------------------------------


def test_a_session_lives_60_seconds_from_message_1() -> None:
    pair = Pair(crypto)
    pair.once()
    pair.once(100.0)
    assert pair.responder.timer() == 160.0
    pair.advance("responder", states.WAIT_MESSAGE_3)
    pair.responder.handle_timer(159.9)
    assert (pair.responder.state, pair.responder.timer()) == (states.WAIT_MESSAGE_3, 160.0)
    pair.responder.handle_timer(160.0)
    assert isinstance(pair.responder.next_event().error, LinkTimeout)
    # Nobody waits for an error message any more.
    assert (pair.responder.timer(), pair.responder.frames_to_send(160.0)) == (None, [])


def test_a_message_3_that_comes_too_late_is_not_taken() -> None:
    pair = Pair(crypto)
    pair.advance("initiator", states.WAIT_MESSAGE_4)
    refused(UnexpectedMessageError, pair.responder.receive, pair.frames[-1], 60.0)
    assert pair.responder.state == states.FAILED


def test_it_never_speaks_twice_by_itself() -> None:
    pair = Pair(crypto)
    pair.advance("responder", states.WAIT_MESSAGE_3)
    for now in range(60):
        pair.responder.handle_timer(float(now))
        assert pair.responder.frames_to_send(float(now)) == []


def _refused_offer(pair: Pair) -> Exception:
    pair.advance("responder", states.GATE)
    return refused(UnsupportedSuiteError, pair.responder.pass_gate, pair.hub.credential.thumbprint)


def _granted(pair: Pair) -> None:
    device, hub = pair.run()
    assert isinstance(device, events.Established)
    assert device.keys == hub.keys
