"""What EAD items do in whole handshakes: who is answered, who meets silence, what ends a session."""

from host_crypto import crypto
from insider import device_that, hub_that_adds, hub_that_answers
from pair import SHARED_TOKEN, TOKEN, Pair
from refusal import refused

from handfast.core import cbor, ead, events, messages, root_key, states
from handfast.core.constants import MAX_DEVINFO
from handfast.core.credentials import Identity
from handfast.core.errors import AuthenticationError, DecodeError, LocalError, UnexpectedMessageError
from handfast.core.initiator import Initiator
from handfast.core.token import Token

ATTEMPT, R_D, R_H = b"a" * 16, b"d" * 32, b"h" * 32
DEVINFO = (65282, cbor.encode({0: "1.0"}))
ROOTC = (-65283, cbor.encode([1, ATTEMPT, None, R_D]))
STATUS = (-65287, cbor.encode([1, 2, 60]))


# GATE in whole handshakes ----------------------------------------------------------------------


def test_gate_by_hub_id_and_by_token_open_with_their_own_key_alone() -> None:
    for token, kind in ((None, 0), (TOKEN, 1)):
        pair, gate = _presented(Pair(crypto, token=token))
        assert (gate.kind, gate.token_id) == (kind, None if token is None else TOKEN.token_id)
        own = ead.gate_key(crypto, pair.hub.credential.thumbprint, token)
        other = ead.gate_key(crypto, pair.hub.credential.thumbprint, TOKEN if token is None else None)
        for key in (other, bytes(32), own[:-1] + bytes((own[-1] ^ 1,))):
            pair, _ = _presented(Pair(crypto, token=token))
            refused(AuthenticationError, pair.responder.pass_gate, key)
            # Silence: whoever knocks at random learns nothing, not even that somebody is there.
            assert (pair.responder.state, pair.responder.frames_to_send(0.0)) == (states.FAILED, [])
        pair, _ = _presented(Pair(crypto, token=token))
        pair.responder.pass_gate(own)
        assert pair.responder.state == states.OPEN


def test_gate_covers_every_field_of_message_1() -> None:
    first = _message_1(Pair(crypto))
    g_x = bytes((first.g_x[0] ^ 1,)) + first.g_x[1:]
    for changed in (
        (1,) + first[1:],
        (0, (-22,)) + first[2:],
        (0, (-22, -21)) + first[2:],
        first[:2] + (g_x,) + first[3:],
        first[:3] + (b"8 others", first.ead_1),
    ):
        responder, hub = Pair(crypto).responder, Pair(crypto).hub
        responder.receive(_frame_1(messages.Message1(*changed)), 0.0)
        refused(AuthenticationError, responder.pass_gate, hub.credential.thumbprint)
        assert responder.frames_to_send(0.0) == []


def test_a_message_1_without_a_good_gate_meets_silence() -> None:
    first = _message_1(Pair(crypto))
    for items in (
        [],
        [(0, b"padding")],
        [(160, None)],
        [first.ead_1[0], first.ead_1[0]],
        [(-65280, first.ead_1[0][1])],
        [first.ead_1[0], (-160, None)],
        [first.ead_1[0], ROOTC],
        [(65280, cbor.encode([1, 0, 0, b"short", None]))],
    ):
        responder = Pair(crypto).responder
        refused(DecodeError, responder.receive, _frame_1(messages.Message1(*first[:4], items)), 0.0)
        assert (responder.state, responder.frames_to_send(0.0)) == (states.FAILED, [])


def test_ignored_items_beside_the_gate_do_no_harm_and_are_authenticated_by_the_transcript() -> None:
    class Greasing(Initiator):
        def start(self, now: float) -> None:
            super().start(now)
            first = messages.decode_message_1(messages.decode_frame(self._outgoing[0]).message)
            extra = [(0, bytes(9)), first.ead_1[0], (41120, b"\xff"), DEVINFO]
            greased = messages.encode_message_1(messages.Message1(*first[:4], extra))
            self._hash_1 = self._schedule.hash(greased)
            self._outgoing = [_frame_1(messages.decode_message_1(greased))]

    _granted(Pair(crypto, initiator=Greasing))


# message_2 -------------------------------------------------------------------------------------


def test_items_of_message_2_count_only_after_the_hub_is_verified() -> None:
    """A critical item that nobody knows ends the session, but only when the hub itself has sent it."""
    pair = Pair(crypto, responder=hub_that_adds([(-160, b"?")]))
    device, _ = pair.run()
    assert isinstance(device, events.Failed)
    assert isinstance(device.error, DecodeError)
    # Unsigned, the same item is one more forgery that does not count.
    pair = Pair(crypto, responder=hub_that_adds([(-160, b"?")], forged=True))
    pair.initiator.start(0.0)
    pair.step()
    assert pair.initiator.state == states.WAIT_MESSAGE_2
    _granted(Pair(crypto, responder=hub_that_adds([(0, None), (160, b"?")])))


# message_3 -------------------------------------------------------------------------------------


def test_rootc_comes_exactly_once() -> None:
    for change in (
        lambda items: [],
        lambda items: items + [items[-1]],
        lambda items: [(65283, items[-1][1])],
    ):
        pair, error = _refused_at_message_3(change)
        assert isinstance(error, DecodeError)
        # The device has passed the gate, so it is told; anybody could have written that, so it waits on.
        answer = pair.responder.frames_to_send(0.0)
        assert messages.decode_frame(answer[0]).error.code == 1
        refused(UnexpectedMessageError, pair.initiator.receive, answer[0], 0.0)
        assert pair.initiator.state == states.WAIT_MESSAGE_4


def test_unknown_items_of_message_3_are_ignored_unless_critical() -> None:
    _granted(Pair(crypto, initiator=device_that(lambda items: [(0, bytes(40)), (43690, None)] + items)))
    _refused_at_message_3(lambda items: items + [(-43690, None)])
    _refused_at_message_3(lambda items: items + [STATUS])


def test_devinfo_reaches_the_hub_as_it_was_sent() -> None:
    info = cbor.encode({0: "1.0", 1: "board", 2: [3, "m", 1000, 0, 0, 64, []]})
    pair = Pair(crypto, devinfo=info)
    pair.run()
    assert _authenticated(pair).devinfo == info
    # More than fits is found before anything is sent.
    refused(LocalError, lambda: Pair(crypto, devinfo=bytes(MAX_DEVINFO + 1)))


def test_what_the_device_holds_is_named_in_rootc() -> None:
    pair = Pair(crypto, held=b"the one before..")
    pair.run()
    claim = _authenticated(pair)
    assert (claim.have, claim.attempt) == (b"the one before..", pair.initiator.attempt)


# TOKEN -----------------------------------------------------------------------------------------


def test_a_single_token_goes_into_the_keys_and_a_shared_one_does_not() -> None:
    keys = []
    for token in (TOKEN, SHARED_TOKEN, None):
        device, hub = Pair(crypto, token=token).run()
        assert device.keys == hub.keys
        assert device.mixed == hub.mixed == (token is TOKEN)
        keys.append(device.keys)
    assert len(set(keys)) == 3
    # With one and the same PRK_exporter a shared token gives what no token gives.
    assert root_key.mix(crypto, SHARED_TOKEN) == root_key.mix(crypto, None) == bytes(32)


def test_a_wrong_proof_is_told_after_the_signature_and_can_only_be_denied() -> None:
    wrong = Token(TOKEN.token_id, b"another secret of 32 bytes......", False)
    for known in (wrong, Token(b"other id", TOKEN.k_tok, False), None):
        pair = _until_authenticated(TOKEN, known)
        claim = _authenticated(pair)
        assert (claim.token_id, claim.token_valid) == (TOKEN.token_id, False)
        refused(LocalError, pair.responder.grant, b"device-1", 7)
        assert pair.responder.state == states.AUTHENTICATED
        pair.responder.deny(2, 60)
        pair.initiator.receive(pair.responder.frames_to_send(0.0)[0], 0.0)
        assert pair.initiator.next_event() == events.Refused(2, 60)


def test_a_wrong_proof_with_a_wrong_signature_is_a_wrong_signature() -> None:
    class Unsigned(Initiator):
        def _make_message_3(self, credential: object, now: float) -> None:
            self._identity = Identity(b"\x01" * 32, self._identity.credential)
            super()._make_message_3(credential, now)

    pair = Pair(crypto, token=TOKEN, initiator=Unsigned)
    pair.advance("responder", states.CREDENTIAL_I)
    pair.responder.accept(pair.device.credential, Token(TOKEN.token_id, bytes(32), False))
    failed = pair.responder.next_event()
    assert isinstance(failed.error, AuthenticationError)
    frame = messages.decode_frame(pair.responder.frames_to_send(0.0)[0])
    assert (frame.message, frame.error.code) == (None, 1)


def test_a_proof_is_bound_to_its_handshake() -> None:
    pop = ead.token_pop(crypto, TOKEN, b"\x01" * 64)
    item = ead.encode_token(ead.TokenProof(TOKEN.token_id, pop))
    pair = Pair(crypto, known=TOKEN, initiator=device_that(lambda items: [item] + items))
    device, _ = pair.run()
    assert not _authenticated(pair).token_valid
    assert device == events.Refused(2, 60)


# message_4 -------------------------------------------------------------------------------------


def test_status_1_and_2_reach_the_device_and_end_the_session_without_keys() -> None:
    for code in (1, 2):
        device, hub = Pair(crypto, deny=code).run()
        assert device == hub == events.Refused(code, 60)


def test_message_4_has_exactly_one_of_rootr_and_status() -> None:
    status = ead.encode_status(ead.Status(1, 60))
    for change in (
        lambda items: [],
        lambda items: items + [status],
        lambda items: items + items,
        lambda items: [(0, b"x")],
        lambda items: [(-items[0][0], items[0][1])],
        lambda items: items + [(-65535, None)],
        lambda items: items + [ROOTC],
    ):
        device, _ = Pair(crypto, responder=hub_that_answers(change)).run()
        assert isinstance(device, events.Failed)
        assert isinstance(device.error, DecodeError)


def test_other_items_of_message_4_are_ignored() -> None:
    _granted(Pair(crypto, responder=hub_that_answers(lambda items: [(0, b"x"), (65535, None)] + items)))


def test_rootr_for_another_attempt_ends_the_session_without_keys() -> None:
    other = ead.encode_rootr(ead.RootR(ATTEMPT, R_H, b"device-1", 7))
    pair = Pair(crypto, responder=hub_that_answers(lambda items: [other]))
    device, _ = pair.run()
    assert isinstance(device, events.Failed)
    assert not [event for event in pair.device_events if isinstance(event, events.Established)]


def _presented(pair: Pair) -> "tuple[Pair, events.GatePresented]":
    pair.advance("responder", states.GATE)
    return pair, pair.hub_events[-1]


def _message_1(pair: Pair) -> "messages.Message1":
    pair.initiator.start(0.0)
    return messages.decode_message_1(messages.decode_frame(pair.initiator.frames_to_send(0.0)[0]).message)


def _frame_1(message_1: "messages.Message1") -> bytes:
    return messages.encode_frame(messages.Frame(None, messages.encode_message_1(message_1), None))


def _refused_at_message_3(change: object) -> "tuple[Pair, Exception]":
    pair = Pair(crypto, initiator=device_that(change))
    pair.advance("initiator", states.WAIT_MESSAGE_4)
    error = refused(DecodeError, pair.responder.receive, pair.frames[-1], 0.0)
    assert pair.responder.state == states.FAILED
    return pair, error


def _until_authenticated(token: Token, known: "Token | None") -> Pair:
    pair = Pair(crypto, token=token)
    pair.advance("responder", states.CREDENTIAL_I)
    pair.known = known
    pair.advance("responder", states.AUTHENTICATED)
    return pair


def _authenticated(pair: Pair) -> "events.Authenticated":
    return next(event for event in pair.hub_events if isinstance(event, events.Authenticated))


def _granted(pair: Pair) -> None:
    device, hub = pair.run()
    assert isinstance(device, events.Established)
    assert device.keys == hub.keys
