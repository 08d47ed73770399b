"""Records of either side, sealed outside of its session."""

from host_crypto import crypto
from joined import DEVICE_ID, SUITE, root_keys

from handfast.core import constants
from handfast.core.plaintexts import encode_control
from handfast.core.records import RecordKeys
from handfast.core.root_key import next_secret, record_keys

STEP = encode_control(constants.CONTROL_STEP)


def from_hub(number: int = 1, epoch: int = 0) -> RecordKeys:
    """The hub's sending keys of an enrolment that began at epoch 0."""
    secret = root_keys(number).traffic_secret
    for later in range(1, epoch + 1):
        secret = next_secret(crypto, -45, secret, later)
    return sender_of(secret, epoch)


def sender_of(secret: bytes, epoch: int, sender: bytes = constants.SENDER_HUB) -> RecordKeys:
    """The sending keys of one side in `epoch`, whose traffic secret is `secret`."""
    pair = record_keys(crypto, SUITE, secret, sender)
    return RecordKeys(crypto, SUITE, DEVICE_ID, epoch, sender, pair[0], pair[1])


def sealed_by_device(
    secret: bytes, epoch: int, piv: int, channel: int, plaintext: bytes = b"21.5 C"
) -> bytes:
    return sender_of(secret, epoch, constants.SENDER_DEVICE).seal(piv, channel, plaintext)
