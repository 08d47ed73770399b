"""The record keys of the devices that a hub talked to lately.

Deriving key_s and civ costs two calls of KMAC256, twenty times what sealing a small record costs.
Bounded: when `limit` devices were asked for since the last change of generation, those that were
not asked for in a whole generation are forgotten.
"""

from handfast.core.records import RecordKeys
from handfast.core.root_key import next_secret, record_keys
from handfast.core.suites import suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.hub_session import Key
    from handfast.ports import Crypto

# What is kept of one device: both directions of two keys in two epochs.
KEPT_PER_DEVICE = 8


class KeyCache:
    """RecordKeys by device, traffic secret, epoch and sender."""

    def __init__(self, crypto: "Crypto", limit: int = 4096) -> None:
        """`limit`: about how many devices; up to twice as many are kept."""
        self.crypto = crypto
        self._limit = limit
        self._young: "dict[bytes, dict[tuple[bytes, int, bytes], RecordKeys]]" = {}
        self._old: "dict[bytes, dict[tuple[bytes, int, bytes], RecordKeys]]" = {}

    def get(self, device_id: bytes, key: "Key", epoch: int, sender: bytes) -> RecordKeys:
        """The keys of `sender` in `epoch`, which is the key's own, its previous one or a later one."""
        kept = self._young.get(device_id)
        if kept is None:
            kept = self._remember(device_id)
        # By the secret, not by the attempt: a device chooses its attempts.
        name = (key.secret, epoch, sender)
        found = kept.get(name)
        if found is None:
            if len(kept) >= KEPT_PER_DEVICE:
                kept.clear()
            previous = key.previous
            if previous is not None and previous.epoch == epoch:
                pair = (previous.key, previous.civ)
            else:
                pair = record_keys(self.crypto, key.suite, self.secret(key, epoch), sender)
            found = RecordKeys(self.crypto, key.suite, device_id, epoch, sender, pair[0], pair[1])
            kept[name] = found
        return found

    def secret(self, key: "Key", epoch: int) -> bytes:
        """T_epoch of `key`, at or after its own epoch."""
        secret: bytes = key.secret
        for later in range(key.epoch + 1, epoch + 1):
            secret = next_secret(self.crypto, suite(key.suite).hash, secret, later)
        return secret

    def forget(self, device_id: bytes) -> None:
        """Drop every key of a device that was revoked."""
        self._young.pop(device_id, None)
        self._old.pop(device_id, None)

    def _remember(self, device_id: bytes) -> "dict[tuple[bytes, int, bytes], RecordKeys]":
        if len(self._young) >= self._limit:
            self._old = self._young
            self._young = {}
        kept = self._old.pop(device_id, None)
        if kept is None:
            kept = {}
        self._young[device_id] = kept
        return kept
