"""Counters of the hub: every name that Prometheus sees, in one place."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Enum, Gauge, Histogram

# What a key feed can be at, as in `handfast-hub feed status` (docs/feeds.md).
FEED_STATES = ("waiting", "fed", "kept", "closed", "failing", "stopped")


class Metrics:
    """What a hub counts. One for each Prometheus registry; tests bring their own."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.handshakes = Counter(
            "handfast_handshakes", "Handshakes that ended, by result", ["result"], registry=registry
        )
        self.drops = Counter(
            "handfast_drops", "Payloads dropped in silence, by reason", ["reason"], registry=registry
        )
        self.records = Counter(
            "handfast_records", "Records of devices, by what became of them", ["result"], registry=registry
        )
        self.half_open = Gauge("handfast_half_open", "Handshakes under way", registry=registry)
        self.seconds = Histogram(
            "handfast_handshake_seconds", "From message_1 to message_4, in seconds", registry=registry
        )
        self.feed_keys = Counter(
            "handfast_feed_keys", "Keys that a feed's consumer took", ["feed"], registry=registry
        )
        self.feed_key_at = Gauge(
            "handfast_feed_last_key_timestamp_seconds",
            "When a feed's consumer took a key last, in seconds since 1970",
            ["feed"],
            registry=registry,
        )
        self.feed_state = Enum(
            "handfast_feed_state", "How a feed fares", ["feed"], states=FEED_STATES, registry=registry
        )
        self.feed_failures = Counter(
            "handfast_feed_failures",
            "What a feed's consumer did not do: by what was asked of it, and why",
            ["feed", "asked", "reason"],
            registry=registry,
        )
        # Finding a counter by its label costs more than counting.
        self._ended: dict[str, Counter] = {}

    def ended(self, result: str) -> None:
        """A handshake ended so."""
        counter = self._ended.get(result)
        if counter is None:
            counter = self._ended[result] = self.handshakes.labels(result)
        counter.inc()


METRICS = Metrics()
