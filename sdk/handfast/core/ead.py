"""The EAD items: their labels, who may send which, and what is in them.

An item on the wire is a label and a byte string (RFC 9528 section 3.8); a negative label marks it
critical. The values here are CBOR arrays or maps inside that byte string. `messages.py` gives and
takes the raw list of (label, value); this file knows what it means.
"""

from collections import namedtuple

from handfast.core import cbor
from handfast.core.constants import (
    ATTEMPT_LENGTH,
    CUSTOM_GATE,
    CUSTOM_GATE_KEY,
    CUSTOM_POP,
    DEVINFO_ENTROPY,
    DEVINFO_FIRMWARE,
    DEVINFO_HARDWARE,
    EAD_DEVINFO,
    EAD_GATE,
    EAD_PADDING,
    EAD_ROOTC,
    EAD_ROOTR,
    EAD_STATUS,
    EAD_TOKEN,
    EAD_VERSION,
    GATE_BY_HUB_ID,
    GATE_BY_TOKEN,
    GATE_MAC_LENGTH,
    MAX_DEVINFO,
    POP_LENGTH,
    ROOT_SECRET_LENGTH,
    STATUS_REFUSED,
    STATUS_WAITING,
    TOKEN_ID_LENGTH,
)
from handfast.core.errors import DecodeError, LocalError
from handfast.core.hidden import Hidden
from handfast.core.token import Token
from handfast.core.topics import DEVICE_ID_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.ports import Crypto

Gate = namedtuple("Gate", ("kind", "want", "mac", "token_id"))
TokenProof = namedtuple("TokenProof", ("token_id", "pop"))
Status = namedtuple("Status", ("code", "retry_after"))


class RootC(Hidden, namedtuple("RootC", ("attempt", "have", "r_d"))):
    """The device's contribution; r_d goes into K_root."""

    __slots__ = ()


class RootR(Hidden, namedtuple("RootR", ("attempt", "r_h", "device_id", "epoch"))):
    """The hub's contribution; r_h goes into K_root."""

    __slots__ = ()


def gate_key(crypto: "Crypto", hub_id: bytes, token: "Token | None") -> bytes:
    """K_gate, 32 bytes: the token's when there is one, else the hub's public thumbprint."""
    if token is None:
        return hub_id
    return crypto.kmac256(token.k_tok, token.token_id, 32, CUSTOM_GATE_KEY)


def gate_mac(crypto: "Crypto", key: bytes, sequence: bytes) -> bytes:
    """The MAC over METHOD, SUITES_I, G_X, C_I exactly as sent: message_1 without EAD_1."""
    return crypto.kmac256(key, sequence, GATE_MAC_LENGTH, CUSTOM_GATE)


def token_pop(crypto: "Crypto", token: Token, th_3: bytes) -> bytes:
    """Proof of possession of K_tok, bound to the handshake by TH_3; 32 bytes."""
    return crypto.kmac256(token.k_tok, th_3, POP_LENGTH, CUSTOM_POP)


def encode_gate(gate: Gate) -> "tuple[int, bytes]":
    """GATE for EAD_1; not critical."""
    return EAD_GATE, cbor.encode([EAD_VERSION, gate.kind, gate.want, gate.mac, gate.token_id])


def encode_token(proof: TokenProof) -> "tuple[int, bytes]":
    """TOKEN for EAD_3; critical."""
    return -EAD_TOKEN, cbor.encode([EAD_VERSION, proof.token_id, proof.pop])


def encode_devinfo(devinfo: bytes) -> "tuple[int, bytes]":
    """DEVINFO for EAD_3, from the encoded map of at most 512 bytes; not critical."""
    if len(devinfo) > MAX_DEVINFO:
        raise LocalError("DEVINFO is at most %d bytes, this is %d" % (MAX_DEVINFO, len(devinfo)))
    return EAD_DEVINFO, devinfo


def encode_rootc(item: RootC) -> "tuple[int, bytes]":
    """ROOTC for EAD_3; critical."""
    return -EAD_ROOTC, cbor.encode([EAD_VERSION, item.attempt, item.have, item.r_d])


def encode_rootr(item: RootR) -> "tuple[int, bytes]":
    """ROOTR for EAD_4; critical. The map at its end is reserved."""
    if not _bytes(item.device_id, DEVICE_ID_LENGTH) or not _uint(item.epoch, 2**16):
        raise LocalError("ROOTR gives a device_id of 8 bytes and an epoch of 0 to 65535")
    start = b"\x86\x01" + cbor.encode(item.attempt) + cbor.encode(item.r_h) + cbor.encode(item.device_id)
    return -EAD_ROOTR, start + cbor.encode(item.epoch) + b"\xa0"


def encode_status(item: Status) -> "tuple[int, bytes]":
    """STATUS for EAD_4; critical."""
    if item.code not in (STATUS_WAITING, STATUS_REFUSED) or not _uint(item.retry_after, 2**32):
        raise LocalError("STATUS says 1 or 2 and a number of seconds")
    return -EAD_STATUS, cbor.encode([EAD_VERSION, item.code, item.retry_after])


def _bytes(value: object, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length


def _uint(value: object, limit: int) -> bool:
    # type() and not isinstance(): bool is an int in Python and a different type in CBOR.
    return type(value) is int and 0 <= value < limit


def _array(value: bytes, name: str, length: int) -> "list[object]":
    items = cbor.decode(value)
    if not isinstance(items, list) or len(items) != length or type(items[0]) is not int:
        raise DecodeError("%s is an array of %d that begins with its version" % (name, length))
    if items[0] != EAD_VERSION:
        raise DecodeError("%s has version 1, this is version %d" % (name, items[0]))
    return items


# An item of fixed form has one encoding, so a hub can compare the heads at their places and cut out
# what stands between. Bytes of another form go the long way and are told what is wrong with them.
_GATE_BY_TOKEN = b"\x85\x01\x01\x00\x50", b"\x85\x01\x01\x01\x50"
_TOKEN = b"\x83\x01\x48"
_ROOTC = b"\x84\x01\x50"


def _decode_gate(value: bytes) -> Gate:
    if len(value) == 30 and value[:5] in _GATE_BY_TOKEN and value[21] == 0x48:
        return Gate(GATE_BY_TOKEN, value[3], value[5:21], value[22:])
    _, kind, want, mac, token_id = _array(value, "GATE", 5)
    if not (_uint(kind, 2) and _uint(want, 2) and _bytes(mac, GATE_MAC_LENGTH)):
        raise DecodeError("GATE holds kind 0 or 1, want 0 or 1 and a MAC of 16 bytes")
    if (token_id is not None) if kind == GATE_BY_HUB_ID else not _bytes(token_id, TOKEN_ID_LENGTH):
        raise DecodeError("GATE of kind 0 has no token_id, of kind 1 one of 8 bytes")
    return Gate(kind, want, mac, token_id)


def _decode_token(value: bytes) -> TokenProof:
    if len(value) == 45 and value[:3] == _TOKEN and value[11:13] == b"\x58\x20":
        return TokenProof(value[3:11], value[13:])
    _, token_id, pop = _array(value, "TOKEN", 3)
    if not (_bytes(token_id, TOKEN_ID_LENGTH) and _bytes(pop, POP_LENGTH)):
        raise DecodeError("TOKEN holds a token_id of 8 bytes and a proof of 32 bytes")
    return TokenProof(token_id, pop)


def _decode_devinfo(value: bytes) -> bytes:
    info = cbor.decode(value) if len(value) <= MAX_DEVINFO else None
    if not isinstance(info, dict):
        raise DecodeError("DEVINFO is a map of at most %d bytes" % MAX_DEVINFO)
    for name in (DEVINFO_FIRMWARE, DEVINFO_HARDWARE):
        if not isinstance(info.get(name, ""), str):
            raise DecodeError("DEVINFO names firmware and hardware by texts")
    if DEVINFO_ENTROPY in info:
        _check_entropy(info[DEVINFO_ENTROPY])
    return value


def _check_entropy(entry: object) -> None:
    """DecodeError unless `entry` has the form of what Entropy.report (handfast.ports) gives."""
    if isinstance(entry, list) and len(entry) == 7:
        kind, model, claim, health, alarms, drawn, _ = entry
        for number in (kind, claim, health, alarms, drawn):
            if type(number) is not int or number < 0:
                break
        else:
            if isinstance(model, str):
                return
    raise DecodeError("DEVINFO tells of the entropy source by kind, model, four numbers and second sources")


def _decode_rootc(value: bytes) -> RootC:
    if len(value) == 54 and value[:3] == _ROOTC and value[19:22] == b"\xf6\x58\x20":
        return RootC(value[3:19], None, value[22:])
    _, attempt, have, r_d = _array(value, "ROOTC", 4)
    if not (_bytes(attempt, ATTEMPT_LENGTH) and _bytes(r_d, ROOT_SECRET_LENGTH)):
        raise DecodeError("ROOTC holds an attempt of 16 bytes and r_D of 32 bytes")
    if have is not None and not _bytes(have, ATTEMPT_LENGTH):
        raise DecodeError("ROOTC names the key that it has by 16 bytes or null")
    return RootC(attempt, have, r_d)


def _decode_rootr(value: bytes) -> RootR:
    _, attempt, r_h, device_id, epoch, reserved = _array(value, "ROOTR", 6)
    if not (_bytes(attempt, ATTEMPT_LENGTH) and _bytes(r_h, ROOT_SECRET_LENGTH)):
        raise DecodeError("ROOTR holds an attempt of 16 bytes and r_H of 32 bytes")
    if not (_bytes(device_id, DEVICE_ID_LENGTH) and _uint(epoch, 2**16) and isinstance(reserved, dict)):
        raise DecodeError("ROOTR ends with a device_id of 8 bytes, a 16-bit epoch and a map")
    return RootR(attempt, r_h, device_id, epoch)


def _decode_status(value: bytes) -> Status:
    _, code, retry_after = _array(value, "STATUS", 3)
    if code not in (STATUS_WAITING, STATUS_REFUSED) or not _uint(code, 3) or not _uint(retry_after, 2**32):
        raise DecodeError("STATUS holds code 1 or 2 and a number of seconds")
    return Status(code, retry_after)


# label -> (message that may carry it, sent as critical, decoder)
ITEMS: "dict[int, tuple[int, bool, Callable[[bytes], object]]]" = {
    EAD_GATE: (1, False, _decode_gate),
    EAD_TOKEN: (3, True, _decode_token),
    EAD_DEVINFO: (3, False, _decode_devinfo),
    EAD_ROOTC: (3, True, _decode_rootc),
    EAD_ROOTR: (4, True, _decode_rootr),
    EAD_STATUS: (4, True, _decode_status),
}


def read_items(message: int, items: "list[tuple[int, bytes | None]]") -> "dict[int, object]":
    """The known items of EAD_`message`, by label.

    An unknown item is ignored, or refused when it is critical; so is one in the wrong message.
    Padding (label 0) may come any number of times, every other label once. DecodeError.
    """
    found: "dict[int, object]" = {}
    seen = []
    for label, value in items:
        number = -label if label < 0 else label
        if number == EAD_PADDING:
            continue
        if number in seen:
            raise DecodeError("EAD_%d holds label %d twice" % (message, number))
        seen.append(number)
        known = ITEMS.get(number)
        if known is None or known[0] != message:
            if label < 0:
                raise DecodeError("EAD_%d holds the unknown critical item %d" % (message, number))
            continue
        _, critical, decode = known
        if critical != (label < 0):
            raise DecodeError("EAD_%d: the sign of item %d is not the agreed one" % (message, number))
        if value is None:
            raise DecodeError("EAD_%d: item %d has a value" % (message, number))
        found[number] = decode(value)
    return found
