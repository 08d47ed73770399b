"""Credentials: parse one and say what it claims, never whether it is trusted.

CRED_x is a CWT Claims Set around a public signature key (RFC 9528 section 3.5.2):

    { 2: subject, 8: { 1: { 1: 7, 2: kid, 3: alg, -1: pub } } }

ID_CRED_x names it, either by kid, {4: kid}, or by value, {14: CCS} (section 3.5.3). The encoded
bytes are kept and used as they came; a CCS here has one encoding only, so `Credential.encoded`
and the CCS inside an ID_CRED_x are the same bytes. The subject is mandatory: without it two peers
could be made to believe that they share a session with somebody else.
"""

from collections import namedtuple

from handfast.core.cbor import decode, encode, read, take
from handfast.core.constants import (
    CLAIM_CNF,
    CLAIM_SUB,
    CNF_COSE_KEY,
    HEADER_KCCS,
    HEADER_KID,
    KID_LENGTH,
    MAX_SUBJECT,
)
from handfast.core.cose import encode_key, named_in_pieces, read_key
from handfast.core.errors import DecodeError, LocalError
from handfast.core.hidden import Hidden
from handfast.core.identifiers import decode_identifier, encode_identifier
from handfast.core.suites import SHA_256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.ports import Crypto

# encoded: CRED_x, a CBOR item; thumbprint: 32 bytes; kid: its first 8.
Credential = namedtuple("Credential", ("encoded", "subject", "algorithm", "public_key", "thumbprint", "kid"))


class Identity(Hidden, namedtuple("Identity", ("seed", "credential"))):
    """What a machine authenticates with. seed: 32 bytes, the ML-DSA private key (RFC 9964 section 3)."""

    __slots__ = ()


# A CCS is {2: sub, 8: {1: COSE_Key}}: what stands before sub and before the key.
_CCS = b"\xa2" + encode(CLAIM_SUB)
_CNF = encode(CLAIM_CNF) + b"\xa1" + encode(CNF_COSE_KEY)
# How the maps {4: ...} and {14: ...} of one entry begin; what they hold follows.
_BY_KID = b"\xa1" + encode(HEADER_KID)
_BY_VALUE = b"\xa1" + encode(HEADER_KCCS)
_BY_VALUE_CCS = _BY_VALUE + _CCS
# What stands between sub and the bytes of kid.
_BEFORE_KID = _CNF + encode_key(0, b"", bytes(KID_LENGTH))[:5]


def thumbprint(crypto: "Crypto", algorithm: int, public_key: bytes) -> bytes:
    """SHA-256 over {1: 7, 3: alg, -1: pub}, 32 bytes (RFC 9679), whatever the suite."""
    joined = getattr(crypto, "pieces", b"".join)
    return crypto.hash(SHA_256, joined(named_in_pieces(algorithm, public_key)))


def make_ccs(crypto: "Crypto", subject: str, algorithm: int, public_key: bytes) -> Credential:
    """The credential of our own key; LocalError for an empty or long subject."""
    if not 0 < len(subject.encode("utf-8")) <= MAX_SUBJECT:
        raise LocalError("the subject of a credential has 1 to %d bytes" % MAX_SUBJECT)
    tp = thumbprint(crypto, algorithm, public_key)
    kid = tp[:KID_LENGTH]
    encoded = _CCS + encode(subject) + _CNF + encode_key(algorithm, public_key, kid)
    return Credential(encoded, subject, algorithm, public_key, tp, kid)


def decode_ccs(crypto: "Crypto", encoded: "Any") -> Credential:
    """Read a peer's CCS; DecodeError unless it is exactly what make_ccs gives for its key.

    Of a memoryview the public key is a view too: two kilobytes that are there once.
    """
    subject, algorithm, public_key, kid, end = _read_ccs(encoded, 0)
    if end != len(encoded):
        raise DecodeError("one CCS was expected, %d bytes follow it" % (len(encoded) - end))
    tp = thumbprint(crypto, algorithm, public_key)
    if kid != tp[:KID_LENGTH]:
        raise DecodeError("the kid of a COSE_Key is the first 8 bytes of its thumbprint")
    return Credential(encoded, subject, algorithm, public_key, tp, tp[:KID_LENGTH])


def _read_ccs(data: bytes, at: int) -> "tuple[str, int, bytes, bytes, int]":
    """(subject, algorithm, public_key, kid, end) of the CCS at `at`; the kid is not compared yet."""
    start, at = at, at + len(_CCS)
    if data[start:at] != _CCS:
        raise DecodeError("a CCS here has exactly the claims sub and cnf")
    subject, at = read(data, at)
    if not isinstance(subject, str) or not 0 < len(subject.encode("utf-8")) <= MAX_SUBJECT:
        raise DecodeError("the sub of a CCS is a text of 1 to %d bytes" % MAX_SUBJECT)
    start, at = at, at + len(_CNF)
    if data[start:at] != _CNF:
        raise DecodeError("the cnf of a CCS holds exactly a COSE_Key")
    algorithm, public_key, kid, at = read_key(data, at)
    return subject, algorithm, public_key, kid, at


def _end_of_ccs(data: bytes) -> int:
    """Where {14: CCS} at the beginning of `data` ends, 0 when something else stands there.

    Only its shape is looked at, which costs less than a dict that nobody needs: `decode_ccs` reads what
    is in it, and judges that.
    """
    at = len(_BY_VALUE_CCS)
    if data[:at] != _BY_VALUE_CCS or len(data) < at + 2:
        return 0
    # The head of sub: of up to 23 bytes, or of up to 255.
    head = data[at]
    at += head - 0x5F if head < 0x78 else 2 + data[at + 1]
    start, at = at, at + len(_BEFORE_KID)
    if not 0x60 <= head <= 0x78 or data[start:at] != _BEFORE_KID:
        return 0
    # alg in two bytes and pub with a head of three: such are the keys of ML-DSA.
    alg = at + KID_LENGTH
    pub = alg + 7
    if len(data) < pub or data[alg : alg + 2] != b"\x03\x38" or data[alg + 3 : alg + 5] != b"\x20\x59":
        return 0
    end = pub + (data[alg + 5] << 8 | data[alg + 6])
    return end if end <= len(data) else 0


def id_cred_by_kid(credential: Credential) -> bytes:
    """ID_CRED_x = {4: kid}, encoded."""
    return encode({HEADER_KID: credential.kid})


def id_cred_by_value(credential: Credential) -> bytes:
    """ID_CRED_x = {14: CCS}, encoded; the CCS byte for byte."""
    return _BY_VALUE + bytes(credential.encoded)


def id_cred_in_pieces(credential: Credential, by_kid: bool) -> "tuple[bytes, ...]":
    """ID_CRED_x by kid or by value, in pieces that follow one another."""
    return (id_cred_by_kid(credential),) if by_kid else (_BY_VALUE, credential.encoded)


def kid_in(id_cred: bytes) -> "bytes | None":
    """The kid when `id_cred`, an encoded map, is {4: kid}, else None."""
    if id_cred[:2] != _BY_KID:
        return None
    kid = decode(id_cred[2:])
    return kid if isinstance(kid, bytes) else None


def credential_in(crypto: "Crypto", id_cred: "bytes | memoryview") -> "Credential | None":
    """The credential when `id_cred`, an encoded map, is {14: CCS}, None when it only refers to one.

    DecodeError when the CCS is not one of ours.
    """
    return decode_ccs(crypto, id_cred[2:]) if id_cred[:2] == _BY_VALUE else None


def kept(credential: Credential) -> Credential:
    """The same where it stays, when it was a view of a memory that is about to be used for something else."""
    if not isinstance(credential.encoded, memoryview):
        return credential
    return moved(credential, memoryview(bytes(credential.encoded)))


def moved(credential: Credential, encoded: memoryview) -> Credential:
    """The same in another place, where its bytes stand already."""
    # The key stands at the end of a COSE_Key, and that at the end of a CCS.
    public_key = encoded[len(encoded) - len(credential.public_key) :]
    return Credential(encoded, *credential[1:3], public_key, *credential[4:])


def take_id_cred(data: bytes) -> "tuple[bytes, bytes]":
    """(encoded ID_CRED_x, what follows) of a plaintext that begins with ID_CRED_x or its kid. DecodeError.

    Of a memoryview both are views.
    """
    end = _end_of_ccs(data)
    if end:
        return data[:end], data[end:]
    data = bytes(data)
    item, encoded, rest = take(data)
    return decode_id_cred_field(item, encoded), rest


def encode_id_cred_field(id_cred: bytes) -> bytes:
    """ID_CRED_x as it stands in a plaintext: {4: kid} shrinks to kid (section 3.5.3.2)."""
    kid = kid_in(id_cred)
    return id_cred if kid is None else encode(encode_identifier(kid))


def decode_id_cred_field(item: object, encoded: bytes) -> bytes:
    """The encoded ID_CRED_x behind the CBOR value of a plaintext, which came in the bytes `encoded`.

    DecodeError when it is no header map, or {4: kid} in its long form.
    """
    if not isinstance(item, dict):
        return encode({HEADER_KID: decode_identifier(item)})
    if not item:
        raise DecodeError("an ID_CRED has at least one header parameter")
    for label in item:
        if isinstance(label, bytes):
            raise DecodeError("a COSE header label is an integer or a text")
    if len(item) == 1 and HEADER_KID in item:
        raise DecodeError("an ID_CRED of a single kid is sent as that kid")
    return encoded
