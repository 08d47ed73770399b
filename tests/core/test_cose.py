"""COSE keys against RFC 9964, and the bytes that signatures and AEADs cover."""

from refusal import refused
from vector_file import load

from handfast.core.cbor import decode, encode
from handfast.core.cose import decode_key, enc_structure, encode_key, sig_structure
from handfast.core.errors import DecodeError
from handfast.core.suites import ML_DSA_44

_KID = b"kid-of-8"
_PUBLIC_KEY = bytes([0x55]) * 1312


def test_published_keys_are_encoded_and_decoded() -> None:
    for vector in load("cose"):
        fields = vector.fields
        algorithm = decode(fields["algorithm"])
        key = encode_key(algorithm, fields["public_key"], fields["thumbprint"])
        assert key == fields["cose_key"], vector.name
        assert decode_key(fields["cose_key"]) == (
            algorithm,
            fields["public_key"],
            fields["thumbprint"],
        )


def test_a_key_of_another_form_is_refused() -> None:
    encoded = encode_key(ML_DSA_44, _PUBLIC_KEY, _KID)
    assert decode_key(encoded) == (ML_DSA_44, _PUBLIC_KEY, _KID)
    good = decode(encoded)
    assert good == {1: 7, 2: _KID, 3: ML_DSA_44, -1: _PUBLIC_KEY}
    for other in (b"", encode([1, 2, 3, 4]), encode(None), encoded[:-1], encoded + b"\x00"):
        refused(DecodeError, decode_key, other)
    for label, value in (
        (1, 1),  # EC2 and OKP keys are not ours
        (1, None),
        (2, "kid-of-8"),
        (2, 8),
        (3, -7),
        (3, -49),  # the algorithm of a longer key
        (3, True),
        (3, "ML-DSA-44"),
        (-1, _PUBLIC_KEY[:-1]),
        (-1, _PUBLIC_KEY + b"\x00"),
        (-1, 7),
        (-2, bytes(32)),  # a private key
        (4, [2]),  # key_ops
    ):
        changed = dict(good)
        changed[label] = value
        refused(DecodeError, decode_key, encode(changed))
    for label in good:
        changed = dict(good)
        del changed[label]
        refused(DecodeError, decode_key, encode(changed))
        # As many entries as expected, but not these.
        changed[99] = good[label]
        refused(DecodeError, decode_key, encode(changed))


def test_what_is_signed_has_every_part_in_its_place() -> None:
    id_cred, th, cred, mac = bytes.fromhex("a1044132"), bytes(32), bytes.fromhex("a10801"), b"\x4d" * 8
    prefix = "846a5369676e6174757265314" + "4a1044132"
    assert b"".join(sig_structure(id_cred, th, cred, b"", mac)).hex() == (
        prefix + "5825" + "5820" + "00" * 32 + "a10801" + "48" + "4d" * 8
    )
    # EAD_x comes after CRED_x within the same byte string.
    assert b"".join(sig_structure(id_cred, th, cred, bytes.fromhex("0040"), mac)).hex() == (
        prefix + "5827" + "5820" + "00" * 32 + "a10801" + "0040" + "48" + "4d" * 8
    )


def test_the_additional_data_of_an_aead_has_every_part_in_its_place() -> None:
    assert enc_structure(b"", b"\x02\x03").hex() == "8368456e637279707430" + "40" + "420203"
    assert enc_structure(bytes.fromhex("a1011818"), b"").hex() == (
        "8368456e637279707430" + "44a1011818" + "40"
    )
