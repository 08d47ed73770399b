"""What the hub spends on strangers: token buckets, half-open sessions, and what it has seen.

Everything here is asked after the gate and before the first expensive operation (docs/protocol.md,
load). A hub cannot see who publishes behind a broker; limits for a single client are the broker's.
"""

from collections import OrderedDict
from collections.abc import Callable

from handfast.core.constants import MESSAGE_1_MEMORY

# A bucket holds what two seconds bring, so a fleet that was switched on at once is not refused.
BURST_SECONDS = 2.0
# This part of a bucket is for holders of a token alone: a flood of others never empties it.
RESERVED = 0.5
# Digests of message_1 that are remembered; the oldest go first.
MEMORY_LIMIT = 100_000


class TokenBucket:
    """`rate` tokens a second. Who holds an enrolment token is preferred: served first under load."""

    def __init__(self, rate: float, now: float, full: float | None = None) -> None:
        """`full`: what it holds when nobody has taken any; what BURST_SECONDS bring, when not given."""
        self._rate = rate
        self._full = rate * BURST_SECONDS if full is None else full
        self._level = self._full
        self._at = now

    def take(self, now: float, preferred: bool = True) -> bool:
        """Take one token; False when there is none, or when what is left is for the preferred."""
        self._level = min(self._full, self._level + (now - self._at) * self._rate)
        self._at = now
        needed = 1.0 if preferred else min(self._full, 1.0 + self._full * RESERVED)
        if self._level < needed:
            return False
        self._level -= 1.0
        return True


class EarlyDrop:
    """Random early drop: from half of `limit` on, newcomers are dropped more and more often.

    A queue that is full to the brim serves whoever comes first when a place is free, which is the
    flood; dropping at random gives an honest device the same chance with each of its resends. The last
    quarter of the places is for holders of a token alone: a flood of others never takes it.
    """

    def __init__(self, limit: int, chance: Callable[[], float]) -> None:
        """`chance()` gives a number from 0 to below 1."""
        self._limit = limit
        self._chance = chance

    def admits(self, half_open: int, by_token: bool) -> bool:
        """Whether a newcomer gets a place beside `half_open` sessions."""
        start, end = self._limit * 2 // 4, self._limit * 3 // 4
        if by_token:
            start, end = end, self._limit
        if half_open < start:
            return True
        if half_open >= end:
            return False
        return self._chance() >= (half_open - start) / (end - start)


class Memory:
    """What was seen in the last MESSAGE_1_MEMORY seconds, by digest."""

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def find(self, digest: bytes, now: float) -> bytes | None:
        """What was remembered with `digest`, or None."""
        found = self._seen.get(digest)
        if found is None or now - found[0] >= MESSAGE_1_MEMORY:
            return None
        return found[1]

    def remember(self, digest: bytes, value: bytes, now: float) -> None:
        """Keep `value` with `digest`."""
        self._seen[digest] = (now, value)
        while self._seen and (
            len(self._seen) > self._limit or now - next(iter(self._seen.values()))[0] >= MESSAGE_1_MEMORY
        ):
            self._seen.popitem(last=False)

    def __len__(self) -> int:
        return len(self._seen)
