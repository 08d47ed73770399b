"""Codes as text and base32: the vectors of tests/vectors/codes, and what a vector file cannot say."""

import hashlib

from refusal import refused
from vector_file import Vector, load, load_file

from handfast.core import codes
from handfast.core.errors import DecodeError, LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Sha256:
    """As much of a Crypto port as codes need; counts the comparisons that are in constant time."""

    def __init__(self) -> None:
        self.compared = 0

    def hash(self, algorithm: int, data: bytes) -> bytes:
        assert algorithm == -16
        return hashlib.sha256(data).digest()

    def equal(self, left: bytes, right: bytes) -> bool:
        self.compared += 1
        return left == right


CRYPTO = Sha256()
READERS: "dict[str, Callable[[str], object]]" = {
    "token": lambda text: codes.decode_token(CRYPTO, text),
    "hub_code": lambda text: codes.decode_hub_code(CRYPTO, text),
    "claim_code": lambda text: codes.decode_claim_code(CRYPTO, text),
    "b32": codes.b32decode,
}


def reader(vector: Vector) -> "Callable[[str], object]":
    for name, read in READERS.items():
        if vector.name.startswith(name):
            return read
    raise AssertionError(vector.name)


def content(vector: Vector) -> "Any":
    fields = vector.fields
    if "k_tok" in fields:
        return codes.Token(fields["token_id"], fields["k_tok"], "shared" in vector.name)
    return fields["hub_id"] if "hub_id" in fields else fields["dev_tp"]


def test_every_code_of_the_vectors_is_read_however_it_was_typed() -> None:
    read = 0
    for vector in load("codes"):
        if vector.expect == "success" and "text" in vector.fields:
            for name, text in vector.fields.items():
                if name == "text" or name.startswith("typed"):
                    assert reader(vector)(text.decode()) == content(vector), vector.name + ": " + name
                    read += 1
    assert read == 30


def test_every_faulty_code_of_the_vectors_is_refused() -> None:
    count = 0
    for vector in load("codes"):
        if vector.expect != "success":
            assert vector.expect == "DecodeError"
            for text in vector.fields.values():
                refused(DecodeError, reader(vector), text.decode())
                count += 1
    assert count > 100


def test_codes_are_written_as_the_vectors_say() -> None:
    for name in ("token.txt", "token_shared.txt", "token_all_zero.txt"):
        vector = load_file("codes", name)
        assert codes.encode_token(CRYPTO, content(vector)).encode() == vector.fields["text"]
    hub = load_file("codes", "hub_code.txt").fields
    assert codes.encode_hub_code(CRYPTO, hub["hub_id"]).encode() == hub["text"]
    claim = load_file("codes", "claim_code.txt").fields
    assert codes.encode_claim_code(CRYPTO, claim["dev_tp"]).encode() == claim["text"]


def test_the_texts_have_72_and_56_characters_beside_the_hyphens() -> None:
    token = codes.encode_token(CRYPTO, codes.Token(bytes(8), bytes(32), False))
    assert [len(group) for group in token.split("-")] == [8] * 9
    hub = codes.encode_hub_code(CRYPTO, bytes(32))
    assert [len(group) for group in hub.split("-")] == [8] * 7


def test_every_single_wrong_character_of_a_code_is_found() -> None:
    vector = load_file("codes", "hub_code.txt")
    text = vector.fields["text"].decode()
    for at in range(len(text)):
        if text[at] != "-":
            wrong = text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]
            refused(DecodeError, READERS["hub_code"], wrong)


def test_a_code_of_another_kind_is_named_in_the_refusal() -> None:
    hub = load_file("codes", "hub_code.txt").fields["text"].decode()
    error = refused(DecodeError, READERS["token"], hub)
    assert str(error) == "this is a hub code; a token was expected"


def test_a_wrong_length_is_named_in_the_refusal() -> None:
    token = load_file("codes", "token.txt").fields["text"].decode()
    assert "72 characters" in str(refused(DecodeError, READERS["token"], token[:-9]))
    hub = load_file("codes", "hub_code.txt").fields["text"].decode()
    assert "56 characters" in str(refused(DecodeError, READERS["hub_code"], hub + "-AAAAAAAA"))


def test_no_refusal_repeats_any_part_of_a_token() -> None:
    for vector in load("codes"):
        if vector.name.startswith("token") and vector.expect != "success":
            for text in vector.fields.values():
                said = str(refused(DecodeError, READERS["token"], text.decode()))
                for group in text.decode().replace("-", " ").split():
                    assert len(group) < 5 or group not in said


def test_the_check_of_a_code_is_compared_by_the_crypto_port() -> None:
    crypto = Sha256()
    codes.decode_token(crypto, load_file("codes", "token.txt").fields["text"].decode())
    assert crypto.compared == 1


def test_what_has_not_the_size_of_a_code_is_not_written() -> None:
    refused(LocalError, codes.encode_token, CRYPTO, codes.Token(bytes(7), bytes(33), False))
    refused(LocalError, codes.encode_token, CRYPTO, codes.Token(bytes(8), bytes(31), True))
    refused(LocalError, codes.encode_hub_code, CRYPTO, bytes(31))
    refused(LocalError, codes.encode_hub_code, CRYPTO, b"")
    refused(LocalError, codes.encode_claim_code, CRYPTO, bytes(33))


def test_base32_follows_rfc_4648() -> None:
    for text, encoded in load_file("codes", "b32_rfc4648.txt").fields.items():
        assert codes.b32encode(text.encode()) == encoded.decode()
        assert codes.b32decode(encoded.decode()) == text.encode()
    assert codes.b32encode(b"") == ""
    assert codes.b32decode("") == b""


def test_base32_reads_what_it_wrote_at_every_length() -> None:
    for length in range(60):
        for data in (bytes(length), b"\xff" * length, bytes(range(length))):
            text = codes.b32encode(data)
            assert len(text) == -(-8 * length // 5)
            assert codes.b32decode(text) == data
