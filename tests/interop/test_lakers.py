"""lakers, the EDHOC of a Rust team, as a live peer in both roles: method 3, suite 2, CCS by kid.

The product's own machines talk to it; only the suite and the method are handed in. lakers 0.6 writes
an exporter label above 23 as one raw byte instead of CBOR (last test), so labels 0 to 23 are compared.
"""

from collections.abc import Callable

import pytest
from classic import ES256, SUITES, ClassicCrypto
from static_dh import StaticDh

from handfast.core import cbor, messages, states
from handfast.core.credentials import Credential, Identity
from handfast.core.errors import AuthenticationError, DecodeError, PeerError
from handfast.core.events import CredentialPresented, Established, Failed
from handfast.core.initiator import Initiator
from handfast.core.methods import Profile
from handfast.core.responder import Responder

lakers = pytest.importorskip("lakers", reason="lakers-python has no wheel for this machine")

PROFILE = Profile({2: SUITES[2]}, StaticDh())
BY_REFERENCE = lakers.CredentialTransfer.ByReference
CONTEXT = b"some context"
LABEL = 40000


def counted(seed: bytes) -> Callable[[int], bytes]:
    """Random bytes that a failing test can be repeated with."""
    count = [0]

    def random(length: int) -> bytes:
        count[0] += 1
        return crypto.hash(-16, seed + bytes([count[0]]))[:length]

    return random


def identity(subject: str, kid: bytes, seed: bytes) -> Identity:
    """A static DH key on P-256 in a CCS; a peer needs the x coordinate alone."""
    private = crypto.hash(-16, seed)
    point = crypto.signature_public_key(ES256, private)
    key = {1: 2, 2: kid, -1: 1, -2: point[:32], -3: point[32:]}
    encoded = cbor.encode({2: subject, 8: {1: key}})
    return Identity(private, Credential(encoded, subject, None, point[:32], b"", kid))


crypto = ClassicCrypto()
hub = identity("hub.example", b"\x32", b"hub")
device = identity("42-50-31-FF-EF-37-32-39", b"\x2b", b"device")


def initiator(seed: bytes = b"initiator") -> Initiator:
    """Our Initiator after message_1."""
    machine = Initiator(crypto, counted(seed), device, b"", suites=(2,), by_kid=True, profile=PROFILE)
    machine.start(0.0)
    return machine


def lakers_responder() -> "lakers.EdhocResponder":
    return lakers.EdhocResponder(hub.seed, lakers.Credential(hub.credential.encoded))


def sent(machine: Initiator | Responder) -> bytes:
    """The EDHOC message in the one frame that the machine sends."""
    (frame,) = machine.frames_to_send(0.0)
    message: bytes = messages.decode_frame(frame).message
    return message


def carried(c_x: bytes, message: bytes) -> bytes:
    """A message of lakers as a frame for a machine of ours."""
    return messages.encode_frame(messages.Frame(c_x, message, None))


def answered(machine: Initiator, responder: "lakers.EdhocResponder", *ead: object) -> bytes:
    """Carry message_1 over and message_2 back; C_I."""
    c_i, _ = responder.process_message_1(sent(machine))
    machine.receive(carried(c_i, responder.prepare_message_2(BY_REFERENCE, None, *ead)), 0.0)
    return bytes(c_i)


def established(machine: Initiator, responder: "lakers.EdhocResponder") -> None:
    """A whole handshake with message_4."""
    c_i = answered(machine, responder)
    presented = machine.next_event()
    assert isinstance(presented, CredentialPresented)
    assert presented.id_cred == cbor.encode({4: hub.credential.kid})
    machine.accept(hub.credential, 0.0)
    id_cred_i, ead_3 = responder.parse_message_3(sent(machine))
    assert (bytes(id_cred_i), ead_3) == (cbor.encode({4: device.credential.kid}), [])
    responder.verify_message_3(lakers.Credential(device.credential.encoded))
    machine.receive(carried(c_i, responder.prepare_message_4()), 0.0)
    assert isinstance(machine.next_event(), Established)


def offered(*ead: object) -> "tuple[Responder, lakers.EdhocInitiator, bytes]":
    """Our Responder after message_1 of a lakers Initiator, that Initiator, and message_2."""
    peer = lakers.EdhocInitiator()
    machine = Responder(crypto, counted(b"responder"), hub, (2,), PROFILE)
    message_1 = peer.prepare_message_1(None, *ead)
    machine.receive(messages.encode_frame(messages.Frame(None, message_1, None)), 0.0)
    machine.next_event()
    machine.pass_gate(b"")
    machine.answer(0.0)
    return machine, peer, sent(machine)


def verified(peer: "lakers.EdhocInitiator", message_2: bytes) -> None:
    """lakers takes message_2."""
    _, id_cred_r, _ = peer.parse_message_2(message_2)
    assert bytes(id_cred_r) == cbor.encode({4: hub.credential.kid})
    peer.verify_message_2(
        device.seed,
        lakers.Credential(device.credential.encoded),
        lakers.Credential(hub.credential.encoded),
    )


def test_our_initiator_and_a_lakers_responder_agree() -> None:
    for seed in range(20):
        machine, responder = initiator(bytes([seed])), lakers_responder()
        established(machine, responder)
        for label in (0, 1, 2, 23):
            assert machine.exporter(label, CONTEXT, 32) == responder.edhoc_exporter(label, CONTEXT, 32)


def test_our_responder_and_a_lakers_initiator_agree() -> None:
    machine, peer, message_2 = offered()
    verified(peer, message_2)
    message_3, _ = peer.prepare_message_3(BY_REFERENCE)
    machine.receive(carried(machine.c_r, message_3), 0.0)
    presented = machine.next_event()
    assert isinstance(presented, CredentialPresented)
    assert presented.id_cred == cbor.encode({4: device.credential.kid})
    machine.accept(device.credential, None)
    machine.grant(b"", 0)
    assert peer.process_message_4(sent(machine)) == []
    for label in (0, 1, 2, 23):
        assert machine.exporter(label, CONTEXT, 32) == peer.edhoc_exporter(label, CONTEXT, 32)


def test_a_changed_message_2_of_lakers_is_refused() -> None:
    machine, responder = initiator(), lakers_responder()
    c_i, _ = responder.process_message_1(sent(machine))
    message_2 = responder.prepare_message_2(BY_REFERENCE, None)
    changed = message_2[:-1] + bytes([message_2[-1] ^ 1])
    # The last byte is one of MAC_2, so the form is right and the machine stops for the credential.
    machine.receive(carried(c_i, changed), 0.0)
    machine.next_event()
    machine.accept(hub.credential, 0.0)
    assert machine.state == states.WAIT_MESSAGE_2
    assert machine.frames_to_send(0.0) == []
    # The right message still finds it waiting.
    machine.receive(carried(c_i, message_2), 0.0)
    machine.next_event()
    machine.accept(hub.credential, 0.0)
    assert machine.state == states.WAIT_MESSAGE_4


def test_a_lakers_responder_with_another_key_is_refused() -> None:
    machine = initiator()
    impostor = lakers.EdhocResponder(device.seed, lakers.Credential(hub.credential.encoded))
    answered(machine, impostor)
    machine.next_event()
    machine.accept(hub.credential, 0.0)
    assert machine.state == states.WAIT_MESSAGE_2


def test_a_changed_message_of_ours_is_refused_by_lakers() -> None:
    _, peer, message_2 = offered()
    with pytest.raises(ValueError, match="MacVerificationFailed"):
        verified(peer, message_2[:-1] + bytes([message_2[-1] ^ 1]))
    machine, responder = initiator(), lakers_responder()
    answered(machine, responder)
    machine.next_event()
    machine.accept(hub.credential, 0.0)
    message_3 = sent(machine)
    with pytest.raises(ValueError, match="MacVerificationFailed"):
        responder.parse_message_3(message_3[:-1] + bytes([message_3[-1] ^ 1]))


def test_a_changed_message_3_of_lakers_is_refused() -> None:
    machine, peer, message_2 = offered()
    verified(peer, message_2)
    message_3, _ = peer.prepare_message_3(BY_REFERENCE)
    for changed in (message_3[:-1] + bytes([message_3[-1] ^ 1]), message_3[:-1], message_3 + b"\x00"):
        with pytest.raises(PeerError):
            machine.receive(carried(machine.c_r, changed), 0.0)
    machine.receive(carried(machine.c_r, message_3), 0.0)
    # Another device's credential under the same kid.
    other = identity("42-50-31-FF-EF-37-32-39", b"\x2b", b"other")
    machine.next_event()
    machine.accept(other.credential, None)
    failed = machine.next_event()
    assert isinstance(failed, Failed)
    assert type(failed.error) is AuthenticationError


def test_a_critical_item_of_lakers_is_refused_and_another_ignored() -> None:
    for critical in (False, True):
        ead = lakers.EADItem(LABEL, critical, b"abc")
        if critical:
            with pytest.raises(DecodeError, match=str(LABEL)):
                offered([ead])
        else:
            offered([ead])
        machine = initiator()
        answered(machine, lakers_responder(), [ead])
        machine.next_event()
        machine.accept(hub.credential, 0.0)
        # An unknown item counts once MAC_2 has said whose it is.
        assert machine.state == (states.FAILED if critical else states.WAIT_MESSAGE_4)


def test_lakers_reads_the_items_that_we_write() -> None:
    fields = messages.decode_message_1(sent(initiator()))
    items = [(0, b"padding"), (0, None), (LABEL, b"value"), (-LABEL - 1, None)]
    message_1 = messages.encode_message_1(
        messages.Message1(fields.method, fields.suites_i, fields.g_x, b"\x18", items)
    )
    c_i, ead_1 = lakers_responder().process_message_1(message_1)
    assert bytes(c_i) == b"\x18"
    read = [(item.label(), item.is_critical(), item.value()) for item in ead_1]
    assert read == [
        (0, False, b"padding"),
        (0, False, None),
        (LABEL, False, b"value"),
        (LABEL + 1, True, None),
    ]


def test_the_exporter_of_lakers_is_ours_but_for_labels_in_two_bytes() -> None:
    """So that a lakers that writes them as CBOR is noticed, and the labels above may grow."""
    machine, responder = initiator(), lakers_responder()
    established(machine, responder)
    assert machine.exporter(24, CONTEXT, 32) != responder.edhoc_exporter(24, CONTEXT, 32)
