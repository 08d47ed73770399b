"""What a device keeps of its enrolment: one value of deterministic CBOR, written in one atomic step."""

from collections import namedtuple

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError
from handfast.core.hidden import Hidden
from handfast.core.records import MAX_PIV
from handfast.core.root_key import MAX_EPOCH
from handfast.core.suites import SUITES

VERSION = 1


class Stored(
    Hidden,
    namedtuple(
        "Stored",
        (
            "suite",
            "device_id",
            "attempt",
            "root_key",
            "epoch",
            "secret",
            "bound",
            "confirmed",
            "active",
            "reason",
        ),
    ),
):
    """suite: its number. device_id: 8 bytes. attempt: 16. root_key: K_root. epoch: 0..65535. secret: T_epoch.

    bound: the first PIV that is not reserved. confirmed: the hub was heard in this epoch; active: in any.
    reason: why the hub revoked the device, or None; once it is there, the secrets are empty.
    """

    __slots__ = ()


_TYPES = ((int,), (bytes,), (bytes,), (bytes,), (int,), (bytes,), (int,), (bool,), (bool,), (str, type(None)))


def encode_stored(stored: Stored) -> bytes:
    """The bytes to store: secret, about 200 of them."""
    return encode([VERSION] + list(stored))


def decode_stored(data: bytes) -> Stored:
    """Read stored bytes; DecodeError for any that `encode_stored` cannot have given."""
    item = decode(data)
    if not isinstance(item, list) or len(item) != 1 + len(_TYPES) or item[0] != VERSION:
        raise DecodeError("a stored session is an array of %d, version %d" % (1 + len(_TYPES), VERSION))
    if not all(type(value) in types for value, types in zip(item[1:], _TYPES)):
        raise DecodeError("a stored session has a field of the wrong type")
    stored = Stored(*item[1:])
    if stored.suite not in SUITES or not (0 <= stored.epoch <= MAX_EPOCH and 0 <= stored.bound <= MAX_PIV):
        raise DecodeError("a stored session has a suite, an epoch or a bound out of range")
    return stored
