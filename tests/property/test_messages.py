"""Any bytes give a value that encodes back to them, or a DecodeError; any value comes back unchanged."""

import functools
from collections.abc import Callable
from typing import Any

from classic import SUITES as CLASSIC_SUITES
from host_crypto import crypto
from hypothesis import given
from hypothesis import strategies as st

from handfast.core import cbor, credentials, messages
from handfast.core.constants import IDENTIFIER_LENGTH
from handfast.core.cose import decode_key, encode_key
from handfast.core.errors import AuthenticationError, DecodeError
from handfast.core.identifiers import decode_identifier, encode_identifier
from handfast.core.key_schedule import KeySchedule
from handfast.core.methods import Signatures
from handfast.core.suites import SIGNATURES, SUITES

# Bytes that go deeper than random ones do: CBOR of every type, some of it nearly right.
scalars = (
    st.integers(-30, 30)
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=10)
    | st.booleans()
    | st.none()
)
keys = st.integers(-4, 40) | st.text(max_size=3) | st.binary(max_size=3)
items = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
sequences = st.lists(items, max_size=7).map(lambda values: cbor.encode_sequence(*values))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An encoded sequence with a byte changed, bytes cut off, or bytes put in."""
    data = bytearray(draw(sequences))
    at = draw(st.integers(0, len(data)))
    data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


inputs = st.binary(max_size=80) | sequences | damaged()

identifiers = st.binary(max_size=9)
eads = st.lists(st.tuples(st.integers(-(2**63), 2**63), st.none() | st.binary(max_size=20)), max_size=4)
proofs = st.binary(min_size=8, max_size=80)
suites_i = st.lists(st.integers(-25, 30), min_size=1, max_size=4).map(tuple)
id_creds = st.one_of(
    st.binary(max_size=9).map(lambda kid: cbor.encode({4: kid})),
    st.integers(0, 99).map(lambda number: cbor.encode({34: [-15, bytes(8)], number + 35: number})),
    st.text(min_size=1, max_size=20).map(
        lambda subject: credentials.id_cred_by_value(credentials.make_ccs(crypto, subject, -48, bytes(1312)))
    ),
)


def one_encoding(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], data: bytes) -> None:
    """`data` is refused or comes back byte for byte."""
    try:
        value = decode(data)
    except DecodeError:
        return
    assert encode(value) == data


@given(inputs)
def test_any_bytes_are_one_of_our_encodings_or_refused(data: bytes) -> None:
    one_encoding(messages.decode_message_1, messages.encode_message_1, data)
    one_encoding(messages.decode_plaintext_2, messages.encode_plaintext_2, data)
    one_encoding(messages.decode_message_3, messages.encode_message_3, data)
    one_encoding(messages.decode_plaintext_3, messages.encode_plaintext_3, data)
    one_encoding(messages.decode_message_4, messages.encode_message_4, data)
    one_encoding(messages.decode_plaintext_4, messages.encode_plaintext_4, data)
    one_encoding(messages.decode_ead, messages.encode_ead, data)
    one_encoding(messages.decode_error, messages.encode_error, data)
    one_encoding(messages.decode_frame, messages.encode_frame, data)
    one_encoding(
        lambda encoded: credentials.decode_ccs(crypto, encoded),
        lambda credential: credentials.make_ccs(crypto, *credential[1:4]).encoded,
        data,
    )


def outcome(decode: Callable[[Any], Any], data: "bytes | memoryview") -> object:
    """What `decode` gives, or that it refuses."""
    try:
        return decode(data)
    except DecodeError:
        return "refused"


def frame_of(data: bytes) -> messages.Frame:
    """A frame by way of all its CBOR items."""
    if data[:1] == b"\xf5":
        return messages.Frame(None, data[1:], None)
    first, *others = cbor.decode_sequence(data) or [None]
    c_x = decode_identifier(first)
    if len(others) == 1 and isinstance(others[0], bytes):
        return messages.Frame(c_x, cbor.encode(others[0]), None)
    return messages.Frame(c_x, None, messages.decode_error(cbor.encode_sequence(*others)))


@given(inputs | st.tuples(identifiers, sequences).map(lambda parts: cbor.encode(parts[0]) + parts[1]))
def test_any_bytes_are_the_frame_that_a_reader_of_every_item_finds_also_in_a_view(data: bytes) -> None:
    expected = outcome(frame_of, data)
    assert outcome(messages.decode_frame, data) == expected
    # Of a view so much is read as identifiers of ours have.
    if expected == "refused" or len(getattr(expected, "c_x", None) or b"") <= IDENTIFIER_LENGTH:
        assert outcome(messages.decode_frame, memoryview(data)) == expected


@given(inputs)
def test_any_bytes_are_the_same_in_a_view(data: bytes) -> None:
    view = memoryview(bytearray(data))
    for decode in (messages.decode_plaintext_2, messages.decode_ead, messages.decode_error):
        assert outcome(decode, view) == outcome(decode, data)
    for suite in SUITES.values():
        split = functools.partial(messages.split_message_2, suite=suite)
        assert outcome(split, view) == outcome(split, data)


@given(st.binary(max_size=3000), st.sampled_from([*SUITES.values(), CLASSIC_SUITES[2]]))
def test_any_message_2_is_split_or_refused(data: bytes, suite: Any) -> None:
    for message_2 in (data, cbor.encode(data)):
        one_encoding(
            lambda encoded: messages.split_message_2(encoded, suite),
            lambda parts: messages.encode_message_2(*parts),
            message_2,
        )


@given(items)
def test_any_item_is_an_identifier_an_id_cred_and_a_key_of_ours_or_refused(item: object) -> None:
    def identifier(value: object) -> None:
        assert encode_identifier(decode_identifier(value)) == value

    def id_cred(value: object) -> None:
        field = cbor.encode(value)
        encoded = credentials.decode_id_cred_field(value, field)
        assert credentials.encode_id_cred_field(encoded) == field
        credentials.kid_in(encoded)
        by_value = functools.partial(credentials.credential_in, crypto)
        assert outcome(by_value, memoryview(encoded)) == outcome(by_value, encoded)

    def key(value: object) -> None:
        encoded = cbor.encode(value)
        assert encode_key(*decode_key(encoded)) == encoded

    for read in (identifier, id_cred, key):
        try:
            read(item)
        except DecodeError:
            continue


@given(st.dictionaries(st.sampled_from([1, 2, 3, -1, -2]), items, max_size=5), st.booleans())
def test_any_key_in_a_credential_is_refused_or_ours(key: dict[int, object], wrong_kid: bool) -> None:
    row = SIGNATURES[-48]
    key = {1: 7, 2: bytes(8), 3: -48, -1: bytes(row.public_key), **key}
    if not wrong_kid and isinstance(key[-1], bytes) and type(key[3]) is int:
        key[2] = credentials.thumbprint(crypto, key[3], key[-1])[:8]
    ccs = cbor.encode({2: "s", 8: {1: key}})
    decode = functools.partial(credentials.decode_ccs, crypto)
    one_encoding(decode, lambda credential: credentials.make_ccs(crypto, *credential[1:4]).encoded, ccs)
    assert outcome(decode, memoryview(ccs)) == outcome(decode, ccs)


@given(st.integers(-3, 5), suites_i, st.binary(max_size=60), identifiers, eads)
def test_any_message_1_comes_back(
    method: int, suites: tuple[int, ...], g_x: bytes, c_i: bytes, ead: list[tuple[int, bytes | None]]
) -> None:
    message = messages.Message1(method, suites, g_x, c_i, ead)
    encoded = messages.encode_message_1(message)
    assert messages.decode_message_1(encoded) == message
    # What GATE authenticates is the message without its EAD_1.
    bare = messages.encode_message_1(messages.Message1(method, suites, g_x, c_i, []))
    assert encoded == bare + messages.encode_ead(ead)


@given(identifiers, id_creds, proofs, eads)
def test_any_plaintext_comes_back(
    c_r: bytes, id_cred: bytes, proof: bytes, ead: list[tuple[int, bytes | None]]
) -> None:
    plaintext_2 = messages.Plaintext2(c_r, id_cred, proof, ead)
    assert messages.decode_plaintext_2(messages.encode_plaintext_2(plaintext_2)) == plaintext_2
    plaintext_3 = messages.Plaintext3(id_cred, proof, ead)
    assert messages.decode_plaintext_3(messages.encode_plaintext_3(plaintext_3)) == plaintext_3


@given(identifiers, st.binary(max_size=40), st.text(max_size=20), suites_i)
def test_any_frame_comes_back(c_x: bytes, ciphertext: bytes, text: str, suites: tuple[int, ...]) -> None:
    for frame in (
        messages.Frame(None, ciphertext, None),
        messages.Frame(c_x, cbor.encode(ciphertext), None),
        messages.Frame(c_x, None, messages.ErrorMessage(1, text)),
        messages.Frame(c_x, None, messages.ErrorMessage(2, suites)),
        messages.Frame(c_x, None, messages.ErrorMessage(3, True)),
    ):
        assert messages.decode_frame(messages.encode_frame(frame)) == frame


@given(st.binary(max_size=5000), st.sampled_from(sorted(SUITES)))
def test_any_bytes_for_a_signature_are_refused(signature: bytes, number: int) -> None:
    suite = SUITES[number]
    row = SIGNATURES[suite.signature]
    schedule = KeySchedule(crypto, suite)
    credential = credentials.make_ccs(crypto, "s", suite.signature, bytes(row.public_key))
    id_cred = credentials.id_cred_by_kid(credential)
    prk = th = bytes(schedule.hash_length)
    method = Signatures()
    try:
        method.verify_2(schedule, prk, th, b"c_r", id_cred, credential, b"", signature)
        method.verify_3(schedule, prk, th, id_cred, credential, b"", signature)
    except AuthenticationError:
        return
    raise AssertionError("a signature out of nothing was accepted")
