"""What handfast/1 itself puts on the wire: MQTT payloads of an onboarding and of records, frozen.

Identifiers of 8 bytes, a device called "device" at "handfast hub berlin", DEVINFO of 64 bytes. A
change of this table is a change of the protocol or of what a board must buffer.
"""

from host_crypto import crypto

from handfast.core import ead, messages
from handfast.core.credentials import id_cred_by_kid, id_cred_by_value, make_ccs
from handfast.core.records import RecordKeys
from handfast.core.suites import AEADS, KEMS, SIGNATURES, suite

_C_I, _C_R = b"\x80" * 8, b"\x81" * 8

# suite, first enrolment (both credentials by value, token) or a later one (both by kid, no token):
# the payloads of message_1 to message_4, and their sum
_ONBOARDINGS = (
    (-21, True, (1266, 6452, 5504, 96), 13318),
    (-21, False, (1257, 4462, 3493, 96), 9308),
    (-22, True, (1234, 6420, 5504, 96), 13254),
    (-22, False, (1225, 4430, 3493, 96), 9244),
    (-23, True, (1618, 8858, 7462, 96), 18034),
    (-23, False, (1609, 6228, 4811, 96), 12744),
    (-24, True, (850, 4571, 3975, 96), 9492),
    (-24, False, (841, 3221, 2604, 96), 6762),
)
# suite, PIV, length of the plaintext: length of the record
_RECORDS = (
    (-21, 0, 0, 34),
    (-21, 0, 16, 51),
    (-21, 255, 256, 292),
    (-21, 65535, 65000, 65037),
    (-23, 0, 16, 50),
    (-24, 0, 16, 51),
)


def test_an_onboarding_is_as_long_as_it_was() -> None:
    for number, first, expected, total in _ONBOARDINGS:
        sizes = _onboarding(number, first)
        assert sizes == expected, (number, first, sizes, sum(sizes))
        assert sum(sizes) == total


def test_a_record_is_as_long_as_it_was() -> None:
    for number, piv, length, expected in _RECORDS:
        aead = AEADS[suite(number).record_aead]
        keys = RecordKeys(
            crypto, number, bytes(8), 1, b"\x00", bytes(aead.key_length), bytes(aead.nonce_length)
        )
        assert len(keys.seal(piv, 1, bytes(length))) == expected, (number, piv, length)


def _onboarding(number: int, first: bool) -> "tuple[int, int, int, int]":
    row = suite(number)
    kem, signature, tag = KEMS[row.kem], SIGNATURES[row.signature], AEADS[row.aead].tag_length
    device = make_ccs(crypto, "device", row.signature, bytes(signature.public_key))
    hub = make_ccs(crypto, "handfast hub berlin", row.signature, bytes(signature.public_key))
    id_cred = id_cred_by_value if first else id_cred_by_kid
    proof = bytes(signature.signature)
    gate = ead.encode_gate(ead.Gate(int(first), int(first), bytes(16), bytes(8) if first else None))
    message_1 = messages.Message1(0, (number,), bytes(kem.public_key), _C_I, [gate])
    plaintext_2 = messages.encode_plaintext_2(messages.Plaintext2(_C_R, id_cred(hub), proof, []))
    message_2 = messages.encode_message_2(bytes(kem.ciphertext), plaintext_2)
    items = [ead.encode_token(ead.TokenProof(bytes(8), bytes(32)))] if first else []
    items.append(ead.encode_devinfo(bytes(64)))
    items.append(ead.encode_rootc(ead.RootC(bytes(16), None if first else bytes(16), bytes(32))))
    plaintext_3 = messages.encode_plaintext_3(messages.Plaintext3(id_cred(device), proof, items))
    root_r = ead.encode_rootr(ead.RootR(bytes(16), bytes(32), bytes(8), 1))
    frames = (
        messages.Frame(None, messages.encode_message_1(message_1), None),
        messages.Frame(_C_I, message_2, None),
        messages.Frame(_C_R, messages.encode_message_3(plaintext_3 + bytes(tag)), None),
        messages.Frame(
            _C_I, messages.encode_message_4(messages.encode_plaintext_4([root_r]) + bytes(tag)), None
        ),
    )
    sizes = [len(messages.encode_frame(frame)) for frame in frames]
    return sizes[0], sizes[1], sizes[2], sizes[3]
