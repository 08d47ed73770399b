"""The product's machines with suites and methods of RFC 9528 handed in, and without."""

from classic import EDDSA, ES256, HAVE_CURVES, SUITES, Answers, ClassicCrypto, Curves, Recorded
from host_crypto import crypto as machine_crypto
from pair import counting_random
from refusal import refused
from static_dh import StaticDh
from vector_file import load_file

from handfast.core import cbor, ead, messages
from handfast.core.credentials import Credential, Identity, make_ccs
from handfast.core.errors import DecodeError, LocalError, UnsupportedSuiteError
from handfast.core.events import Authenticated, CredentialPresented, Established, Failed, GatePresented
from handfast.core.initiator import Initiator
from handfast.core.methods import Profile, Signatures
from handfast.core.responder import Responder
from handfast.core.suites import ML_DSA_65

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOW = 0.0


def test_the_machines_write_the_messages_of_trace_2() -> None:
    fields = load_file("handshake", "rfc9529_trace_2.txt").fields
    r, i = _trace_2_identity(fields, "r"), _trace_2_identity(fields, "i")
    for curves in [_recorded(fields, r, i)] + ([Curves()] if HAVE_CURVES else []):
        crypto = ClassicCrypto(curves)
        profile = Profile(SUITES, StaticDh())
        initiator = Initiator(
            crypto,
            _scripted([fields["x"], fields["c_i"], bytes(16), b""]),
            i,
            b"",
            suites=(6, 2),
            selected=2,
            by_kid=True,
            profile=profile,
        )
        responder = Responder(crypto, _scripted([fields["y"], fields["c_r"], b""]), r, (2,), profile)
        initiator.start(_NOW)
        c_i, c_r = fields["c_i_cbor"], fields["c_r_cbor"]
        _carry(initiator, responder, b"\xf5" + fields["message_1"])
        assert isinstance(responder.next_event(), GatePresented)
        responder.pass_gate(b"")
        responder.answer(_NOW)
        _carry(responder, initiator, c_i + fields["message_2"])
        assert initiator.next_event() == CredentialPresented(fields["id_cred_r"], None, None)
        initiator.accept(r.credential, _NOW)
        _carry(initiator, responder, c_r + fields["message_3"])
        assert responder.next_event() == CredentialPresented(fields["id_cred_i"], None, None)
        responder.accept(i.credential, None)
        assert isinstance(responder.next_event(), Authenticated)
        responder.grant(b"", 0)
        _carry(responder, initiator, c_i + fields["message_4"])
        for machine in (initiator, responder):
            assert isinstance(machine.next_event(), Established)
            assert machine.exporter(0, b"", 16) == fields["oscore_master_secret"]
            assert machine.exporter(1, b"", 8) == fields["oscore_master_salt"]


def test_the_machines_refuse_the_first_offer_of_trace_2_as_the_trace_does() -> None:
    fields = load_file("handshake", "rfc9529_trace_2_first_offer.txt").fields
    second = load_file("handshake", "rfc9529_trace_2.txt").fields
    crypto = ClassicCrypto(Recorded(Answers({}, {}, {}, ())))
    profile = Profile(SUITES, StaticDh())
    responder = Responder(crypto, _scripted([]), _trace_2_identity(second, "r"), (2,), profile)
    responder.receive(b"\xf5" + fields["message_1"], _NOW)
    refused(UnsupportedSuiteError, responder.pass_gate, b"")
    assert responder.frames_to_send(_NOW) == [fields["c_i_cbor"] + fields["error"]]


if HAVE_CURVES:

    def test_two_machines_agree_with_method_0_and_suites_0_and_2() -> None:
        crypto = ClassicCrypto()
        for number, algorithm in ((0, EDDSA), (2, ES256)):
            r, i = _signer(crypto, algorithm, b"\x01", b"hub"), _signer(crypto, algorithm, b"\x02", b"device")
            profile = Profile(SUITES, Signatures())
            draw_i, draw_r = counting_random(machine_crypto, b"i"), counting_random(machine_crypto, b"r")
            initiator = Initiator(crypto, draw_i, i, b"", suites=(number,), by_kid=True, profile=profile)
            responder = Responder(crypto, draw_r, r, (0, 2), profile)
            initiator.start(_NOW)
            _carry(initiator, responder)
            responder.pass_gate(b"")
            responder.answer(_NOW)
            _carry(responder, initiator)
            initiator.accept(r.credential, _NOW)
            _carry(initiator, responder)
            responder.accept(i.credential, None)
            responder.grant(b"", 0)
            _carry(responder, initiator)
            assert initiator.state == responder.state == "ESTABLISHED"
            assert initiator.exporter(0, b"", 16) == responder.exporter(0, b"", 16)


def test_production_has_neither_those_suites_nor_method_3() -> None:
    crypto = machine_crypto
    hub = Identity(bytes(32), make_ccs(crypto, "hub.example", ML_DSA_65, bytes(1952)))
    for number in SUITES:
        refused(LocalError, Initiator, crypto, _scripted([]), hub, hub.credential.thumbprint, None, (number,))
        refused(LocalError, Responder, crypto, _scripted([]), hub, (number,))
    for method, suites_i, error in (
        (3, (-21,), DecodeError),
        (1, (-21,), DecodeError),
        (0, (0,), UnsupportedSuiteError),
        (0, (-21, 2), UnsupportedSuiteError),
        (0, (2, -21, -22), UnsupportedSuiteError),
    ):
        message_1 = messages.Message1(method, suites_i, bytes(1216), b"\x01", [])
        responder = Responder(crypto, _scripted([]), hub)
        mac = ead.gate_mac(crypto, hub.credential.thumbprint, messages.encode_message_1(message_1))
        message_1.ead_1.append(ead.encode_gate(ead.Gate(0, 0, mac, None)))
        frame = messages.Frame(None, messages.encode_message_1(message_1), None)
        responder.receive(messages.encode_frame(frame), _NOW)
        assert isinstance(responder.next_event(), GatePresented)
        refused(error, responder.pass_gate, hub.credential.thumbprint)
        assert isinstance(responder.next_event(), Failed)


def _carry(sender: "Initiator | Responder", receiver: "Initiator | Responder", expected: bytes = b"") -> None:
    """The one frame of `sender` to `receiver`; `expected` is what it has to be, when that is known."""
    frames = sender.frames_to_send(_NOW)
    assert len(frames) == 1
    assert not expected or frames[0] == expected
    receiver.receive(frames[0], _NOW)


def _scripted(values: "list[bytes]") -> "Callable[[int], bytes]":
    """Randomness that was thrown beforehand; a trace has shorter identifiers than our machines."""

    def random(length: int) -> bytes:
        return values.pop(0)

    return random


def _signer(crypto: ClassicCrypto, algorithm: int, seed: bytes, subject: bytes) -> Identity:
    private = seed * 32
    public_key = crypto.signature_public_key(algorithm, private)
    credential = Credential(cbor.encode(subject), "", algorithm, public_key, b"", subject)
    return Identity(private, credential)


def _trace_2_identity(fields: "dict[str, bytes]", x: str) -> Identity:
    claims = cbor.decode(fields["cred_" + x])
    key = claims[8][1]
    credential = Credential(fields["cred_" + x], claims[2], None, key[-2], b"", key[2])
    return Identity(fields["sk_" + x], credential)


def _recorded(fields: "dict[str, bytes]", r: Identity, i: Identity) -> Recorded:
    x, y, g_x, g_y = fields["x"], fields["y"], fields["g_x"], fields["g_y"]
    secrets = {
        (x, g_y): fields["g_xy"],
        (y, g_x): fields["g_xy"],
        (r.seed, g_x): fields["g_rx"],
        (x, r.credential.public_key): fields["g_rx"],
        (i.seed, g_y): fields["g_iy"],
        (y, i.credential.public_key): fields["g_iy"],
    }
    return Recorded(Answers({x: g_x, y: g_y}, secrets, {}, ()))
