"""Classes of traffic, and what each may travel under.

A trunk has two lanes, each with epochs of its own, so that volume in one never spends the keys of
the other: `bulk` never causes a QKD key to be fetched, whatever it weighs.
"""

from typing import NamedTuple

# Lanes, and what people call them.
HYBRID, BULK_LANE = 1, 2
LANES = {HYBRID: "hybrid", BULK_LANE: "bulk"}

# Classes. Control records belong to a lane and never leave it.
CONTROL, SECRET, NORMAL, BULK = 0, 1, 2, 3


class TrafficClass(NamedTuple):
    """One class. `fail_closed`: never sent, and never taken, under an epoch without a fresh QKD key that
    came over as many ways as either hub demands."""

    name: str
    lane: int
    fail_closed: bool


CLASSES = {
    SECRET: TrafficClass("secret", HYBRID, fail_closed=True),
    # May fall back to epochs of ML-KEM alone, and both ends are told for each record.
    NORMAL: TrafficClass("normal", HYBRID, fail_closed=False),
    BULK: TrafficClass("bulk", BULK_LANE, fail_closed=False),
}
NUMBERS = {row.name: number for number, row in CLASSES.items()}

# Both hubs must mean the same by a class: this number stands in the transcript of every epoch.
POLICY_VERSION = 2


class Timing(NamedTuple):
    """When a lane renews its keys and believes its peer gone; seconds, but for the two volumes."""

    # Between two epochs; the interval of the encryptors that this replaces is 60.
    rekey: float = 60.0
    # How long an epoch counts as fresh for classes that fail closed.
    fresh: float = 180.0
    # Before another try for a QKD key, while there is none.
    retry: float = 5.0
    # Silence after which something is said, and silence after which the peer is gone: three of the
    # former (RFC 5880 section 6.8.4, a detection multiplier of 3).
    alive: float = 1.0
    gone: float = 3.0
    # How long the receive key of the epoch before is kept.
    overlap: float = 10.0
    # How long two hubs go on without proving by a signature who they are. Whoever has learnt all the
    # inputs of one epoch could stay in the middle until then.
    signed: float = 86_400.0
    # Far below 2^32 records under one key of AES-GCM.
    records: int = 2**24
    volume: int = 64 * 2**30


DEFAULT_TIMING = Timing()
