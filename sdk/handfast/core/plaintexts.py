"""What stands inside records where handfast itself reads it: channels 0, 2 and 3 (section 2.9).

    0 control    [0, attempt] fin · [1, attempt] ack · [2] please step · [3] hello · [4, reason] revoked
    2 command    request  = [ {}, data ]                    the map is reserved; unknown keys are ignored
    3 response   response = [ [epoch, PIV], status, data ]  the epoch and PIV of the request's record
    1, 4, 5      the application's bytes, bare

`attempt` has 16 bytes, `reason` is a text of at most 128 characters for a person, `data` are bytes,
epoch, PIV and status are unsigned integers. All of it is deterministic CBOR.
"""

from collections import namedtuple

from handfast.core.cbor import decode, encode
from handfast.core.constants import (
    ATTEMPT_LENGTH,
    CONTROL_ACK,
    CONTROL_FIN,
    CONTROL_HELLO,
    CONTROL_REVOKED,
    CONTROL_STEP,
)
from handfast.core.errors import DecodeError, LocalError
from handfast.core.records import MAX_PIV
from handfast.core.root_key import MAX_EPOCH

# A plaintext of channel 0: kind is one of CONTROL_*, value the attempt, the reason or None.
Control = namedtuple("Control", ("kind", "value"))
# A plaintext of channel 3; status is one of STATUS_*, or the application's own.
Response = namedtuple("Response", ("epoch", "piv", "status", "data"))

STATUS_DONE = 0
STATUS_FAILED = 1
STATUS_UNKNOWN = 2
# The device has taken it and will not carry it out: too many messages wait for its application.
STATUS_BUSY = 3
# Applications may have others, up to this one: what every database takes.
MAX_STATUS = (1 << 31) - 1

MAX_REASON = 128


def encode_control(kind: int, value: "bytes | str | None" = None) -> bytes:
    """The plaintext of a control record; `value` is the attempt, the reason or absent."""
    return encode([kind] if value is None else [kind, value])


def decode_control(plaintext: bytes) -> Control:
    """Read a control record; DecodeError for anything that `encode_control` may not give."""
    item = decode(plaintext)
    if isinstance(item, list) and item and type(item[0]) is int:
        kind = item[0]
        if len(item) == 1 and kind in (CONTROL_STEP, CONTROL_HELLO):
            return Control(kind, None)
        value = item[1] if len(item) == 2 else None
        if kind in (CONTROL_FIN, CONTROL_ACK):
            if isinstance(value, bytes) and len(value) == ATTEMPT_LENGTH:
                return Control(kind, value)
        elif kind == CONTROL_REVOKED and isinstance(value, str) and len(value) <= MAX_REASON:
            return Control(kind, value)
    raise DecodeError("a control record is fin, ack, step, hello or revoked")


def encode_request(data: bytes) -> bytes:
    """The plaintext of a command."""
    return encode([{}, data])


def decode_request(plaintext: bytes) -> bytes:
    """The data of a command; DecodeError for anything but [map, bytes]."""
    item = decode(plaintext)
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], dict) and isinstance(item[1], bytes):
        return item[1]
    raise DecodeError("a command is [{}, data]")


def encode_response(epoch: int, piv: int, status: int, data: bytes) -> bytes:
    """The plaintext of the response to the command in record (`epoch`, `piv`); `status` is 0 to 2^31 - 1."""
    if not 0 <= status <= MAX_STATUS:
        raise LocalError("the status of a response is 0 to %d, not %d" % (MAX_STATUS, status))
    return encode([[epoch, piv], status, data])


def decode_response(plaintext: bytes) -> Response:
    """Read a response; DecodeError for anything but [[epoch, PIV], status, data]."""
    item = decode(plaintext)
    if isinstance(item, list) and len(item) == 3 and isinstance(item[0], list) and len(item[0]) == 2:
        numbers = item[0] + [item[1]]
        limits = MAX_EPOCH, MAX_PIV, MAX_STATUS
        good = all(type(number) is int and 0 <= number <= limit for number, limit in zip(numbers, limits))
        if good and isinstance(item[2], bytes):
            return Response(numbers[0], numbers[1], numbers[2], item[2])
    raise DecodeError("a response is [[epoch, PIV], status, data]")
