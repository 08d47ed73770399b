"""When a satellite is in sight, and how much light comes down at each moment of a pass. SIMULATED."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Passes:
    """Windows that come again: `duration` seconds of light every `period` seconds, the first at `start`.

    Within a pass the loss falls and rises with the slant range of a satellite at `altitude_km` on a straight
    track through the zenith, `horizon_db` more at both ends than at culmination.
    """

    period: float = 5700.0
    duration: float = 300.0
    start: float = 0.0
    altitude_km: float = 500.0
    speed_km_s: float = 7.6

    def __post_init__(self) -> None:
        if not 0 < self.duration <= self.period:
            raise ValueError(f"expected a duration up to the period, got {self.duration} of {self.period} s")
        if min(self.altitude_km, self.speed_km_s) <= 0:
            raise ValueError("expected a satellite that is up and moves")

    def until_next(self, now: float) -> float:
        """Seconds until there is light; 0 in a pass."""
        phase = (now - self.start) % self.period
        return 0.0 if phase < self.duration else self.period - phase

    def extra_loss_db(self, now: float) -> float:
        """Loss over that at culmination: free space spreads the beam with the square of the range."""
        phase = (now - self.start) % self.period
        along = self.speed_km_s * (phase - self.duration / 2)
        return 20 * math.log10(math.hypot(self.altitude_km, along) / self.altitude_km)
