"""message_3 and message_4: the two that an AEAD seals (RFC 9528 sections 5.4 and 5.5).

Each has a key and a nonce of its own, for one plaintext: whoever seals, seals once in a session and
keeps the bytes to send them again.
"""

from collections import namedtuple

from handfast.core.cose import enc_structure
from handfast.core.hidden import Hidden
from handfast.core.suites import AEADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.key_schedule import KeySchedule


class Sealing(Hidden, namedtuple("Sealing", ("key", "nonce", "aad"))):
    """What seals and opens one message: its key and nonce are secret, aad is the Enc_structure with TH_x."""

    __slots__ = ()


# What a session has before it has keys, and when it has forgotten them.
NO_KEYS = Sealing(b"", b"", b"")


def sealing_3(schedule: "KeySchedule", prk_3e2m: bytes, th_3: bytes) -> Sealing:
    """K_3, IV_3 and the Enc_structure of message_3."""
    return Sealing(schedule.k_3(prk_3e2m, th_3), schedule.iv_3(prk_3e2m, th_3), enc_structure(b"", th_3))


def sealing_4(schedule: "KeySchedule", prk_4e3m: bytes, th_4: bytes) -> Sealing:
    """K_4, IV_4 and the Enc_structure of message_4."""
    return Sealing(schedule.k_4(prk_4e3m, th_4), schedule.iv_4(prk_4e3m, th_4), enc_structure(b"", th_4))


def seal(schedule: "KeySchedule", sealing: Sealing, plaintext: bytes) -> bytes:
    """CIPHERTEXT_3 or CIPHERTEXT_4."""
    return schedule.crypto.seal(schedule.suite.aead, sealing.key, sealing.nonce, sealing.aad, plaintext)


def tag_length(schedule: "KeySchedule") -> int:
    """What a ciphertext has more than its plaintext, in bytes."""
    return int(AEADS[schedule.suite.aead].tag_length)


def seal_in_place(schedule: "KeySchedule", sealing: Sealing, text: memoryview) -> None:
    """`text` is a plaintext with room for a tag behind it, and then the ciphertext."""
    crypto, algorithm = schedule.crypto, schedule.suite.aead
    own = getattr(crypto, "seal_in_place", None)
    if own is not None:
        own(algorithm, sealing.key, sealing.nonce, sealing.aad, text)
    else:
        text[:] = seal(schedule, sealing, bytes(text[: -tag_length(schedule)]))


def open_sealed(schedule: "KeySchedule", sealing: Sealing, ciphertext: bytes) -> bytes:
    """PLAINTEXT_3 or PLAINTEXT_4; AuthenticationError when anything differs."""
    return schedule.crypto.open(schedule.suite.aead, sealing.key, sealing.nonce, sealing.aad, ciphertext)
