"""What the device reads in message_2 before it trusts any of it (RFC 9528 section 5.3)."""

from handfast.core import messages
from handfast.core.credentials import credential_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.credentials import Credential
    from handfast.core.key_schedule import KeySchedule


def split(schedule: "KeySchedule", message_2: bytes) -> "tuple[bytes, bytes]":
    """(G_Y, CIPHERTEXT_2); DecodeError for what cannot be a message_2 by its length."""
    return messages.split_message_2(message_2, schedule.suite)


def read(
    schedule: "KeySchedule", kem_seed: bytes, hash_1: bytes, g_y: bytes, ciphertext_2: bytes, in_place: bool
) -> "tuple[bytes, bytes, bytes, Any, Credential | None]":
    """(TH_2, PRK_2e, PLAINTEXT_2 as it came, its fields, the credential when it came by value).

    PeerError when it does not decrypt to one: a wrong ciphertext decapsulates to noise (FIPS 203 section
    6.3). `in_place`: `ciphertext_2` is a memoryview that becomes the plaintext.
    """
    crypto = schedule.crypto
    g_xy = crypto.decapsulate(schedule.suite.kem, kem_seed, g_y)
    th_2 = schedule.th_2_of(g_y, hash_1)
    prk_2e = schedule.prk_2e(th_2, g_xy)
    plaintext_2 = schedule.cipher_2(prk_2e, th_2, ciphertext_2)
    del ciphertext_2
    plaintext = messages.decode_plaintext_2(plaintext_2)
    id_cred_r = plaintext.id_cred_r
    credential = credential_in(crypto, memoryview(id_cred_r) if in_place else id_cred_r)
    return th_2, prk_2e, plaintext_2, plaintext, credential


def encoded_ead(items: "list[tuple[int, bytes | None]]") -> bytes:
    """EAD_2 as Signature_or_MAC_2 covers it."""
    return messages.encode_ead(items)


def check_ead(items: "list[tuple[int, bytes | None]]") -> None:
    """DecodeError for an item in EAD_2 that is critical and unknown, or malformed."""
    from handfast.core import ead

    ead.read_items(2, items)
