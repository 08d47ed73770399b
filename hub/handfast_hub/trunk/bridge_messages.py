"""What two bridges say to each other inside records: the kind of message, then its fields, as CBOR."""

from typing import Any

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError
from handfast.core.topics import CHANNEL_NAMES, DEVICE_ID_LENGTH
from handfast_hub.registry.lives import LIVES
from handfast_hub.trunk.gathering import RUNS

READING, ACK, COMMAND, ANSWER = 1, 2, 3, 4
_SHAPES: dict[int, tuple[type, ...]] = {
    # life, number, previous, floor, device_id, label, channel, data, milliseconds since 1970
    READING: (int, int, int, int, bytes, str, int, bytes, int),
    # class, life, number, instance, serial, runs: previous and number of each, one after the other
    ACK: (int, int, int, bytes, int, list),
    # command_id, device_id, data, milliseconds that it is worth carrying out, and since it was asked for
    COMMAND: (bytes, bytes, bytes, int, int),
    # command_id, status or -1, answer, why there is none
    ANSWER: (bytes, int, bytes, str),
}
NO_ANSWER = -1
COMMAND_ID_LENGTH = 16
INSTANCE_LENGTH = 8


def encode_message(kind: int, *fields: object) -> bytes:
    """A message of `kind` with the fields that it has here."""
    return encode([kind, *fields])


def decode_message(data: bytes) -> tuple[int, list[Any]]:
    """The kind and the fields; DecodeError for anything that is not lawful."""
    item = decode(data)
    if not isinstance(item, list) or not item or type(item[0]) is not int or item[0] not in _SHAPES:
        raise DecodeError("a record of a bridge is a reading, a command, or an answer to one")
    message, fields = item[0], item[1:]
    shape = _SHAPES[message]
    if len(fields) != len(shape):
        raise DecodeError(f"a bridge message {message} has not the fields that it should have")
    for value, kind in zip(fields, shape, strict=True):
        if type(value) is not kind:
            raise DecodeError(f"a bridge message {message} has not the fields that it should have")
        if isinstance(value, int) and not -1 <= value < 2**63:
            raise DecodeError(f"a number in a bridge message {message} is out of range")
    if message == READING:
        life, number, previous, floor, device_id, _, channel, _, _ = fields
        if (
            not 0 <= life < LIVES
            or len(device_id) != DEVICE_ID_LENGTH
            or not number > previous >= floor >= 0
            or channel not in CHANNEL_NAMES
        ):
            raise DecodeError("a reading names its device by 8 bytes, a channel, and what it follows")
    elif message == ACK:
        fields[5] = _runs(fields[2], fields[5])
        if len(fields[3]) != INSTANCE_LENGTH or fields[2] < 0:
            raise DecodeError("an acknowledgement has a number, and names who gives it by 8 bytes")
    elif len(fields[0]) != COMMAND_ID_LENGTH:
        raise DecodeError("a command over a trunk is named by 16 bytes")
    return message, fields


def _runs(number: int, flat: list[Any]) -> list[tuple[int, int]]:
    """The runs of an acknowledgement: each behind the one before, and behind what is committed."""
    if len(flat) % 2 or len(flat) > 2 * RUNS or any(type(value) is not int for value in flat):
        raise DecodeError(f"an acknowledgement has at most {RUNS} runs, of two numbers each")
    runs, end = [], number
    for previous, last in zip(flat[::2], flat[1::2], strict=True):
        if not end <= previous < last < 2**63:
            raise DecodeError("the runs of an acknowledgement follow each other")
        runs.append((previous, last))
        end = last
    return runs
