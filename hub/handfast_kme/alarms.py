"""When a link must not be believed: QBER thresholds with hysteresis, and monitors that QBER cannot replace.

Both ends see the same counts, so both come to the same state without a further message.

    warn    3 %   said, nothing else
    alarm   8 %   no key is made; the keys of the last blocks are void at both ends; deliveries stop
    abort  11 %   as alarm; no protocol makes key of this

A step up is taken at once. A step down needs `CALM` blocks in a row below the threshold by `MARGIN`, since
real
series jump.
"""

import enum
import math
from dataclasses import dataclass

import numpy as np

from handfast_kme.distil import Measured
from handfast_kme.entangled import Pairs
from handfast_kme.optics import DOUBLE, MATCHED, MISMATCHED, Optics, honest

MARGIN = 0.005
CALM = 3
# Blocks before an alarm whose keys are suspect too: Eve may have begun below the threshold.
SUSPECT_BLOCKS = 4
# How many standard deviations, and by which factor, a monitor must be off: a small block has large
# deviations, a
# large one would see the model's own simplifications.
SIGMAS = 6.0
_BIAS_LOW, _BIAS_HIGH = 0.5, 2.0
# Blocks whose X basis has fewer events say nothing of a QBER.
_MIN_EVENTS = 200


class Level(enum.IntEnum):
    """How bad it is."""

    CLEAR = 0
    WARN = 1
    ALARM = 2
    ABORT = 3


THRESHOLDS = {Level.WARN: 0.03, Level.ALARM: 0.08, Level.ABORT: 0.11}


@dataclass(frozen=True)
class Verdict:
    """What a block showed: the level that holds now, and why it may not be used, if so."""

    level: Level
    reasons: tuple[str, ...]
    void: bool
    """True when this block raised an alarm: the last blocks are suspect."""

    @property
    def refusal(self) -> str | None:
        """Why no key may be made of this block."""
        return "; ".join(self.reasons) if self.level >= Level.ALARM else None


class Watch:
    """The alarm of one link at one end."""

    def __init__(self, optics: Optics | Pairs) -> None:
        """`optics`: how the link was commissioned; what it shows is compared with this."""
        self._expected = None if isinstance(optics, Pairs) else _Expected(optics)
        self.level = Level.CLEAR
        self.reasons: tuple[str, ...] = ()
        self._calm = 0

    def see(self, measured: Measured) -> Verdict:
        """Judge one block."""
        error_rate = measured.x.error_rate if measured.x.total >= _MIN_EVENTS else 0.0
        monitors = tuple(_bias_alarms(measured) + (self._expected.alarms(measured) if self._expected else []))
        up = _level(error_rate, 0.0)
        if monitors:
            up = max(up, Level.ALARM)
        raised = up >= Level.ALARM
        if up >= self.level:
            self.level, self._calm = up, 0
        else:
            self._step_down(max(_level(error_rate, MARGIN), up))
        if self.level >= Level.WARN:
            self.reasons = (f"QBER {error_rate:.1%}", *monitors) if error_rate else monitors
        else:
            self.reasons = ()
        return Verdict(self.level, self.reasons, raised)

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


def _bias_alarms(measured: Measured) -> list[str]:
    bias = measured.monitors.bias_current
    if _BIAS_LOW <= bias <= _BIAS_HIGH:
        return []
    return [f"detector bias current {bias:.1f} times what the counts explain"]


class _Expected:
    """What an honest receiver shows (F2): vacuum gain, decoy gain, double clicks, bias current."""

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

    def alarms(self, measured: Measured) -> list[str]:
        """Every monitor that is off, in words."""
        events = [z + x for z, x in zip(measured.z_events, measured.x.events, strict=True)]
        signal = max(1.0, events[0] / self._shares[0])
        found = []
        monitors = measured.monitors
        rows = (
            ("vacuum gain", events[2], self._vacuum * signal * self._shares[2], 0.6, 2.0),
            ("decoy gain", events[1], self._decoy * signal * self._shares[1], 0.92, 1.08),
            ("double click rate", monitors.doubles, self._double * monitors.clicks, 0.5, 2.5),
        )
        for name, seen, expected, low, high in rows:
            slack = SIGMAS * math.sqrt(max(expected, 1.0))
            if seen < min(expected * low, expected - slack) or seen > max(expected * high, expected + slack):
                found.append(f"{name} {seen / max(expected, 1e-9):.2f} times the commissioned one")
        return found
