"""BBM92: a source of entangled pairs between two receivers, on the ground or on a satellite. SIMULATED.

Both ends measure in bases of their own, and Alice's results are as random as bits that she draws herself:
so she does draw them (from the operating system), and everything after the light is the same code as for
BB84. There are no intensities: the source need not be trusted, every sifted bit counts, and the phase error
is that of the other basis, plus what sampling may hide.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from handfast_kme.decoy import Bounds, Counts, sampling_deviation
from handfast_kme.optics import MATCHED, MAX_PHOTONS, MISMATCHED, RIGHT, WRONG, Clicks, Floats

ATTACKS = ("intercept", "tap", "blinding")
"""Those that mean something here: there are no weak pulses whose photons could be counted."""


@dataclass(frozen=True)
class Pairs:
    """A pair source and two receivers. A 'pulse' is a coincidence window."""

    pulse_rate: float = 1e8
    """Coincidence windows a second."""
    brightness: float = 0.02
    """Mean pairs in a window."""
    loss_db: tuple[float, float] = (20.0, 20.0)
    """From the source to Alice's detectors and to Bob's, for a satellite at culmination."""
    detector_efficiency: float = 0.5
    dark_count: float = 1e-6
    """In a window, each detector."""
    misalignment: float = 0.015
    z_probability: float = 0.5
    dead_time: float = 0.0
    afterpulse: float = 0.0
    afterpulse_decay: float = 500e-9

    def __post_init__(self) -> None:
        if not 0 < self.z_probability < 1:
            raise ValueError(f"expected a z_probability between 0 and 1, got {self.z_probability}")
        if not 0 < self.brightness < 1:
            raise ValueError(f"expected a brightness between 0 and 1 pairs a window, got {self.brightness}")

    @property
    def probabilities(self) -> tuple[float, float, float]:
        """One 'intensity'."""
        return (1.0, 0.0, 0.0)

    @property
    def dead_slots(self) -> int:
        """Dead time in windows."""
        return round(self.dead_time * self.pulse_rate)

    def photon_numbers(self) -> Floats:
        """P(n pairs in a window), in each of three equal rows."""
        mu = self.brightness
        row = np.array([math.exp(-mu) * mu**n / math.factorial(n) for n in range(MAX_PHOTONS + 1)])
        return np.tile(row / row.sum(), (3, 1))

    def with_loss(self, decibels: float) -> "Pairs":
        """The same source with so much more loss on the way to Bob."""
        return replace(self, loss_db=(self.loss_db[0], self.loss_db[1] + decibels))


def coincidences(pairs: Pairs) -> Clicks:
    """What n pairs in a window do: a click at both ends, right when both photons are of one pair."""
    n = np.arange(MAX_PHOTONS + 1)
    etas = [10 ** (-loss / 10) * pairs.detector_efficiency for loss in pairs.loss_db]
    both = np.ones(MAX_PHOTONS + 1)
    for eta in etas:
        both = both * (1 - (1 - pairs.dark_count) ** 2 * (1 - eta) ** n)
    of_one_pair = np.minimum(1.0, (1 - (1 - etas[0] * etas[1]) ** n) / both)
    table = np.zeros((MAX_PHOTONS + 1, 2, 3))
    wrong = of_one_pair * pairs.misalignment + (1 - of_one_pair) / 2
    table[:, MATCHED, WRONG], table[:, MATCHED, RIGHT] = both * wrong, both * (1 - wrong)
    table[:, MISMATCHED, WRONG] = table[:, MISMATCHED, RIGHT] = both / 2
    return Clicks(table, pairs.afterpulse, pairs.dead_slots)


def attacked_pairs(pairs: Pairs, attack: str, dial: float, blinded_current: float) -> Clicks:
    """The clicks under one of ATTACKS; ValueError for another."""
    base = coincidences(pairs)
    if attack == "none" or dial == 0.0:
        return base
    if attack not in ATTACKS:
        raise ValueError(f"a pair source knows the attacks {', '.join(ATTACKS)}, not {attack!r}")
    if attack == "tap":
        return coincidences(pairs.with_loss(-10 * math.log10(max(1e-6, 1 - dial))))
    if attack == "blinding":
        return replace(base, bias_current=1 + dial * (blinded_current - 1))
    table = base.table.copy()
    table[:, MATCHED] = (1 - dial / 2) * base.table[:, MATCHED] + dial / 2 * base.table[:, MISMATCHED]
    return replace(base, table=table)


def pair_bounds(z: Counts, x: Counts) -> Bounds:
    """Every sifted bit counts; the phase error is the X error and what sampling may hide."""
    if not z.total or not x.total:
        return Bounds(0.0, 0.0, 0.5)
    ratio = min(0.5, x.error_rate)
    return Bounds(0.0, float(z.total), min(0.5, ratio + sampling_deviation(ratio, z.total, x.total)))
