"""The messages of EDHOC: fields to bytes and back, strictly (RFC 9528 section 5).

Decoding takes exactly what encoding gives, so that a transcript hash over decoded and encoded
again bytes is the hash of what was sent. Any other bytes raise DecodeError. EAD items are raw
here: a list of (label, value), negative labels critical, value bytes or None, padding (label 0)
kept; ead.py says what they mean. In MQTT a message travels as a frame (docs/protocol.md).
"""

from collections import namedtuple

from handfast.core.cbor import content, decode, decode_sequence, encode, encode_sequence, head_of_bytes, read
from handfast.core.constants import (
    IDENTIFIER_LENGTH,
    MAX_EAD_ITEMS,
    MAX_FRAME,
    MAX_MESSAGE_1,
    MAX_MESSAGE_2,
    MAX_MESSAGE_3,
    MAX_MESSAGE_4,
    MIN_MAC,
)
from handfast.core.credentials import encode_id_cred_field, take_id_cred
from handfast.core.errors import ERR_UNKNOWN_CREDENTIAL, ERR_UNSPECIFIED, ERR_WRONG_SUITE, DecodeError
from handfast.core.hidden import Hidden
from handfast.core.identifiers import decode_identifier, encode_identifier
from handfast.core.kdf import okm_limit
from handfast.core.suites import KEMS, SHAKE256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.suites import Suite

# suites_i: tuple of int, the selected suite last; g_x, c_i: bytes; ead_1: list.
Message1 = namedtuple("Message1", ("method", "suites_i", "g_x", "c_i", "ead_1"))
# id_cred_r, id_cred_i: the encoded header map, also when only a kid was sent.
Plaintext2 = namedtuple("Plaintext2", ("c_r", "id_cred_r", "signature_or_mac_2", "ead_2"))


class Plaintext3(Hidden, namedtuple("Plaintext3", ("id_cred_i", "signature_or_mac_3", "ead_3"))):
    """ead_3 carries r_D."""

    __slots__ = ()


# code 1: info is a str; 2: a tuple of suites; 3: True; others: any CBOR value.
ErrorMessage = namedtuple("ErrorMessage", ("code", "info"))
# c_x: the identifier that the receiver chose, None before message_1. Exactly one of message (its
# bytes) and error (an ErrorMessage) is not None.
Frame = namedtuple("Frame", ("c_x", "message", "error"))


def encode_message_1(message: Message1) -> bytes:
    """METHOD, SUITES_I, G_X, C_I, ? EAD_1 (section 5.2.1).

    With an empty ead_1 these are the bytes that the GATE item of EAD_1 authenticates.
    """
    return (
        encode(message.method)
        + encode(_encode_suites(message.suites_i))
        + encode(message.g_x)
        + encode(encode_identifier(message.c_i))
        + encode_ead(message.ead_1)
    )


def decode_message_1(data: bytes) -> Message1:
    """Read message_1. Neither the method nor the suites are judged here."""
    return read_message_1(data)[0]


def read_message_1(data: bytes) -> "tuple[Message1, int]":
    """message_1, and where EAD_1 begins in it: the bytes before that are what its GATE authenticates."""
    _check_size(data, MAX_MESSAGE_1, "message_1")
    method, at = read(data, 0)
    suites_i, at = read(data, at)
    g_x, at = read(data, at)
    c_i, at = read(data, at)
    if type(method) is not int:
        raise DecodeError("METHOD is an integer")
    if not isinstance(g_x, bytes):
        raise DecodeError("G_X is a byte string")
    ead_1 = decode_ead(data[at:])
    return Message1(method, _decode_suites(suites_i), g_x, decode_identifier(c_i), ead_1), at


def encode_message_2(g_y: bytes, ciphertext_2: bytes) -> bytes:
    """G_Y_CIPHERTEXT_2 (section 5.3.1)."""
    return encode(g_y + ciphertext_2)


def split_message_2(data: bytes, suite: "Suite") -> "tuple[bytes, bytes]":
    """(G_Y, CIPHERTEXT_2) of message_2; G_Y has the length of a ciphertext of the suite's KEM."""
    _check_size(data, MAX_MESSAGE_2, "message_2")
    start, end = content(data, 0)
    if end != len(data):
        raise DecodeError("message_2 is one byte string, %d bytes follow it" % (len(data) - end))
    length = KEMS[suite.kem].ciphertext
    # The shortest PLAINTEXT_2: two identifiers of one byte and a byte string of MIN_MAC.
    least = length + 3 + MIN_MAC
    if end - start < least:
        raise DecodeError("G_Y_CIPHERTEXT_2 has at least %d bytes, %d came" % (least, end - start))
    if suite.hash != SHAKE256 and end - start - length > okm_limit(suite.hash):
        raise DecodeError("CIPHERTEXT_2 is longer than the keystream of suite %d" % suite.number)
    return data[start : start + length], data[start + length : end]


def encode_plaintext_2(plaintext: Plaintext2) -> bytes:
    """C_R, ID_CRED_R or its kid, Signature_or_MAC_2, ? EAD_2 (section 5.3.2)."""
    return (
        encode(encode_identifier(plaintext.c_r))
        + encode_id_cred_field(plaintext.id_cred_r)
        + encode(plaintext.signature_or_mac_2)
        + encode_ead(plaintext.ead_2)
    )


def decode_plaintext_2(data: bytes) -> Plaintext2:
    """Read PLAINTEXT_2. Nothing in it is authentic before Signature_or_MAC_2 is verified."""
    _check_size(data, MAX_MESSAGE_2, "PLAINTEXT_2")
    c_r, end = _identifier(data)
    id_cred_r, rest = take_id_cred(data[end:])
    start, end = content(rest, 0)
    return Plaintext2(c_r, id_cred_r, _signature_or_mac(rest[start:end]), decode_ead(rest[end:]))


def encode_message_3(ciphertext_3: bytes) -> bytes:
    """CIPHERTEXT_3 (section 5.4.1)."""
    return encode(ciphertext_3)


def decode_message_3(data: bytes) -> bytes:
    """CIPHERTEXT_3 of message_3."""
    return _single(data, MAX_MESSAGE_3, "message_3")


def encode_plaintext_3(plaintext: Plaintext3) -> bytes:
    """ID_CRED_I or its kid, Signature_or_MAC_3, ? EAD_3 (section 5.4.2)."""
    fields = encode_id_cred_field(plaintext.id_cred_i) + encode(plaintext.signature_or_mac_3)
    return fields + encode_ead(plaintext.ead_3)


def frame_in_place(
    memory: "memoryview | None", c_x: bytes, pieces: "tuple[bytes | int, ...]"
) -> "tuple[memoryview, memoryview]":
    """A frame with one byte string: (all of it, the content of the byte string).

    The content is `pieces`; an integer is room for so many bytes. It lies in `memory` where that is long
    enough.
    """
    size = sum([piece if isinstance(piece, int) else len(piece) for piece in pieces])
    head = encode(encode_identifier(c_x)) + head_of_bytes(size)
    start, end = len(head), len(head) + size
    if memory is None or len(memory) < end:
        memory = memoryview(bytearray(end))
    memory[:start] = head
    at = start
    for piece in pieces:
        if isinstance(piece, int):
            at += piece
        else:
            memory[at : at + len(piece)] = piece
            at += len(piece)
    return memory[:end], memory[start:end]


def decode_plaintext_3(data: bytes) -> Plaintext3:
    """Read PLAINTEXT_3."""
    return read_plaintext_3(data)[0]


def read_plaintext_3(data: bytes) -> "tuple[Plaintext3, int]":
    """PLAINTEXT_3, and where EAD_3 begins in it: Signature_or_MAC_3 covers EAD_3 as it came."""
    _check_size(data, MAX_MESSAGE_3, "PLAINTEXT_3")
    id_cred_i, rest = take_id_cred(data)
    signed, at = read(rest, 0)
    ead_3 = rest[at:]
    plaintext = Plaintext3(id_cred_i, _signature_or_mac(signed), decode_ead(ead_3))
    return plaintext, len(data) - len(ead_3)


def encode_message_4(ciphertext_4: bytes) -> bytes:
    """CIPHERTEXT_4 (section 5.5.1)."""
    return encode(ciphertext_4)


def decode_message_4(data: bytes) -> bytes:
    """CIPHERTEXT_4 of message_4."""
    return _single(data, MAX_MESSAGE_4, "message_4")


def encode_plaintext_4(ead_4: "list[tuple[int, bytes | None]]") -> bytes:
    """? EAD_4 and nothing else (section 5.5.2)."""
    return encode_ead(ead_4)


def decode_plaintext_4(data: bytes) -> "list[tuple[int, bytes | None]]":
    """Read PLAINTEXT_4."""
    return _ead_items(_items(data, MAX_MESSAGE_4, "PLAINTEXT_4"))


def encode_ead(items: "list[tuple[int, bytes | None]]") -> bytes:
    """EAD_x as bytes (section 3.8); b"" for an empty list."""
    parts = []
    for label, value in items:
        parts.append(encode(label))
        if value is not None:
            parts.append(encode(value))
    return b"".join(parts)


def decode_ead(data: bytes) -> "list[tuple[int, bytes | None]]":
    """The items of EAD_x; encode_ead gives the same bytes back."""
    return _ead_items(decode_sequence(data))


def encode_error(error: ErrorMessage) -> bytes:
    """ERR_CODE, ERR_INFO (section 6)."""
    info = _encode_suites(error.info) if error.code == ERR_WRONG_SUITE else error.info
    return encode_sequence(error.code, info)


def decode_error(data: bytes) -> ErrorMessage:
    """Read an error message; DecodeError for code 0, which is never sent."""
    items = _items(data, MAX_MESSAGE_4, "an error message")
    if len(items) != 2 or type(items[0]) is not int:
        raise DecodeError("an error message is ERR_CODE, an integer, and ERR_INFO")
    code, error_info = items[0], items[1]
    if code == 0:
        raise DecodeError("ERR_CODE 0 is never sent")
    if code == ERR_UNSPECIFIED and not isinstance(error_info, str):
        raise DecodeError("ERR_INFO of code 1 is a text")
    if code == ERR_WRONG_SUITE:
        return ErrorMessage(code, _decode_suites(error_info))
    if code == ERR_UNKNOWN_CREDENTIAL and error_info is not True:
        raise DecodeError("ERR_INFO of code 3 is true")
    return ErrorMessage(code, error_info)


def encode_frame(frame: Frame) -> bytes:
    """The MQTT payload: true, message_1, or C_x with a later message or an error."""
    if frame.c_x is None:
        return encode(True) + bytes(frame.message)
    body = encode_error(frame.error) if frame.message is None else frame.message
    return encode(encode_identifier(frame.c_x)) + bytes(body)


def decode_frame(data: "Any") -> Frame:
    """Read an MQTT payload; the messages inside are not read yet.

    A fragment (an array) is no frame: frames.py puts the payload together first.
    """
    if len(data) > MAX_FRAME:
        raise DecodeError("a payload has at most %d bytes, %d came" % (MAX_FRAME, len(data)))
    if data[:1] == b"\xf5":
        return Frame(None, data[1:], None)
    c_x, end = _identifier(data)
    body = data[end:]
    if not len(body) or body[0] < 0x40:
        # ERR_CODE is an integer, and a message is one byte string.
        return Frame(c_x, None, decode_error(body))
    if content(body, 0)[1] != len(body):
        raise DecodeError("message_2, message_3 and message_4 are one byte string")
    return Frame(c_x, body, None)


def _identifier(data: "bytes | memoryview") -> "tuple[bytes, int]":
    """The connection identifier at the beginning, and where it ends."""
    end = 1 + IDENTIFIER_LENGTH
    if len(data) >= end and data[0] == 0x40 + IDENTIFIER_LENGTH:
        # One of ours: a byte string of that length has this head alone, and is no integer on the wire.
        return bytes(data[1:end]), end
    if isinstance(data, memoryview):
        # Cut out and not the whole of it: six kilobytes. No identifier of ours is as long as that.
        data = bytes(data[: 2 * IDENTIFIER_LENGTH])
    item, end = read(data, 0)
    return decode_identifier(item), end


def _check_size(data: bytes, limit: int, name: str) -> None:
    if len(data) > limit:
        raise DecodeError("%s has at most %d bytes, %d came" % (name, limit, len(data)))


def _items(data: bytes, limit: int, name: str) -> "list[object]":
    _check_size(data, limit, name)
    return decode_sequence(data)


def _single(data: bytes, limit: int, name: str) -> bytes:
    _check_size(data, limit, name)
    value = decode(data)
    if not isinstance(value, bytes):
        raise DecodeError("%s is one byte string" % name)
    return value


def _signature_or_mac(item: "Any") -> "Any":
    if not isinstance(item, (bytes, memoryview)) or len(item) < MIN_MAC:
        raise DecodeError("Signature_or_MAC is a byte string of at least %d bytes" % MIN_MAC)
    return item


def _ead_items(items: "list[object]") -> "list[tuple[int, bytes | None]]":
    ead: "list[tuple[int, bytes | None]]" = []
    label: "int | None" = None
    for item in items:
        if type(item) is int:
            if label is not None:
                ead.append((label, None))
            # Each costs a comparison with all before it, and EAD_1 is read before anybody is known.
            if len(ead) == MAX_EAD_ITEMS:
                raise DecodeError("an EAD has at most %d items" % MAX_EAD_ITEMS)
            label = item
        elif label is not None and isinstance(item, bytes):
            ead.append((label, item))
            label = None
        else:
            raise DecodeError("an EAD item is an integer label and at most one byte string")
    if label is not None:
        ead.append((label, None))
    return ead


def _encode_suites(suites: "tuple[int, ...]") -> object:
    return suites[0] if len(suites) == 1 else list(suites)


def _decode_suites(item: object) -> "tuple[int, ...]":
    if type(item) is int:
        return (item,)
    if not isinstance(item, list) or len(item) < 2:
        raise DecodeError("suites are one integer, or an array of at least two")
    for number in item:
        if type(number) is not int:
            raise DecodeError("a suite is an integer")
    return tuple(item)
