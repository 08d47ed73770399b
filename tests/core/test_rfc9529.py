"""RFC 9529: both traces with every value they print, and the invalid messages, each refused.

A trace is replayed by the functions that the product's machines use. Once the answers of the curves
are taken from the trace and everything else is computed, so that it runs on MicroPython too; where
pyca/cryptography is at hand the curves are computed as well.
"""

from classic import EDDSA, HAVE_CURVES, P_256, SUITES, Answers, ClassicCrypto, Curves, Recorded
from refusal import refused
from static_dh import StaticDh
from vector_file import load, load_file

from handfast.core import cbor, messages
from handfast.core.cose import enc_structure, sig_structure
from handfast.core.credentials import Credential, Identity
from handfast.core.errors import AuthenticationError, DecodeError
from handfast.core.identifiers import decode_identifier, encode_identifier
from handfast.core.kdf import info
from handfast.core.key_schedule import KeySchedule, context_2, context_3
from handfast.core.methods import Signatures
from handfast.core.suites import SHA_256

# Refused by the curve, and not by the form or the length of the message.
_BY_CURVE = (
    "rfc9529_invalid_curve_point_of_low_order.txt",
    "rfc9529_invalid_error_in_elliptic_curve_point.txt",
    "rfc9529_invalid_error_in_elliptic_curve_representation.txt",
)


class Trace:
    """The values of one file. A test takes what was chosen and checks what follows from it."""

    def __init__(self, name: str) -> None:
        self._fields = load_file("handshake", name).fields
        self._unseen = set(self._fields)

    def take(self, name: str) -> bytes:
        self._unseen.discard(name)
        return self._fields[name]

    def check(self, name: str, value: bytes) -> bytes:
        """`value` is what the trace says, and so is its encoding where the trace prints that too."""
        assert value == self.take(name), name
        if name + "_cbor" in self._fields:
            assert cbor.encode(value) == self.take(name + "_cbor"), name
        return value

    def holds(self, name: str) -> bool:
        return name in self._fields

    def unseen(self) -> "list[str]":
        return sorted(self._unseen)


def test_trace_1_gives_every_value_that_rfc_9529_prints() -> None:
    trace = Trace("rfc9529_trace_1.txt")
    credentials = []
    for x in ("r", "i"):
        certificate = trace.take("cred_%s_certificate" % x)
        cred = trace.take("cred_" + x)
        assert cred == cbor.encode(certificate)
        public_key = trace.take("pk_" + x)
        assert public_key in certificate
        credentials.append(Credential(cred, "", EDDSA, public_key, b"", b""))
    for curves in _curves(trace, credentials):
        crypto = ClassicCrypto(curves)
        for x, credential in zip(("r", "i"), credentials):
            assert crypto.signature_public_key(EDDSA, trace.take("sk_" + x)) == credential.public_key
            # x5t: the first 8 bytes of SHA-256 over the certificate.
            x5t = crypto.hash(SHA_256, trace.take("cred_%s_certificate" % x))[:8]
            assert cbor.decode(trace.take("id_cred_" + x)) == {34: [-15, x5t]}
        _replay(trace, crypto, Signatures(), credentials[0], credentials[1])
    assert trace.unseen() == []


def test_trace_2_gives_every_value_that_rfc_9529_prints() -> None:
    trace = Trace("rfc9529_trace_2.txt")
    credentials = []
    for x in ("r", "i"):
        cred = trace.take("cred_" + x)
        claims = cbor.decode(cred)
        key = claims[8][1]
        assert cbor.decode(trace.take("id_cred_" + x)) == {4: key[2]}
        credentials.append(Credential(cred, claims[2], None, key[-2], b"", key[2]))
    for curves in _curves(trace, credentials):
        _replay(trace, ClassicCrypto(curves), StaticDh(), credentials[0], credentials[1])
    assert trace.unseen() == []


def test_the_first_offer_of_trace_2_is_answered_with_the_suites_there_are() -> None:
    trace = Trace("rfc9529_trace_2_first_offer.txt")
    crypto = ClassicCrypto(_curves(trace, None)[0])
    # The RFC prints a P-256 key, although suite 6 has X25519; nobody looks at it.
    message_1 = _message_1(trace, crypto, P_256)
    offered = messages.decode_message_1(message_1).suites_i
    assert offered == (6,)
    assert not crypto.supports(offered[-1])
    error = messages.ErrorMessage(2, (2,))
    assert messages.decode_error(trace.check("error", messages.encode_error(error))) == error
    assert trace.unseen() == []


def test_every_invalid_message_is_refused() -> None:
    count = 0
    for vector in load("handshake"):
        if not vector.name.startswith("rfc9529_invalid_") or (not HAVE_CURVES and vector.name in _BY_CURVE):
            continue
        assert vector.expect == "DecodeError"
        refused(DecodeError, _read, vector.fields)
        count += 1
    assert count == (15 if HAVE_CURVES else 12)


def test_a_changed_signature_or_mac_is_refused() -> None:
    """What the traces authenticate with, one bit off, or over another transcript."""
    for name, number, method in (
        ("rfc9529_trace_1.txt", 0, Signatures()),
        ("rfc9529_trace_2.txt", 2, StaticDh()),
    ):
        trace = Trace(name)
        public_key = trace.take("pk_i") if number == 0 else b""
        algorithm = EDDSA if number == 0 else None
        credential = Credential(trace.take("cred_i"), "", algorithm, public_key, b"", b"")
        schedule = KeySchedule(ClassicCrypto(_curves(trace, None)[-1]), SUITES[number])
        good = trace.take("signature_or_mac_3")
        th_3 = trace.take("th_3")
        for changed, th in (
            (good[:-1] + bytes([good[-1] ^ 1]), th_3),
            (good[:-1], th_3),
            (good + b"\x00", th_3),
            (good, schedule.hash(th_3)),
        ):
            refused(
                AuthenticationError,
                method.verify_3,
                schedule,
                trace.take("prk_4e3m"),
                th,
                trace.take("id_cred_i"),
                credential,
                b"",
                changed,
            )


def _replay(
    trace: Trace,
    crypto: ClassicCrypto,
    method: "Signatures | StaticDh",
    credential_r: Credential,
    credential_i: Credential,
) -> None:
    """Both roles of a handshake, value by value."""
    first = messages.decode_message_1(trace.take("message_1"))
    assert first.method == method.number
    suite = SUITES[first.suites_i[-1]]
    schedule = KeySchedule(crypto, suite)
    identity_r = Identity(trace.take("sk_r"), credential_r)
    identity_i = Identity(trace.take("sk_i"), credential_i)
    mac_length = schedule.hash_length if method.number == 0 else suite.mac_length

    message_1 = _message_1(trace, crypto, suite.kem)
    g_x = trace.take("g_x")

    # The Responder composes message_2.
    g_y, g_xy = crypto.encapsulate(suite.kem, g_x, trace.take("y"))
    trace.check("g_y", g_y)
    trace.check("g_xy", g_xy)
    c_r = _identifier(trace, "c_r")
    h_message_1 = trace.check("h_message_1", schedule.hash(message_1))
    trace.check("th_2_input", cbor.encode_sequence(g_y, h_message_1))
    th_2 = trace.check("th_2", schedule.th_2(g_y, message_1))
    trace.check("salt_2e", th_2)
    prk_2e = trace.check("prk_2e", schedule.prk_2e(th_2, g_xy))
    if trace.holds("salt_3e2m"):
        trace.check("info_salt_3e2m", info(1, th_2, schedule.hash_length))
        trace.check("salt_3e2m", schedule.salt_3e2m(prk_2e, th_2))
        trace.check("g_rx", crypto.shared_secret(suite.kem, identity_r.seed, g_x))
    prk_3e2m = method.prk_3e2m(schedule, prk_2e, th_2, g_x, credential_r, identity_r.seed)
    trace.check("prk_3e2m", prk_3e2m)
    id_cred_r = trace.take("id_cred_r")
    ead_2 = trace.check("ead_2", messages.encode_ead([]))
    context = trace.check("context_2", b"".join(context_2(c_r, id_cred_r, th_2, credential_r.encoded, ead_2)))
    trace.check("info_mac_2", info(2, context, mac_length))
    mac_2 = trace.check("mac_2", schedule.mac_2(prk_3e2m, (context,), mac_length))
    if trace.holds("signed_2"):
        trace.check("signed_2", b"".join(sig_structure(id_cred_r, th_2, credential_r.encoded, ead_2, mac_2)))
    signature_or_mac_2 = method.authenticate_2(
        schedule, prk_3e2m, th_2, c_r, id_cred_r, identity_r, ead_2, b""
    )
    trace.check("signature_or_mac_2", signature_or_mac_2)
    fields_2 = messages.Plaintext2(c_r, id_cred_r, signature_or_mac_2, [])
    plaintext_2 = trace.check("plaintext_2", messages.encode_plaintext_2(fields_2))
    trace.check("info_keystream_2", info(0, th_2, len(plaintext_2)))
    keystream_2 = trace.check("keystream_2", schedule.keystream_2(prk_2e, th_2, len(plaintext_2)))
    ciphertext_2 = trace.check("ciphertext_2", bytes([a ^ b for a, b in zip(plaintext_2, keystream_2)]))
    message_2 = trace.check("message_2", messages.encode_message_2(g_y, ciphertext_2))

    # The Initiator reads message_2.
    assert messages.split_message_2(message_2, suite) == (g_y, ciphertext_2)
    assert crypto.decapsulate(suite.kem, trace.take("x"), g_y) == g_xy
    assert messages.decode_plaintext_2(plaintext_2) == fields_2
    assert method.prk_3e2m(schedule, prk_2e, th_2, g_x, credential_r, None) == prk_3e2m
    method.verify_2(schedule, prk_3e2m, th_2, c_r, id_cred_r, credential_r, ead_2, signature_or_mac_2)

    # The Initiator composes message_3.
    trace.check("th_3_input", cbor.encode(th_2) + plaintext_2 + credential_r.encoded)
    th_3 = trace.check("th_3", schedule.th_3(th_2, plaintext_2, credential_r.encoded))
    if trace.holds("salt_4e3m"):
        trace.check("info_salt_4e3m", info(5, th_3, schedule.hash_length))
        trace.check("salt_4e3m", schedule.salt_4e3m(prk_3e2m, th_3))
        trace.check("g_iy", crypto.shared_secret(suite.kem, identity_i.seed, g_y))
    prk_4e3m = method.prk_4e3m(schedule, prk_3e2m, th_3, g_y, credential_i, identity_i.seed)
    trace.check("prk_4e3m", prk_4e3m)
    id_cred_i = trace.take("id_cred_i")
    ead_3 = trace.check("ead_3", messages.encode_ead([]))
    context = trace.check("context_3", b"".join(context_3(id_cred_i, th_3, credential_i.encoded, ead_3)))
    trace.check("info_mac_3", info(6, context, mac_length))
    mac_3 = trace.check("mac_3", schedule.mac_3(prk_4e3m, (context,), mac_length))
    if trace.holds("signed_3"):
        trace.check("signed_3", b"".join(sig_structure(id_cred_i, th_3, credential_i.encoded, ead_3, mac_3)))
    signature_or_mac_3 = method.authenticate_3(schedule, prk_4e3m, th_3, id_cred_i, identity_i, ead_3, b"")
    trace.check("signature_or_mac_3", signature_or_mac_3)
    fields_3 = messages.Plaintext3(id_cred_i, signature_or_mac_3, [])
    plaintext_3 = trace.check("plaintext_3", messages.encode_plaintext_3(fields_3))
    a_3 = trace.check("a_3", enc_structure(b"", th_3))
    trace.check("info_k_3", info(3, th_3, 16))
    k_3 = trace.check("k_3", schedule.k_3(prk_3e2m, th_3))
    trace.check("info_iv_3", info(4, th_3, 13))
    iv_3 = trace.check("iv_3", schedule.iv_3(prk_3e2m, th_3))
    ciphertext_3 = trace.check("ciphertext_3", crypto.seal(suite.aead, k_3, iv_3, a_3, plaintext_3))
    message_3 = trace.check("message_3", messages.encode_message_3(ciphertext_3))

    # The Responder reads message_3.
    assert messages.decode_message_3(message_3) == ciphertext_3
    assert crypto.open(suite.aead, k_3, iv_3, a_3, ciphertext_3) == plaintext_3
    assert messages.decode_plaintext_3(plaintext_3) == fields_3
    assert method.prk_4e3m(schedule, prk_3e2m, th_3, g_y, credential_i, None) == prk_4e3m
    method.verify_3(schedule, prk_4e3m, th_3, id_cred_i, credential_i, ead_3, signature_or_mac_3)

    # The Responder composes message_4, the Initiator reads it.
    trace.check("th_4_input", cbor.encode(th_3) + plaintext_3 + credential_i.encoded)
    th_4 = trace.check("th_4", schedule.th_4(th_3, plaintext_3, credential_i.encoded))
    trace.check("ead_4", messages.encode_ead([]))
    plaintext_4 = trace.check("plaintext_4", messages.encode_plaintext_4([]))
    a_4 = trace.check("a_4", enc_structure(b"", th_4))
    trace.check("info_k_4", info(8, th_4, 16))
    k_4 = trace.check("k_4", schedule.k_4(prk_4e3m, th_4))
    trace.check("info_iv_4", info(9, th_4, 13))
    iv_4 = trace.check("iv_4", schedule.iv_4(prk_4e3m, th_4))
    ciphertext_4 = crypto.seal(suite.aead, k_4, iv_4, a_4, plaintext_4)
    message_4 = trace.check("message_4", messages.encode_message_4(ciphertext_4))
    assert messages.decode_message_4(message_4) == ciphertext_4
    assert messages.decode_plaintext_4(crypto.open(suite.aead, k_4, iv_4, a_4, ciphertext_4)) == []

    _exports(trace, schedule, prk_4e3m, th_4)
    # Each side's sender id in OSCORE is the identifier that the other one chose (appendix A.1).
    trace.check("oscore_client_sender_id", c_r)
    trace.check("oscore_server_sender_id", first.c_i)


def _message_1(trace: Trace, crypto: ClassicCrypto, curve: str) -> bytes:
    method = cbor.decode(trace.take("method"))
    suites = cbor.decode(trace.take("suites_i"))
    g_x = trace.check("g_x", crypto.kem_public_key(curve, trace.take("x")))
    c_i = _identifier(trace, "c_i")
    trace.check("ead_1", messages.encode_ead([]))
    suites_i = tuple(suites) if isinstance(suites, list) else (suites,)
    fields = messages.Message1(method, suites_i, g_x, c_i, [])
    message_1 = trace.check("message_1", messages.encode_message_1(fields))
    assert messages.decode_message_1(message_1) == fields
    return message_1


def _identifier(trace: Trace, name: str) -> bytes:
    identifier = trace.take(name)
    item = trace.take(name + "_cbor")
    assert cbor.encode(encode_identifier(identifier)) == item
    assert decode_identifier(cbor.decode(item)) == identifier
    return identifier


def _exports(trace: Trace, schedule: KeySchedule, prk_4e3m: bytes, th_4: bytes) -> None:
    """PRK_out, the OSCORE parameters (RFC 9528 appendix A.1) and both again after a key update."""
    trace.check("info_prk_out", info(7, th_4, schedule.hash_length))
    prk_out = trace.check("prk_out", schedule.prk_out(prk_4e3m, th_4))
    trace.check("info_prk_exporter", info(10, b"", schedule.hash_length))
    prk_exporter = trace.check("prk_exporter", schedule.prk_exporter(prk_out))
    trace.check("info_oscore_master_secret", info(0, b"", 16))
    trace.check("oscore_master_secret", schedule.exporter(prk_exporter, 0, b"", 16))
    trace.check("info_oscore_master_salt", info(1, b"", 8))
    trace.check("oscore_master_salt", schedule.exporter(prk_exporter, 1, b"", 8))

    context = trace.check("key_update_context", trace.take("key_update_context"))
    prk_out = trace.check("prk_out_updated", schedule.key_update(prk_out, context))
    prk_exporter = trace.check("prk_exporter_updated", schedule.prk_exporter(prk_out))
    trace.check("oscore_master_secret_updated", schedule.exporter(prk_exporter, 0, b"", 16))
    trace.check("oscore_master_salt_updated", schedule.exporter(prk_exporter, 1, b"", 8))


def _read(fields: "dict[str, bytes]") -> None:
    """What a peer does with one message that it has received."""
    if "message_1" in fields:
        message_1 = messages.decode_message_1(fields["message_1"])
        curve = SUITES[message_1.suites_i[-1]].kem
        crypto = ClassicCrypto(None if HAVE_CURVES else Recorded(Answers({}, {}, {}, ())))
        crypto.shared_secret(curve, b"\x01" * 32, message_1.g_x)
    elif "message_2" in fields:
        messages.split_message_2(fields["message_2"], SUITES[2])
    else:
        messages.decode_plaintext_2(fields["plaintext_2"])


def _curves(trace: Trace, credentials: "list[Credential] | None") -> "list[Curves | Recorded]":
    """The answers of the trace, and behind them the computed ones where that can be done."""
    x, g_x = trace.take("x"), trace.take("g_x")
    public_keys, secrets, signatures, verified = {x: g_x}, {}, {}, []
    if trace.holds("g_xy"):
        y, g_y = trace.take("y"), trace.take("g_y")
        public_keys[y] = g_y
        secrets[(x, g_y)] = secrets[(y, g_x)] = trace.take("g_xy")
    if trace.holds("g_rx") and credentials is not None:
        secrets[(trace.take("sk_r"), g_x)] = secrets[(x, credentials[0].public_key)] = trace.take("g_rx")
        secrets[(trace.take("sk_i"), g_y)] = secrets[(y, credentials[1].public_key)] = trace.take("g_iy")
    if trace.holds("signed_2"):
        for role, message in (("r", "2"), ("i", "3")):
            private, public = trace.take("sk_" + role), trace.take("pk_" + role)
            signed, signature = trace.take("signed_" + message), trace.take("signature_or_mac_" + message)
            public_keys[private] = public
            signatures[(private, signed)] = signature
            verified.append((public, signed, signature))
    recorded = Recorded(Answers(public_keys, secrets, signatures, verified))
    return [recorded, Curves()] if HAVE_CURVES else [recorded]
