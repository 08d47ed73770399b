"""Counters of the hub: every name that Prometheus sees, in one place."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram


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


METRICS = Metrics()
