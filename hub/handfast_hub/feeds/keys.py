"""One key for one feed, out of the exporter secret of an epoch.

    key  = HKDF-Expand(exporter, << 0, << feed, kind, hub_id of the initiator, of the responder >>, 32 >>, 32)
    name = the same with 1 and 8: it tells keys apart in public, and says nothing about the key

An exporter as in RFC 8446 section 7.5 and RFC 5705: whoever learns a key that was fed learns nothing
about the trunk, nor about another feed. Both hubs have the same epoch, so they have the same key
without a word; hence the feed's name and kind have to be the same at both.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from handfast.core.cbor import encode_sequence
from handfast.core.kdf import expand
from handfast.core.suites import SHA_384
from handfast.ports import Crypto

KEY_LENGTH = 32
NAME_LENGTH = 8

# Labels of HKDF-Expand.
_KEY, _NAME = 0, 1


@dataclass(frozen=True, slots=True)
class FeedKey:
    """What a consumer is handed: 32 bytes of key, the epoch, and 8 bytes that name the key."""

    epoch: int
    name: bytes
    key: bytes = field(repr=False)

    def label(self, feed: str) -> str:
        """`handfast-FEED-17-0123456789abcdef`: what others call the key, the same at both hubs."""
        return f"handfast-{feed}-{self.epoch}-{self.name.hex()}"


def oldest_first(labels: Iterable[str], feed: str, used: Iterable[str]) -> list[str]:
    """Those of `labels` that are keys of `feed`: by epoch, and behind them what this process has `used`.

    Epochs count anew when both hubs restart, so a number tells nothing about the run before.
    """
    prefix, order = f"handfast-{feed}-", {label: place for place, label in enumerate(used)}
    found = []
    for label in labels:
        epoch, _, name = label.removeprefix(prefix).partition("-")
        # One feed's name may begin another's.
        if label.startswith(prefix) and epoch.isdecimal() and len(name) == 2 * NAME_LENGTH:
            found.append(label)
    return sorted(found, key=lambda label: (order.get(label, -1), int(label.rsplit("-", 2)[1])))


def derive_key(
    crypto: Crypto, exporter: bytes, feed: str, kind: str, hub_ids: tuple[bytes, bytes], epoch: int
) -> FeedKey:
    """The key of `feed` under `epoch`; `exporter` is 48 bytes, `hub_ids` the initiator's and the other's."""
    context = encode_sequence(feed, kind, *hub_ids)
    name = expand(crypto, SHA_384, exporter, _NAME, context, NAME_LENGTH)
    return FeedKey(epoch, name, expand(crypto, SHA_384, exporter, _KEY, context, KEY_LENGTH))
