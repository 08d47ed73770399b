"""Where the QKD keys of a trunk come from, and how long they will last."""

from collections import deque
from collections.abc import Callable, Sequence
from statistics import linear_regression
from typing import Literal, NamedTuple, Protocol

# Seconds of the past that a forecast looks at.
WINDOW = 600.0
# A supply below this many rekeys is low, and low no more from twice as many on.
LOW = 10
# Looks that a trend needs, and a change that is none, as a part of the demand.
_LOOKS, _STILL = 3, 0.05


class KeySource(Protocol):
    """What a lane's QKD keys come from: an SAE at its KME (`handfast_hub.trunk.kme`)."""

    async def enc_key(self, ways: int = 1, least: int = 1) -> tuple[bytes, bytes, int]:
        """A new key: its key_ID, 16 bytes, 32 bytes, and over how many ways without a common relay it came:
        `ways`, or fewer but not fewer than `least`. An Error when there is none."""

    async def dec_key(self, key_id: bytes) -> bytes:
        """The key that the other end was given under `key_id`; an Error when it is not there."""

    async def top_up(self, ways: int = 1) -> list[bytes]:
        """Fetch keys ahead that came over so many ways; the key_IDs that are held, for the other end."""

    async def hold(self, key_ids: Sequence[bytes]) -> bool:
        """Fetch the keys that the other end holds ahead; whether it may be told what is here now."""

    def agree(self, key_ids: Sequence[bytes]) -> None:
        """The other end has these: forget what it was told of and has not."""

    def ids(self) -> list[bytes]:
        """The key_IDs that are held."""

    def void(self) -> None:
        """Forget keys that are held: an alarm came over them."""

    async def watch(self, alarm: Callable[[], None], more: Callable[[], None]) -> None:
        """Call `alarm` whenever the QKD keys of the last minutes become suspect, and `more` when keys may be
        had over more ways than the last one came over; until cancelled."""

    def supply(self) -> dict[str, object]:
        """How many keys there are and how long they last."""

    async def close(self) -> None:
        """Let the KME go."""


class Forecast(NamedTuple):
    """What will become of the supply. Seconds; `empty_in` only when the trend is `falling`."""

    trend: Literal["unknown", "rising", "steady", "falling"]
    empty_in: float | None
    without_link: float
    """How long the keys last when the QKD link makes no more."""

    def __str__(self) -> str:
        if self.empty_in is not None:
            return f"empty in {self.empty_in / 60:.0f} min"
        return {"rising": "rising", "steady": "never empty"}.get(self.trend, "not known yet")


class Supply:
    """The keys of one trunk at its KME, over time."""

    def __init__(self, rekey: float) -> None:
        """`rekey`: seconds between two epochs, each of which takes one key."""
        self._rekey = rekey
        self._looks: deque[tuple[float, int]] = deque()
        self._taken: deque[float] = deque()
        self._low = False

    @property
    def stored(self) -> int | None:
        """Keys that the KME had when it was asked last."""
        return self._looks[-1][1] if self._looks else None

    def saw(self, stored: int, now: float) -> None:
        """The KME says that it has so many."""
        self._looks.append((now, stored))
        self._forget(now)

    def took(self, count: int, now: float) -> None:
        """Keys were taken, at either end of the trunk."""
        self._taken.extend([now] * count)
        self._forget(now)

    def forecast(self, reserve: int = 0) -> Forecast:
        """What will become of it; `reserve` keys are with the hub already."""
        stored = (self.stored or 0) + reserve
        outage = stored * self._rekey
        income = self._income()
        if income is None:
            return Forecast("unknown", None, outage)
        demand = 1 / self._rekey
        net = income - demand
        if abs(net) <= _STILL * demand:
            return Forecast("steady", None, outage)
        return Forecast("rising", None, outage) if net > 0 else Forecast("falling", stored / -net, outage)

    def falls_low(self, reserve: int = 0) -> bool:
        """True once when fewer than LOW rekeys are left, and again only after there were twice as many."""
        if self.stored is None:
            return False
        keys = self.stored + reserve
        before, self._low = self._low, keys < (2 * LOW if self._low else LOW)
        return self._low and not before

    def _income(self) -> float | None:
        """Keys a second that the KME got: the slope of what it had, and what was taken meanwhile."""
        if len(self._looks) < _LOOKS:
            return None
        first, last = self._looks[0][0], self._looks[-1][0]
        if last <= first:
            return None
        slope = linear_regression(*zip(*self._looks, strict=True)).slope
        return slope + sum(first < at <= last for at in self._taken) / (last - first)

    def _forget(self, now: float) -> None:
        while self._looks and self._looks[0][0] < now - WINDOW:
            self._looks.popleft()
        while self._taken and self._taken[0] < now - WINDOW:
            self._taken.popleft()
