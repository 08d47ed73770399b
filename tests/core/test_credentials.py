"""Credentials: one encoding each, named by kid or carried by value, nothing taken on trust."""

from host_crypto import crypto
from refusal import refused
from vector_file import load

from handfast.core.cbor import decode, encode
from handfast.core.constants import MAX_SUBJECT
from handfast.core.credentials import (
    credential_in,
    decode_ccs,
    decode_id_cred_field,
    encode_id_cred_field,
    id_cred_by_kid,
    id_cred_by_value,
    kid_in,
    make_ccs,
    thumbprint,
)
from handfast.core.errors import DecodeError, LocalError
from handfast.core.suites import ML_DSA_44, ML_DSA_65

_PUBLIC_KEY = bytes([0x55]) * 1952


def test_a_thumbprint_is_that_of_the_published_keys() -> None:
    for vector in load("cose"):
        fields = vector.fields
        algorithm, public_key = decode(fields["algorithm"]), fields["public_key"]
        assert thumbprint(crypto, algorithm, public_key) == fields["thumbprint"], vector.name
        credential = make_ccs(crypto, "sensor-7", algorithm, public_key)
        assert credential.thumbprint == fields["thumbprint"]
        assert credential.kid == fields["thumbprint"][:8]


def test_a_credential_is_read_as_it_was_made() -> None:
    for subject in ("a", "sensor-7", "Fühler ☂", "x" * MAX_SUBJECT):
        made = make_ccs(crypto, subject, ML_DSA_65, _PUBLIC_KEY)
        assert decode_ccs(crypto, made.encoded) == made
        assert made.subject == subject
    claims = decode(make_ccs(crypto, "sensor-7", ML_DSA_65, _PUBLIC_KEY).encoded)
    kid = thumbprint(crypto, ML_DSA_65, _PUBLIC_KEY)[:8]
    assert claims == {2: "sensor-7", 8: {1: {1: 7, 2: kid, 3: ML_DSA_65, -1: _PUBLIC_KEY}}}


def test_a_credential_without_a_name_is_not_made() -> None:
    refused(LocalError, make_ccs, crypto, "", ML_DSA_65, _PUBLIC_KEY)
    refused(LocalError, make_ccs, crypto, "x" * (MAX_SUBJECT + 1), ML_DSA_65, _PUBLIC_KEY)
    refused(LocalError, make_ccs, crypto, "ü" * (MAX_SUBJECT // 2 + 1), ML_DSA_65, _PUBLIC_KEY)


def test_a_credential_of_another_form_is_refused() -> None:
    key = decode(make_ccs(crypto, "s", ML_DSA_65, _PUBLIC_KEY).encoded)[8][1]
    other_kid = dict(key)
    other_kid[2] = bytes(8)
    long_kid = dict(key)
    long_kid[2] = thumbprint(crypto, ML_DSA_65, _PUBLIC_KEY)
    other_algorithm = dict(key)
    other_algorithm[3] = ML_DSA_44
    private = dict(key)
    private[-2] = bytes(32)
    mapped_kid = dict(key)
    mapped_kid[2] = {b"kid": [b"kid"]}
    for claims in (
        {2: "s", 8: {1: other_kid}},
        {2: "s", 8: {1: long_kid}},
        {2: "s", 8: {1: other_algorithm}},
        {2: "s", 8: {1: private}},
        {2: "s", 8: {1: mapped_kid}},
        {2: "s", 8: {1: key, 3: b"kid"}},
        {2: "s", 8: {1: key}, 4: 1790000000},  # exp: nobody here would honour it
        {2: "s", 8: {3: b"kid"}},
        {2: "s", 8: key},
        {2: "s", 8: [key]},
        {2: "s"},
        {2: "s", 9: {1: key}},
        {8: {1: key}},  # no subject: RFC 9528 section 3.5.2 allows it, misbinding forbids it
        {2: "", 8: {1: key}},
        {2: "x" * (MAX_SUBJECT + 1), 8: {1: key}},
        {2: b"s", 8: {1: key}},
        {2: {b"s": {b"s": "s"}}, 8: {1: key}},
        [2, "s"],
        "s",
    ):
        refused(DecodeError, decode_ccs, crypto, encode(claims))
        # A board reads it where it lies.
        refused(DecodeError, decode_ccs, crypto, memoryview(encode(claims)))


def test_a_credential_has_one_encoding() -> None:
    """CRED_x is signed as it came, so two encodings of one key would be two credentials."""
    encoded = make_ccs(crypto, "s", ML_DSA_65, _PUBLIC_KEY).encoded
    assert encoded[:4] == bytes.fromhex("a2026173")
    refused(DecodeError, decode_ccs, crypto, encoded + b"\x00")
    refused(DecodeError, decode_ccs, crypto, encoded[:-1])
    # The length of the subject in two bytes; the claims the other way round.
    refused(DecodeError, decode_ccs, crypto, bytes.fromhex("a202780173") + encoded[4:])
    refused(DecodeError, decode_ccs, crypto, b"\xa2" + encoded[4:] + encoded[1:4])


def test_an_id_cred_by_kid_is_short_in_a_plaintext() -> None:
    credential = make_ccs(crypto, "s", ML_DSA_65, _PUBLIC_KEY)
    id_cred = id_cred_by_kid(credential)
    assert decode(id_cred) == {4: credential.kid}
    assert kid_in(id_cred) == credential.kid
    assert encode_id_cred_field(id_cred) == encode(credential.kid)
    assert decode_id_cred_field(credential.kid, encode(credential.kid)) == id_cred


def test_the_examples_of_rfc_9528_for_a_kid_in_a_plaintext() -> None:
    for id_cred, field in (("a10441ff", "41ff"), ("a1044121", "21"), ("a1044132", "32"), ("a10440", "40")):
        encoded = bytes.fromhex(field)
        assert encode_id_cred_field(bytes.fromhex(id_cred)) == encoded
        assert decode_id_cred_field(decode(encoded), encoded).hex() == id_cred


def test_an_id_cred_by_value_holds_the_credential_byte_for_byte() -> None:
    credential = make_ccs(crypto, "s", ML_DSA_65, _PUBLIC_KEY)
    id_cred = id_cred_by_value(credential)
    assert id_cred == b"\xa1\x0e" + credential.encoded
    assert kid_in(id_cred) is None
    assert credential_in(crypto, id_cred) == credential
    assert encode_id_cred_field(id_cred) == id_cred
    assert decode_id_cred_field(decode(id_cred), id_cred) == id_cred


def test_an_id_cred_by_reference_holds_no_credential() -> None:
    for id_cred in ("a1044132", "a11822822e4879f2a41b510c1f9b", "a204410a0a410b"):
        assert credential_in(crypto, bytes.fromhex(id_cred)) is None
    # kid together with kid context is not the short form.
    two = bytes.fromhex("a204410a0a410b")
    assert kid_in(two) is None
    assert encode_id_cred_field(two) == two
    assert decode_id_cred_field(decode(two), two) == two


def test_an_id_cred_by_value_that_is_no_ccs_of_ours_is_refused() -> None:
    for ccs in ({}, 7, b"ccs", {2: "s"}):
        refused(DecodeError, credential_in, crypto, encode({14: ccs}))


def test_an_id_cred_field_of_another_form_is_refused() -> None:
    for item in (
        {4: b"kid"},
        {4: 7},
        {},
        {b"label": 1},
        b"\x21",
        b"\x00",
        24,
        -25,
        True,
        None,
        "kid",
        [b"kid"],
    ):
        refused(DecodeError, decode_id_cred_field, item, encode(item))
