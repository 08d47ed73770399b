"""When a link must not be believed: QBER thresholds with hysteresis, and monitors that QBER cannot replace.

Both ends see the same counts, so both come to the same state without a further message.

    warn    3 %   said, nothing else
    alarm   8 %   no key is made; the keys of the last blocks are void at both ends; deliveries stop
    abort  11 %   as alarm; no protocol makes key of this

A step up is taken at once. A step down needs `CALM` blocks in a row below the threshold by `MARGIN`, since
real series jump. Every row of a link's history carries the state of the alarm, and one is written before the
peer hears of a new alarm: whoever starts again begins where it stopped.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from handfast_kme.distil import Measured
from handfast_kme.entangled import Pairs
from handfast_kme.optics import DOUBLE, MATCHED, MISMATCHED, Optics, honest

MARGIN = 0.005
CALM = 3
# Blocks before an alarm whose keys are suspect too: Eve may have begun below the threshold.
SUSPECT_BLOCKS = 4
# How many standard deviations, and by which factor, a monitor must be off: a small block has large
# deviations, a large one would see the model's own simplifications.
SIGMAS = 6.0
LIMITS = {
    "vacuum gain": (0.6, 2.0),
    "decoy gain": (0.92, 1.08),
    "double click rate": (0.5, 2.5),
    "bias current": (0.5, 2.0),
}
"""What each monitor may show, as a multiple of what the link showed when it was commissioned."""
# Blocks whose X basis has fewer events say nothing of a QBER.
_MIN_EVENTS = 200


class Level(enum.IntEnum):
    """How bad it is."""

    CLEAR = 0
    WARN = 1
    ALARM = 2
    ABORT = 3


@dataclass(frozen=True)
class Monitor:
    """What one monitor of the receiver showed in a block: a multiple of what it should show."""

    name: str
    ratio: float
    off: bool

    def __str__(self) -> str:
        if self.name == "bias current":
            return f"detector bias current {self.ratio:.1f} times what the counts explain"
        return f"{self.name} {self.ratio:.2f} times the commissioned one"


THRESHOLDS = {Level.WARN: 0.03, Level.ALARM: 0.08, Level.ABORT: 0.11}


@dataclass(frozen=True)
class Verdict:
    """What a block showed: the level that holds now, and why it may not be used, if so."""

    level: Level
    reasons: tuple[str, ...]
    void: bool
    """True when this block raised an alarm: the last blocks are suspect."""
    monitors: tuple[Monitor, ...] = ()

    @property
    def refusal(self) -> str | None:
        """Why no key may be made of this block."""
        return "; ".join(self.reasons) if self.level >= Level.ALARM else None


class Watch:
    """The alarm of one link at one end."""

    def __init__(self, optics: Optics | Pairs, last: Mapping[str, Any] | None = None) -> None:
        """`optics`: how the link was commissioned; what it shows is compared with this. `last`: the newest
        row of its history."""
        self._expected = None if isinstance(optics, Pairs) else _Expected(optics)
        self.level = Level.CLEAR
        self.reasons: tuple[str, ...] = ()
        self._calm = 0
        if last and "level" in last:
            self.level = Level[str(last["level"]).upper()]
            self.reasons = tuple(map(str, last.get("reasons", ())))
            self._calm = int(last.get("calm", 0))

    @property
    def state(self) -> dict[str, Any]:
        """What the history keeps of it, as plain values."""
        return {"level": self.level.name.lower(), "reasons": list(self.reasons), "calm": self._calm}

    def see(self, measured: Measured) -> Verdict:
        """Judge one block."""
        error_rate = measured.x.error_rate if measured.x.total >= _MIN_EVENTS else 0.0
        monitors = (*(self._expected.monitors(measured) if self._expected else ()), _bias(measured))
        off = tuple(str(monitor) for monitor in monitors if monitor.off)
        up = _level(error_rate, 0.0)
        if off:
            up = max(up, Level.ALARM)
        raised = up >= Level.ALARM
        if up >= self.level:
            self.level, self._calm = up, 0
        else:
            self._step_down(max(_level(error_rate, MARGIN), up))
        if self.level >= Level.WARN:
            self.reasons = (f"QBER {error_rate:.1%}", *off) if error_rate else off
        else:
            self.reasons = ()
        return Verdict(self.level, self.reasons, raised, monitors)

    def _step_down(self, floor: Level) -> None:
        if floor >= self.level:
            self._calm = 0
            return
        self._calm += 1
        if self._calm >= CALM:
            self.level, self._calm = floor, 0


def _level(error_rate: float, margin: float) -> Level:
    reached = [level for level, at in THRESHOLDS.items() if error_rate >= at - margin]
    return max(reached, default=Level.CLEAR)


def _bias(measured: Measured) -> Monitor:
    low, high = LIMITS["bias current"]
    bias = measured.monitors.bias_current
    return Monitor("bias current", bias, not low <= bias <= high)


class _Expected:
    """What an honest receiver shows (F2): vacuum gain, decoy gain, double clicks."""

    def __init__(self, optics: Optics) -> None:
        clicks = honest(optics)
        gains = clicks.gains(optics)
        total = float(np.dot(optics.probabilities, gains))
        # The dead time of another click takes clicks of all kinds alike; afterpulses come with any intensity.
        alive = 1 / (1 + total * clicks.dead_slots)
        after = total * clicks.afterpulse * alive
        signal, decoy, vacuum = (float(gain) + after for gain in gains)
        self._vacuum, self._decoy = vacuum / signal, decoy / signal
        self._shares = optics.probabilities
        photons = optics.photon_numbers()
        match = optics.z_probability**2 + (1 - optics.z_probability) ** 2
        doubles = match * clicks.table[:, MATCHED, DOUBLE] + (1 - match) * clicks.table[:, MISMATCHED, DOUBLE]
        double = float(np.dot(optics.probabilities, photons @ doubles))
        self._double = double / total / (1 + clicks.afterpulse)

    def monitors(self, measured: Measured) -> list[Monitor]:
        """What each shows, and whether it is off beyond its limits and beyond chance."""
        events = [z + x for z, x in zip(measured.z_events, measured.x.events, strict=True)]
        signal = max(1.0, events[0] / self._shares[0])
        found = []
        monitors = measured.monitors
        rows = (
            ("vacuum gain", events[2], self._vacuum * signal * self._shares[2]),
            ("decoy gain", events[1], self._decoy * signal * self._shares[1]),
            ("double click rate", monitors.doubles, self._double * monitors.clicks),
        )
        for name, seen, expected in rows:
            low, high = LIMITS[name]
            slack = SIGMAS * math.sqrt(max(expected, 1.0))
            off = seen < min(expected * low, expected - slack) or seen > max(
                expected * high, expected + slack
            )
            found.append(Monitor(name, seen / max(expected, 1e-9), off))
        return found
