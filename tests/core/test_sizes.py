"""The messages are as long as the design says (docs/protocol.md, sizes), by the encoders themselves.

No EAD, identifiers of one byte, kids of eight, subjects of 38 characters for the device and
11 for the hub.
"""

from host_crypto import crypto

from handfast.core import messages
from handfast.core.credentials import id_cred_by_kid, id_cred_by_value, make_ccs
from handfast.core.suites import AEADS, KEMS, SIGNATURES, suite

_DEVICE = "12345678-90ab-cdef-1234-567890abcdef:1"
_HUB = "hub.example"

# suite, device by value, hub by value: message_1 to message_4, their sum
_TABLE = (
    (-24, False, False, (806, 3204, 2451, 17), 6478),
    (-24, True, False, (806, 3204, 3821, 17), 7848),
    (-24, True, True, (806, 4546, 3821, 17), 9190),
    (-22, False, False, (1190, 4413, 3340, 17), 8960),
    (-22, True, False, (1190, 4413, 5350, 17), 10970),
    (-22, True, True, (1190, 6395, 5350, 17), 12952),
    (-21, False, False, (1222, 4445, 3340, 17), 9024),
    (-21, True, False, (1222, 4445, 5350, 17), 11034),
    (-21, True, True, (1222, 6427, 5350, 17), 13016),
    (-23, False, False, (1574, 6211, 4658, 17), 12460),
    (-23, True, False, (1574, 6211, 7308, 17), 15110),
    (-23, True, True, (1574, 8833, 7308, 17), 17732),
)


def test_message_sizes_are_those_of_the_design() -> None:
    for number, device_by_value, hub_by_value, expected, total in _TABLE:
        sizes = _sizes(number, device_by_value, hub_by_value)
        assert sizes == expected, (number, device_by_value, hub_by_value, sizes)
        assert sum(sizes) == total


def _sizes(number: int, device_by_value: bool, hub_by_value: bool) -> "tuple[int, int, int, int]":
    row = suite(number)
    kem, signature, tag = KEMS[row.kem], SIGNATURES[row.signature], AEADS[row.aead].tag_length
    device = make_ccs(crypto, _DEVICE, row.signature, bytes(signature.public_key))
    hub = make_ccs(crypto, _HUB, row.signature, bytes(signature.public_key))
    id_cred_i = id_cred_by_value(device) if device_by_value else id_cred_by_kid(device)
    id_cred_r = id_cred_by_value(hub) if hub_by_value else id_cred_by_kid(hub)
    proof = bytes(signature.signature)
    message_1 = messages.encode_message_1(messages.Message1(0, (number,), bytes(kem.public_key), b"\x01", []))
    plaintext_2 = messages.encode_plaintext_2(messages.Plaintext2(b"\x02", id_cred_r, proof, []))
    message_2 = messages.encode_message_2(bytes(kem.ciphertext), plaintext_2)
    plaintext_3 = messages.encode_plaintext_3(messages.Plaintext3(id_cred_i, proof, []))
    message_3 = messages.encode_message_3(plaintext_3 + bytes(tag))
    message_4 = messages.encode_message_4(messages.encode_plaintext_4([]) + bytes(tag))
    return len(message_1), len(message_2), len(message_3), len(message_4)
