"""The messages of a trunk: fields to bytes and back, strictly.

Opening messages travel in the clear, each behind the number of its lane; control messages are the plaintexts
of control records. Each is a CBOR array that begins with its kind, and `SHAPES` says what follows.
"""

from typing import Any

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError
from handfast.core.suites import KEMS, ML_KEM_768, SIGNATURES

# Opening messages.
OPEN, ACCEPT, CONFIRM = 1, 2, 3
# Control messages.
REKEY, REKEYED, PROVEN, SETTLED, REFUSED, PLEASE, ALARM, ALIVE, BFD = 16, 17, 18, 19, 20, 21, 22, 23, 24
AHEAD = 25

NONCE_LENGTH = 32
# HMAC with SHA-384.
MAC_LENGTH = 48
# ETSI GS QKD 014 section 6.3: a key_ID is a UUID, here its 16 bytes.
KEY_ID_LENGTH = 16

_LARGEST_EPOCH = 2**32 - 1
_SIGNATURE_LENGTHS = frozenset(row.signature for row in SIGNATURES.values())


def _sized(name: str, *lengths: int) -> "tuple[str, frozenset[int]]":
    return name, frozenset(lengths)


_EPOCH, _LANE, _POLICY, _TEXT, _CREDENTIAL = "epoch", "lane", "policy", "text", "credential"
_KEY_ID, _KEY_IDS, _WAYS = "key_ID", "key_IDs", "ways"
_AN_ID = _sized("key_ID", KEY_ID_LENGTH)
_NONCE = _sized("nonce", NONCE_LENGTH)
_MAC = _sized("mac", MAC_LENGTH)
_EK = _sized("ek", KEMS[ML_KEM_768].public_key)
_CT = _sized("ct", KEMS[ML_KEM_768].ciphertext)
_SIGNATURE = _sized("signature", *_SIGNATURE_LENGTHS)
# RFC 5880 section 4.1: the mandatory section of a control packet.
_BFD = _sized("BFD control packet", 24)

SHAPES: "dict[int, tuple[object, ...]]" = {
    # lane, policy version, nonce_I, epoch, key_ID or null, ek, CRED_I, ways of the key, ways for secret, gate
    OPEN: (_LANE, _POLICY, _NONCE, _EPOCH, _KEY_ID, _EK, _CREDENTIAL, _WAYS, _WAYS, _MAC),
    # lane, nonce_R, epoch, key_ID or null, ct, CRED_R, ways for secret, sig_R, mac_R, gate
    ACCEPT: (_LANE, _NONCE, _EPOCH, _KEY_ID, _CT, _CREDENTIAL, _WAYS, _SIGNATURE, _MAC, _MAC),
    # lane, epoch, sig_I, mac_I
    CONFIRM: (_LANE, _EPOCH, _SIGNATURE, _MAC),
    # epoch, key_ID or null, ek, ways of the key
    REKEY: (_EPOCH, _KEY_ID, _EK, _WAYS),
    # epoch, ct, mac_R
    REKEYED: (_EPOCH, _CT, _MAC),
    # epoch, mac_I; the first record under the new epoch
    PROVEN: (_EPOCH, _MAC),
    # epoch; the responder's first record under it
    SETTLED: (_EPOCH,),
    # epoch, the lowest number that would be taken, reason
    REFUSED: (_EPOCH, _EPOCH, _TEXT),
    # reason: the responder would like a new epoch
    PLEASE: (_TEXT,),
    # epoch: its QKD key is suspect
    ALARM: (_EPOCH,),
    ALIVE: (),
    # a control packet of the session of the carrier that it came over
    BFD: (_BFD,),
    # key_IDs: what its sender holds in reserve
    AHEAD: (_KEY_IDS,),
}
LONGEST_TEXT = 128
MOST_AHEAD = 16
# How many ways without a common relay a QKD key may have come over, each with a part of it.
MOST_WAYS = 2
# The largest is OPEN or ACCEPT with a credential of ML-DSA-87.
LONGEST = 12 * 1024


def encode_message(kind: int, *fields: object) -> bytes:
    """The bytes of a message."""
    return encode([kind, *fields])


def decode_message(data: bytes, kinds: "frozenset[int]") -> "tuple[int, list[Any]]":
    """(kind, fields); DecodeError for anything but one of `kinds` in exactly its shape."""
    if len(data) > LONGEST:
        raise DecodeError(f"a message of a trunk has at most {LONGEST} bytes, not {len(data)}")
    item = decode(data)
    if not isinstance(item, list) or not item or type(item[0]) is not int or item[0] not in kinds:
        raise DecodeError(f"expected a message of a trunk of the kinds {sorted(kinds)}")
    kind, fields = item[0], item[1:]
    shape = SHAPES[kind]
    if len(fields) != len(shape):
        raise DecodeError(f"a trunk message {kind} has {len(shape)} fields, not {len(fields)}")
    for expected, value in zip(shape, fields, strict=True):
        if not _fits(expected, value):
            name = expected if isinstance(expected, str) else expected[0]  # type: ignore[index]
            raise DecodeError(f"the {name} of a trunk message {kind} is not one")
    return kind, fields


def _fits(expected: object, value: object) -> bool:
    if isinstance(expected, tuple):
        return isinstance(value, bytes) and len(value) in expected[1]
    if expected == _EPOCH:
        return type(value) is int and 0 <= value <= _LARGEST_EPOCH
    if expected in (_LANE, _POLICY):
        return type(value) is int and 0 < value < 256
    if expected == _WAYS:
        return type(value) is int and 1 <= value <= MOST_WAYS
    if expected == _KEY_ID:
        return value is None or (isinstance(value, bytes) and len(value) == KEY_ID_LENGTH)
    if expected == _KEY_IDS:
        return isinstance(value, list) and len(value) <= MOST_AHEAD and all(_fits(_AN_ID, v) for v in value)
    if expected == _TEXT:
        return isinstance(value, str) and len(value) <= LONGEST_TEXT
    return isinstance(value, bytes) and len(value) <= LONGEST
