"""Tokens, hub codes and claim codes as text that a person can read, type and scan.

    token       0x01 || token_id (8) || K_tok (32) || check (4)     72 characters    secret
    hub code    0x02 || hub_id (32)                || check (2)     56 characters    public
    claim code  0x03 || dev_tp (32)                || check (2)     56 characters    public
    shared      0x04 || token_id (8) || K_tok (32) || check (4)     72 characters    secret

`check` is the first bytes of SHA-256 over all bytes before it. The text is base32 (RFC 4648
section 6) in upper case, in groups of 8 joined by '-'. Reading ignores case, '-' and spaces and
refuses any other fault. A shared token has a first byte of its own, because its holder must know
that K_tok is not a secret between two: it admits a device and never goes into a key. No error text
repeats what was read, for it may be a token.
"""

from handfast.core.base32 import ALPHABET, b32encode
from handfast.core.constants import (
    CODE_CLAIM,
    CODE_HUB,
    CODE_SHARED_TOKEN,
    CODE_TOKEN,
    K_TOK_LENGTH,
    THUMBPRINT_LENGTH,
    TOKEN_ID_LENGTH,
)
from handfast.core.errors import DecodeError, LocalError
from handfast.core.suites import SHA_256
from handfast.core.token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Crypto


_VALUES = {character: value for value, character in enumerate(ALPHABET)}

# First byte: (name, length of the content, length of the check).
_KINDS = {
    CODE_TOKEN: ("token", TOKEN_ID_LENGTH + K_TOK_LENGTH, 4),
    CODE_SHARED_TOKEN: ("shared token", TOKEN_ID_LENGTH + K_TOK_LENGTH, 4),
    CODE_HUB: ("hub code", THUMBPRINT_LENGTH, 2),
    CODE_CLAIM: ("claim code", THUMBPRINT_LENGTH, 2),
}


def b32decode(text: str) -> bytes:
    """The bytes that b32encode makes `text` from; DecodeError for any other text."""
    groups = []
    for at in range(0, len(text), 8):
        group = text[at : at + 8]
        number = 0
        try:
            for character in group:
                number = number << 5 | _VALUES[character]
        except KeyError:
            raise DecodeError("base32 has the characters a-z and 2-7 only")
        spare = 5 * len(group) % 8
        # A whole character too many, or spare bits that are not zero: two texts for the same bytes.
        if spare > 4 or number & ((1 << spare) - 1):
            raise DecodeError("base32 of this length or ending is never written")
        groups.append((number >> spare).to_bytes(5 * len(group) // 8, "big"))
    return b"".join(groups)


def encode_token(crypto: "Crypto", token: Token) -> str:
    """The text of a token; it is as secret as the token."""
    if len(token.token_id) != TOKEN_ID_LENGTH or len(token.k_tok) != K_TOK_LENGTH:
        raise LocalError("a token is 8 bytes of token_id and 32 bytes of k_tok")
    kind = CODE_SHARED_TOKEN if token.shared else CODE_TOKEN
    return _encode(crypto, kind, token.token_id + token.k_tok)


def decode_token(crypto: "Crypto", text: str) -> Token:
    """The token in `text`; DecodeError when a character is wrong or it is another kind of code."""
    kind, content = _decode(crypto, (CODE_TOKEN, CODE_SHARED_TOKEN), text)
    return Token(content[:TOKEN_ID_LENGTH], content[TOKEN_ID_LENGTH:], kind == CODE_SHARED_TOKEN)


def encode_hub_code(crypto: "Crypto", hub_id: bytes) -> str:
    """The text by which a device knows its hub; `hub_id` is the hub's thumbprint, 32 bytes."""
    return _encode(crypto, CODE_HUB, hub_id)


def decode_hub_code(crypto: "Crypto", text: str) -> bytes:
    """hub_id, 32 bytes; DecodeError when a character is wrong or it is another kind of code."""
    return _decode(crypto, (CODE_HUB,), text)[1]


def encode_claim_code(crypto: "Crypto", dev_tp: bytes) -> str:
    """The text by which an operator admits a device; `dev_tp` is its thumbprint, 32 bytes."""
    return _encode(crypto, CODE_CLAIM, dev_tp)


def decode_claim_code(crypto: "Crypto", text: str) -> bytes:
    """dev_tp, 32 bytes; DecodeError when a character is wrong or it is another kind of code."""
    return _decode(crypto, (CODE_CLAIM,), text)[1]


def _encode(crypto: "Crypto", kind: int, content: bytes) -> str:
    name, length, check_length = _KINDS[kind]
    if len(content) != length:
        raise LocalError("a %s holds %d bytes, not %d" % (name, length, len(content)))
    body = bytes((kind,)) + content
    text = b32encode(body + crypto.hash(SHA_256, body)[:check_length]).upper()
    return "-".join([text[at : at + 8] for at in range(0, len(text), 8)])


def _decode(crypto: "Crypto", kinds: "tuple[int, ...]", text: str) -> "tuple[int, bytes]":
    expected = _KINDS[kinds[0]][0]
    digits = text.replace("-", "").replace(" ", "")
    # Only ASCII letters have a case here: CPython's lower() would make a 'k' of the Kelvin sign.
    if any(ord(character) > 127 or character.lower() not in _VALUES for character in digits):
        raise DecodeError("a %s has the characters A-Z and 2-7 only; compare it with the original" % expected)
    if len(digits) not in [_characters(kind) for kind in _KINDS]:
        raise DecodeError(
            "a %s has %d characters, not %d; compare it with the original"
            % (expected, _characters(kinds[0]), len(digits))
        )
    data = b32decode(digits.lower())
    if not data or data[0] not in _KINDS:
        raise DecodeError("this is not a %s; compare it with the original" % expected)
    name, length, check_length = _KINDS[data[0]]
    body = data[: 1 + length]
    if len(data) != 1 + length + check_length:
        raise DecodeError(
            "a %s has %d characters; compare it with the original" % (expected, _characters(kinds[0]))
        )
    if not crypto.equal(data[1 + length :], crypto.hash(SHA_256, body)[:check_length]):
        raise DecodeError("a character of this %s is wrong; compare it with the original" % expected)
    if data[0] not in kinds:
        raise DecodeError("this is a %s; a %s was expected" % (name, expected))
    return data[0], body[1:]


def _characters(kind: int) -> int:
    _, length, check_length = _KINDS[kind]
    return (1 + length + check_length) * 8 // 5
