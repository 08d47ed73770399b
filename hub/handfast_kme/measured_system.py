"""A table that was measured on a real system, and models of it: QBER while an eavesdropper turns her dial up.

Mao, Xu, Sakk and Wang put a device that taps light and puts it back late on the line of a Cerberis 3, and
wrote down mean and deviation of the QBER for five settings of its dial. Nothing else is known: no time
series, no number of readings, no rule by which the receiver locks again, no calibration of the dial. So what
follows describes the table. It does not identify what happened.

    A  the tapped light comes back in wrong time slots, half of it wrong; the dial is the tapped share
    B  A, and what comes back is of the same laser: it interferes with the pulse that is there, at a phase
       which is another one in each reading
    C  B, and the receiver gives up when a reading is too high, locks anew and reads its base for a while
    D  C with a dial of unknown scale; all that is tapped comes back, fully coherent
    E  D with the share that comes back and its coherence fitted too: effective numbers, not physical ones

The base error is read off the first setting in all of them; where that one is to be predicted it is fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import scipy.optimize  # type: ignore[import-untyped]
import scipy.special  # type: ignore[import-untyped]

from handfast_kme.optics import Floats

DIALS = (0, 20, 40, 60, 80)
MEANS = (1.5, 4.8, 9.6, 12.6, 13.48)
"""Percent, as published."""
DEVIATIONS = (0.54, 0.96, 4.26, 5.44, 8.8)

# Phases at which the interference is looked at: the mean over a turn to six digits.
_PHASES = np.cos((np.arange(64) + 0.5) / 64 * np.pi)
_SEED = 20260201


@dataclass(frozen=True)
class System:
    """A receiver under the device. Shares are of the light that arrives when nobody taps."""

    tap: float = 1.0
    """Share that is tapped at dial 100."""
    back: float = 1.0
    """Share of the tapped light that comes back."""
    visibility: float = 0.0
    """How coherent it is with the pulses it falls on; 1 at most in nature."""
    bits: float = 500.0
    """Bits that a reading compares when nobody taps."""
    gives_up: float = 1.0
    """The reading above which the receiver locks anew."""
    returns: float = 1.0
    """Probability, for each reading at the base, that the next one is under attack again."""
    base: float = MEANS[0] / 100
    """Error rate without the device."""

    def under_attack(self, dial: float, cosine: Floats) -> tuple[Floats, Floats]:
        """Error rate and number of bits of readings at these phases.

        A late pulse falls into the slot of the bit that is there or into the other one, equally often: there
        it is an error; here it interferes. So of the slots' light, a² + b² + V a b cos φ, the share
        (base a² + b²/2) is wrong.
        """
        tapped = self.tap * dial / 100
        through, late = 1 - tapped, self.back * tapped
        light = through + late + self.visibility * np.sqrt(through * late) * cosine
        # The numbers of E may leave what nature allows.
        return np.minimum(0.99, (self.base * through + late / 2) / light), self.bits * light

    def expected(self, dial: float) -> tuple[float, float]:
        """Mean and deviation of the readings at one setting, in percent."""
        rate, bits = self.under_attack(dial, _PHASES)
        variance = rate * (1 - rate) / bits
        mean, square = float(rate.mean()), float((rate**2 + variance).mean())
        # Of two states that follow each other the share is that of the ways out.
        out = float(scipy.special.ndtr((rate - self.gives_up) / np.sqrt(variance)).mean())
        resting = out / (out + self.returns)
        base_square = self.base**2 + self.base * (1 - self.base) / self._bits_at_base(dial)
        mean, square = (
            resting * self.base + (1 - resting) * mean,
            resting * base_square + (1 - resting) * square,
        )
        return 100 * mean, 100 * max(0.0, square - mean**2) ** 0.5

    def readings(self, dial: float, count: int, rng: np.random.Generator) -> Floats:
        """`count` readings one after another, in percent: what `expected` is the mean of."""
        rates, bits = self.under_attack(dial, np.cos(rng.uniform(0, 2 * np.pi, count)))
        attacked = rng.binomial(np.rint(bits).astype(np.int64), rates) / np.rint(bits)
        at_base = round(self._bits_at_base(dial))
        resting = rng.binomial(at_base, self.base, count) / at_base
        back = rng.random(count) < self.returns
        made = np.empty(count)
        rests = False
        for n in range(count):
            made[n] = resting[n] if rests else attacked[n]
            rests = not back[n] if rests else bool(attacked[n] > self.gives_up)
        return 100 * made

    def _bits_at_base(self, dial: float) -> float:
        return self.bits * (1 - self.tap * dial / 100)


class Model(NamedTuple):
    """Which numbers of a System are fitted, within which bounds; the others stay at their defaults."""

    fitted: dict[str, tuple[float, float]]
    start: System


_BITS, _BACK, _VISIBILITY = (50.0, 2000.0), (0.01, 4.0), (0.0, 1.0)
_LOOP = {"gives_up": (0.1, 0.5), "returns": (0.02, 1.0)}
_TAP, _BASE = (0.05, 1.2), (0.001, 0.04)
MODELS: dict[str, Model] = {
    "A": Model({"back": _BACK, "bits": _BITS}, System()),
    "B": Model({"back": _BACK, "bits": _BITS, "visibility": _VISIBILITY}, System()),
    "C": Model({"back": _BACK, "bits": _BITS, "visibility": _VISIBILITY, **_LOOP}, System()),
    "D": Model({"tap": _TAP, "bits": _BITS, **_LOOP}, System(visibility=1.0)),
    "E": Model({"tap": _TAP, "back": _BACK, "bits": _BITS, "visibility": (0.0, 1.9), **_LOOP}, System()),
}


class Fit(NamedTuple):
    """A model with its numbers, and what it says of the five settings, in percent."""

    system: System
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @property
    def misses(self) -> tuple[float, float]:
        """Root mean square of what the means and the deviations miss."""
        pairs = ((self.means, MEANS), (self.deviations, DEVIATIONS))
        one, two = (float(np.sqrt(np.mean((np.array(a) - b) ** 2))) for a, b in pairs)
        return one, two


def fit(model: str, rows: Sequence[int] = range(len(DIALS)), near: System | None = None) -> Fit:
    """Fit a model to some rows of the table, means and deviations alike: least squares in percent points.

    `near` begins at another fit; else the whole of the bounds is searched, the same way each time.
    """
    fitted, start = MODELS[model]
    if 0 not in rows:
        fitted = {**fitted, "base": _BASE}
    names, bounds = list(fitted), list(fitted.values())

    def system(values: Sequence[float]) -> System:
        return replace(start, **dict(zip(names, map(float, values), strict=True)))

    def misses(values: Sequence[float]) -> Floats:
        made = [system(values).expected(DIALS[row]) for row in rows]
        return (np.array(made) - [(MEANS[row], DEVIATIONS[row]) for row in rows]).ravel()

    if near is None:
        found = scipy.optimize.differential_evolution(
            lambda values: float((misses(values) ** 2).sum()), bounds, rng=_SEED, maxiter=80, popsize=8,
            tol=1e-4, polish=False,
        ).x  # fmt: skip
    else:
        found = [getattr(near, name) for name in names]
    low, high = (np.array(side) for side in zip(*bounds, strict=True))
    best = system(
        scipy.optimize.least_squares(
            misses, np.clip(found, low, high), bounds=(low, high), x_scale=high - low
        ).x
    )
    means, deviations = zip(*(best.expected(dial) for dial in DIALS), strict=True)
    return Fit(best, means, deviations)


def predicted(model: str, near: System) -> tuple[tuple[float, float], ...]:
    """Mean and deviation of each setting from a fit to the other four."""
    made = []
    for row, dial in enumerate(DIALS):
        others = [other for other in range(len(DIALS)) if other != row]
        made.append(fit(model, others, near).system.expected(dial))
    return tuple(made)


def numbers(system: System, model: str) -> dict[str, float]:
    """The fitted numbers of a model by name."""
    return {f.name: getattr(system, f.name) for f in fields(System) if f.name in MODELS[model].fitted}
