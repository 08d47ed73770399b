"""How a key of a ring lies in the table `keys`: columns for what changes, sealed bytes for secrets.

A record moves the window only; an epoch step replaces the secret. Each sealed value names its device,
its attempt and what it is, so none opens in the place of another.
"""

from typing import Any

from handfast.core import constants
from handfast.core.cbor import decode, encode
from handfast.core.hub_session import Key, Previous
from handfast.core.replay import decode_window, encode_window
from handfast_hub.vault import Vault


def root_aad(thumbprint: bytes, attempt: bytes) -> bytes:
    """What a sealed K_root is bound to (docs/protocol.md section 2.6)."""
    return thumbprint + attempt


def seal_secret(vault: Vault, thumbprint: bytes, key: Key) -> bytes:
    """T_epoch as the column `sealed_secret`."""
    return vault.seal(key.secret, thumbprint + key.attempt + key.epoch.to_bytes(2, "big"))


def seal_previous(vault: Vault, thumbprint: bytes, key: Key) -> bytes | None:
    """The receive key of the epoch before as the column `sealed_previous`."""
    previous = key.previous
    if previous is None:
        return None
    item = [previous.epoch, previous.key, previous.civ, encode_window(previous.window)]
    return vault.seal(encode(item), thumbprint + key.attempt + b"previous")


def load_key(vault: Vault, thumbprint: bytes, row: Any, now: float) -> Key:
    """The key out of a row of `keys`.

    It sends from the bound on, because nobody knows which reserved numbers were used, and opens the
    epoch before for another 60 s.
    """
    aad = thumbprint + row.attempt
    previous = None
    if row.sealed_previous is not None:
        item: Any = decode(vault.open(row.sealed_previous, aad + b"previous"))
        epoch, key, civ, window = item
        until = now + constants.OLD_EPOCH_LIFETIME
        previous = Previous(epoch, key, civ, decode_window(window), until)
    return Key(
        attempt=row.attempt,
        born=row.born,
        suite=row.suite,
        epoch=row.epoch,
        secret=vault.open(row.sealed_secret, aad + row.epoch.to_bytes(2, "big")),
        send_base=row.send_base,
        send_next=row.send_bound,
        send_bound=row.send_bound,
        window=decode_window(row.window),
        previous=previous,
        failures=row.failures,
    )
