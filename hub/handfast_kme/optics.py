"""What a BB84 link is made of, and what a pulse of n photons does in Bob's receiver.

For phase-randomised weak coherent pulses everything follows from what happens to a pulse of exactly n
photons: does a detector click, and is it the right one? `Clicks` is that table. An attack or a fault is
nothing but another table (attacks.py, faults.py); the sampler (light.py) and the formulas read the same one.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Photon numbers above this are counted as this: at mu = 1 one pulse in 10^8 has more.
MAX_PHOTONS = 11
MATCHED, MISMATCHED = 0, 1
RIGHT, WRONG, DOUBLE = 0, 1, 2


class Source(Protocol):
    """What the table needs to know of a source: Optics, or the pairs of entangled.py."""

    def photon_numbers(self) -> Floats:
        """P(n photons or pairs | intensity)."""
        ...


@dataclass(frozen=True)
class Optics:
    """A weak-coherent-pulse source, a fibre and a receiver with two gated detectors.

    The defaults are those of the measured table in docs/qkd.md.
    """

    pulse_rate: float = 1e9
    """Pulses a second."""
    intensities: tuple[float, float, float] = (0.48, 0.12, 0.001)
    """Mean photon numbers of signal, decoy and vacuum pulses; mu1 > mu2 + mu3."""
    probabilities: tuple[float, float, float] = (0.55, 0.30, 0.15)
    """How often each is sent."""
    z_probability: float = 0.75
    """How often Alice, and how often Bob, takes the Z basis, from which keys are made."""
    length_km: float = 50.0
    loss_db_per_km: float = 0.2
    receiver_loss_db: float = 2.0
    detector_efficiency: float = 0.2
    dark_count: float = 1e-6
    """Probability of a dark count in a gate, each detector."""
    misalignment: float = 0.012
    """e_d: how often a photon takes the wrong way although the bases match."""
    dead_time: float = 100e-9
    """Seconds in which both detectors are blind after a click."""
    afterpulse: float = 0.01
    """Probability that a click is followed by another one of the same detector, after the dead time."""
    afterpulse_decay: float = 500e-9
    """Mean seconds from the end of the dead time to the afterpulse."""

    def __post_init__(self) -> None:
        mu1, mu2, mu3 = self.intensities
        if not (mu1 > mu2 + mu3 and mu2 > mu3 >= 0):
            raise ValueError(
                f"expected intensities mu1 > mu2 + mu3 and mu2 > mu3 >= 0, got {self.intensities}"
            )
        if not math.isclose(sum(self.probabilities), 1.0) or min(self.probabilities) <= 0:
            raise ValueError(
                f"expected three positive probabilities that add up to 1, got {self.probabilities}"
            )
        if not 0 < self.z_probability < 1:
            raise ValueError(f"expected a z_probability between 0 and 1, got {self.z_probability}")

    @property
    def transmittance(self) -> float:
        """eta: the probability that one photon that Alice sends makes a detector click."""
        loss = self.loss_db_per_km * self.length_km + self.receiver_loss_db
        return float(10.0 ** (-loss / 10) * self.detector_efficiency)

    @property
    def dead_slots(self) -> int:
        """Dead time in pulses."""
        return round(self.dead_time * self.pulse_rate)

    def photon_numbers(self) -> Floats:
        """P(n photons | intensity), shape (3, MAX_PHOTONS + 1); rows add up to 1."""
        table = np.empty((3, MAX_PHOTONS + 1))
        for row, mu in zip(table, self.intensities, strict=True):
            row[:] = [math.exp(-mu) * mu**n / math.factorial(n) for n in range(MAX_PHOTONS + 1)]
            row[MAX_PHOTONS] = 1.0 - row[:MAX_PHOTONS].sum()
        return table

    def with_loss(self, decibels: float) -> "Optics":
        """The same link with so much more loss in front of the receiver."""
        return replace(self, receiver_loss_db=self.receiver_loss_db + decibels)


@dataclass(frozen=True)
class Clicks:
    """What pulses of n photons do at Bob's, and what his monitors would show.

    `table[n, m, o]` is the probability that a pulse of n photons ends as outcome o (RIGHT, WRONG, DOUBLE)
    when the bases match (m = MATCHED) or do not. The sum over o is the yield Y_n and does not depend on m:
    no detector knows Alice's basis.
    """

    table: Floats
    afterpulse: float
    dead_slots: int
    bias_current: float = 1.0
    """Detector bias current over what the count rate explains; 1 in an honest receiver."""

    @property
    def yields(self) -> Floats:
        """Y_n, shape (MAX_PHOTONS + 1,)."""
        total: Floats = self.table[:, MATCHED].sum(axis=1)
        return total

    def gains(self, optics: "Source") -> Floats:
        """Q_k: the probability of a click for each intensity, before dead time and afterpulses."""
        result: Floats = optics.photon_numbers() @ self.yields
        return result

    def error_rates(self, optics: "Source") -> Floats:
        """QBER of each intensity, before dead time and afterpulses; a double click is a coin."""
        wrong = self.table[:, MATCHED, WRONG] + self.table[:, MATCHED, DOUBLE] / 2
        result: Floats = (optics.photon_numbers() @ wrong) / self.gains(optics)
        return result


def two_detectors(eta: float, dark: float, error: float) -> Floats:
    """The table of an honest receiver: shape (MAX_PHOTONS + 1, 2, 3).

    P(no click) = (1-pd)^2 (1-eta)^n, P(the right one silent) = (1-pd)(1-eta(1-e))^n, P(the wrong one silent)
    = (1-pd)(1-eta e)^n. With different bases a photon goes either way: e = 1/2.
    """
    n = np.arange(MAX_PHOTONS + 1)
    none = (1 - dark) ** 2 * (1 - eta) ** n
    table = np.empty((MAX_PHOTONS + 1, 2, 3))
    for basis, wrong_way in ((MATCHED, error), (MISMATCHED, 0.5)):
        right_silent = (1 - dark) * (1 - eta * (1 - wrong_way)) ** n
        wrong_silent = (1 - dark) * (1 - eta * wrong_way) ** n
        table[:, basis, RIGHT] = wrong_silent - none
        table[:, basis, WRONG] = right_silent - none
        table[:, basis, DOUBLE] = 1 - right_silent - wrong_silent + none
    # Rounding may leave -1e-17.
    result: Floats = np.clip(table, 0.0, 1.0)
    return result


def honest(optics: Optics) -> Clicks:
    """The clicks of a link that nobody touches."""
    table = two_detectors(optics.transmittance, optics.dark_count, optics.misalignment)
    return Clicks(table, optics.afterpulse, optics.dead_slots)


def binary_entropy(p: float) -> float:
    """h(p) in bits."""
    if p <= 0.0 or p >= 1.0:
        return 0.0
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


def asymptotic_rate(optics: Optics, clicks: Clicks, efficiency: float = 1.1) -> float:
    """Secret bits a second for an endless key: GLLP with exact Y_0, Y_1, e_1 (Lo, Ma, Chen 2005).

    Ignores dead time and afterpulses, so it is an upper line beside the finite figure.
    """
    photons = optics.photon_numbers()
    weights = np.asarray(optics.probabilities)
    gain = float(weights @ clicks.gains(optics))
    error = float((weights * clicks.gains(optics)) @ clicks.error_rates(optics)) / gain
    zero = float(weights @ photons[:, 0]) * clicks.yields[0]
    single = float(weights @ photons[:, 1]) * clicks.yields[1]
    wrong = clicks.table[1, MATCHED, WRONG] + clicks.table[1, MATCHED, DOUBLE] / 2
    phase_error = min(0.5, float(wrong / clicks.yields[1]))
    rate: float = (
        zero + single * (1 - binary_entropy(phase_error)) - gain * efficiency * binary_entropy(error)
    )
    return max(0.0, optics.pulse_rate * optics.z_probability**2 * rate)
