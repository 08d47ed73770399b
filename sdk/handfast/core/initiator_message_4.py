"""message_4 and what the device makes of it: the keys that outlive the handshake (RFC 9528 section 5.5)."""

from handfast.core import ead, messages, root_key
from handfast.core.constants import EAD_ROOTR, EAD_STATUS
from handfast.core.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.key_schedule import KeySchedule
    from handfast.core.root_key import RootKeys
    from handfast.core.token import Token


def ciphertext(message_4: bytes) -> bytes:
    """CIPHERTEXT_4; DecodeError for what cannot be a message_4."""
    return messages.decode_message_4(message_4)


def answer(plaintext_4: bytes, mandatory_items: bool, attempt: bytes) -> "ead.RootR | ead.Status | None":
    """What the hub says: ROOTR of our `attempt`, STATUS, or None in a suite without these; DecodeError."""
    items = ead.read_items(4, messages.decode_plaintext_4(plaintext_4))
    if not mandatory_items:
        return None
    root_r, status = items.get(EAD_ROOTR), items.get(EAD_STATUS)
    if (root_r is None) == (status is None):
        raise DecodeError("message_4 has exactly one of ROOTR and STATUS")
    if isinstance(status, ead.Status):
        return status
    if not isinstance(root_r, ead.RootR) or root_r.attempt != attempt:
        raise DecodeError("ROOTR answers another attempt than ours")
    return root_r


def is_no(answer: "ead.RootR | ead.Status") -> bool:
    """Whether the hub is genuine and gives no key."""
    return isinstance(answer, ead.Status)


def keys(
    schedule: "KeySchedule",
    prk_exporter: bytes,
    names: "tuple[bytes, bytes, bytes]",
    r_d: bytes,
    root_r: "ead.RootR",
    token: "Token | None",
) -> "tuple[RootKeys, bool]":
    """(the keys, whether the token is mixed into them); `names` are our thumbprint, hub_id and attempt."""
    # Zeros for no token and for a shared one.
    k_mix = root_key.mix(schedule.crypto, token)
    made = root_key.derive(schedule, prk_exporter, *names, r_d, root_r.r_h, k_mix, root_r.epoch)
    return made, token is not None and not token.shared
