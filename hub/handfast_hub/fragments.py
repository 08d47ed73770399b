"""Onboarding payloads in fragments, for brokers with small packets (docs/protocol.md, carriage over MQTT).

What has no GATE yet may cost memory, but not much of it: one payload of at most 16 kB for each of
the last MOST_CHANS chans that sent fragments, for 30 s.
"""

from collections import OrderedDict
from collections.abc import Callable

from handfast.core.constants import SID_LENGTH
from handfast.core.errors import PeerError
from handfast.core.frames import Reassembly, fragment, is_fragment
from handfast.core.suites import SHA_256
from handfast.ports import Clock, Crypto
from handfast_hub.metrics import METRICS

MOST_CHANS = 256


class Fragments:
    """Puts together what comes and takes apart what goes."""

    def __init__(
        self, crypto: Crypto, clock: Clock, publish: Callable[[str, bytes], None], packet_limit: int
    ) -> None:
        """`packet_limit` in bytes; 0 takes nothing apart."""
        self._crypto = crypto
        self._clock = clock
        self._publish = publish
        self._limit = packet_limit
        self._chans: OrderedDict[str, Reassembly] = OrderedDict()

    def receive(self, chan: str, payload: bytes) -> bytes | None:
        """The whole payload that came on `chan`, or None while parts of it are missing."""
        if not is_fragment(payload):
            return payload
        reassembly = self._chans.setdefault(chan, Reassembly(self._sha_256))
        self._chans.move_to_end(chan)
        if len(self._chans) > MOST_CHANS:
            self._chans.popitem(last=False)
        try:
            whole = reassembly.receive(payload, self._clock.now())
        except PeerError:
            METRICS.drops.labels("fragment").inc()
            return None
        if whole is not None:
            del self._chans[chan]
        return whole

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish an answer to a joining device, in parts when it is too large; LinkError."""
        if not self._limit or len(payload) <= self._limit:
            self._publish(topic, payload)
            return
        # A sid out of the hash: when message_2 is sent again, the device can join parts of both.
        sid = self._sha_256(payload)[:SID_LENGTH]
        for part in fragment(payload, self._limit, sid, self._sha_256):
            self._publish(topic, part)

    def _sha_256(self, data: bytes) -> bytes:
        return self._crypto.hash(SHA_256, data)
