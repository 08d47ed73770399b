"""The COSE structures of the protocol: keys (AKP), what is signed, what an AEAD authenticates.

ML-DSA keys are RFC 9964; the structures are RFC 9052 sections 4.4 and 5.3, with the contents that
RFC 9528 sections 5.3 to 5.5 give them. EDHOC sends no whole COSE message, so there is none here.
"""

from handfast.core.cbor import encode, head_of_bytes, read
from handfast.core.constants import KEY_ALG, KEY_KID, KEY_KTY, KEY_PUB, KTY_AKP
from handfast.core.errors import DecodeError
from handfast.core.suites import SIGNATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A COSE_Key here is {1: 7, 2: kid, 3: alg, -1: pub}, what its thumbprint covers the same without kid.
# The labels stand in this order in every encoding; a hub reads one key for each enrolment, so these
# are the bytes between the values.
_KEY = b"\xa4" + encode(KEY_KTY) + encode(KTY_AKP) + encode(KEY_KID)
_NAMED = b"\xa3" + encode(KEY_KTY) + encode(KTY_AKP)
_ALG = encode(KEY_ALG)
_PUB = encode(KEY_PUB)
# An array of four and one of three, each with the text that it begins with.
_SIGNATURE1 = b"\x84" + encode("Signature1")
_ENCRYPT0 = b"\x83" + encode("Encrypt0")


def encode_key(algorithm: int, public_key: bytes, kid: bytes) -> bytes:
    """The COSE_Key of a public signature key."""
    return _KEY + encode(kid) + _ALG + encode(algorithm) + _PUB + encode(public_key)


def named_in_pieces(algorithm: int, public_key: bytes) -> "tuple[bytes, bytes]":
    """What the thumbprint of a key is the hash of (RFC 9679): {1: 7, 3: alg, -1: pub}."""
    return _NAMED + _ALG + encode(algorithm) + _PUB + head_of_bytes(len(public_key)), public_key


def decode_key(encoded: bytes) -> "tuple[int, bytes, bytes]":
    """(algorithm, public_key, kid) of a COSE_Key; DecodeError unless it is what encode_key gives.

    The algorithm is one of `suites.SIGNATURES` and the public key has its length. A private key
    (-2), another key type or any other parameter is refused.
    """
    algorithm, public_key, kid, end = read_key(encoded, 0)
    if end != len(encoded):
        raise DecodeError("a COSE_Key was expected, %d bytes follow it" % (len(encoded) - end))
    return algorithm, public_key, kid


def read_key(data: bytes, at: int) -> "tuple[int, Any, Any, int]":
    """decode_key for the COSE_Key at `at`, and where what follows it begins."""
    kid, at = read(data, _after(_KEY, data, at))
    algorithm, at = read(data, _after(_ALG, data, at))
    public_key, at = read(data, _after(_PUB, data, at))
    if type(algorithm) is not int or algorithm not in SIGNATURES:
        raise DecodeError("a COSE_Key here is for one of the algorithms %s" % sorted(SIGNATURES))
    row = SIGNATURES[algorithm]
    if not isinstance(public_key, (bytes, memoryview)) or len(public_key) != row.public_key:
        raise DecodeError("a public key of %s has %d bytes" % (row.name, row.public_key))
    if not isinstance(kid, (bytes, memoryview)):
        raise DecodeError("the kid of a COSE_Key is a byte string")
    return algorithm, public_key, kid, at


def _after(start: bytes, data: bytes, at: int) -> int:
    end = at + len(start)
    if data[at:end] != start:
        raise DecodeError("a COSE_Key here has the type AKP (7) and exactly kid, alg and pub beside it")
    return end


def sig_structure(id_cred: bytes, th: bytes, cred: bytes, ead: bytes, mac: bytes) -> "tuple[bytes, ...]":
    """["Signature1", << ID_CRED_x >>, << TH_x, CRED_x, ? EAD_x >>, MAC_x], the bytes to be signed, in pieces.

    `id_cred` and `cred` are encoded CBOR items, `ead` is the encoded EAD_x (b"" when absent); they
    go in unchanged (RFC 9528 sections 5.3.2 and 5.4.2).
    """
    th = encode(th)
    external_aad = head_of_bytes(len(th) + len(cred) + len(ead))
    return _SIGNATURE1 + head_of_bytes(len(id_cred)), id_cred, external_aad + th, cred, ead, encode(mac)


def enc_structure(protected: bytes, external_aad: bytes) -> bytes:
    """["Encrypt0", protected, external_aad], the additional data of an AEAD.

    `protected` is the encoded protected header (b"" when empty). In message_3 and message_4
    external_aad is TH_3 and TH_4 (RFC 9528 section 5.4.2).
    """
    return _ENCRYPT0 + encode(protected) + encode(external_aad)
