"""Codes and base32: any text is refused or is what would be written; base64 of Python is the judge."""

import base64
import hashlib
import hmac
import random
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from handfast.core import codes
from handfast.core.errors import DecodeError


class Sha256:
    """As much of a Crypto port as codes need."""

    def hash(self, algorithm: int, data: bytes) -> bytes:
        assert algorithm == -16
        return hashlib.sha256(data).digest()

    def equal(self, left: bytes, right: bytes) -> bool:
        return hmac.compare_digest(left, right)


CRYPTO = Sha256()
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
DECODERS = (codes.decode_token, codes.decode_hub_code, codes.decode_claim_code)

thumbprints = st.binary(min_size=32, max_size=32)
tokens = st.builds(
    codes.Token, st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32), st.booleans()
)
near_base32 = st.text(alphabet=ALPHABET, max_size=40) | st.text(
    alphabet=ALPHABET + "ABZ018-= \n", max_size=20
)


@given(st.binary(max_size=80))
def test_base32_is_that_of_python_in_lower_case_without_padding(data: bytes) -> None:
    text = codes.b32encode(data)
    assert text == base64.b32encode(data).decode().lower().rstrip("=")
    assert codes.b32decode(text) == data


@settings(max_examples=1000)
@given(st.text(max_size=30) | near_base32)
@example("\u212a\u212a")
def test_a_text_is_refused_or_is_the_one_base32_of_its_bytes(text: str) -> None:
    try:
        data = codes.b32decode(text)
    except DecodeError:
        # The judge takes sloppy texts too, so a refusal is right unless it would write the same.
        assert not canonical(text)
    else:
        assert codes.b32encode(data) == text
        assert canonical(text)


def canonical(text: str) -> bool:
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return False
    return base64.b32encode(data).decode().lower().rstrip("=") == text


@given(tokens)
def test_a_token_is_read_back(token: codes.Token) -> None:
    text = codes.encode_token(CRYPTO, token)
    assert codes.decode_token(CRYPTO, text) == token
    kind = b"\x04" if token.shared else b"\x01"
    body = kind + token.token_id + token.k_tok
    assert base64.b32decode(text.replace("-", "")) == body + hashlib.sha256(body).digest()[:4]


@given(thumbprints)
def test_hub_and_claim_codes_are_read_back_and_not_taken_for_each_other(thumbprint: bytes) -> None:
    hub, claim = codes.encode_hub_code(CRYPTO, thumbprint), codes.encode_claim_code(CRYPTO, thumbprint)
    assert codes.decode_hub_code(CRYPTO, hub) == thumbprint
    assert codes.decode_claim_code(CRYPTO, claim) == thumbprint
    for decode, text in zip(DECODERS, (claim, claim, hub)):
        assert fails(decode, text)


@given(tokens, st.randoms(use_true_random=False))
def test_case_hyphens_and_spaces_do_not_matter(token: codes.Token, rng: random.Random) -> None:
    text = codes.encode_token(CRYPTO, token).replace("-", "")
    typed = "".join([rng.choice(("", "", "", "-", " ")) + rng.choice((c, c.lower())) for c in text])
    assert codes.decode_token(CRYPTO, typed) == token


@given(tokens, st.integers(0, 71), st.sampled_from(ALPHABET))
def test_any_one_changed_character_of_a_token_is_found(token: codes.Token, at: int, other: str) -> None:
    text = codes.encode_token(CRYPTO, token).replace("-", "").lower()
    if text[at] != other:
        assert fails(codes.decode_token, text[:at] + other + text[at + 1 :])


@settings(max_examples=1000)
@given(st.text(max_size=100) | st.text(alphabet=ALPHABET, min_size=50, max_size=80))
def test_any_text_gives_a_code_or_our_error(text: str) -> None:
    for decode in DECODERS:
        fails(decode, text)


def fails(decode: Callable[[Sha256, str], object], text: str) -> bool:
    try:
        decode(CRYPTO, text)
    except DecodeError:
        return True
    return False
