"""What the device reads in message_2 before it trusts any of it (RFC 9528 section 5.3)."""

from handfast.core import messages
from handfast.core.credentials import credential_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.credentials import Credential
    from handfast.ports import Crypto


def read(crypto: "Crypto", plaintext_2: bytes) -> "tuple[Any, Credential | None]":
    """(The fields of PLAINTEXT_2, the credential when it came by value); PeerError when it is none.

    Of a memoryview the fields and the credential are views: two kilobytes that are there once.
    """
    plaintext = messages.decode_plaintext_2(plaintext_2)
    return plaintext, credential_in(crypto, plaintext.id_cred_r)


def encoded_ead(items: "list[tuple[int, bytes | None]]") -> bytes:
    """EAD_2 as Signature_or_MAC_2 covers it."""
    return messages.encode_ead(items)


def check_ead(items: "list[tuple[int, bytes | None]]") -> None:
    """DecodeError for an item in EAD_2 that is critical and unknown, or malformed."""
    from handfast.core import ead

    ead.read_items(2, items)
