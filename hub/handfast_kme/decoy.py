"""How much of a block Eve cannot know: decoy-state bounds with finite-size statistics.

The form of Lim, Curty, Walenta, Xu, Zbinden, Phys. Rev. A 89, 022307 (2014), numbers of its equations in the
code; Hoeffding's bound throughout, eps_sec split into 21 parts as there.
"""

import math
from dataclasses import dataclass

import numpy as np

from handfast_kme.optics import Floats, Optics, binary_entropy

EPSILON_SECRET = 1e-9
# Bits that verification discloses (privacy.py); different strings pass with less than 2^-80.
VERIFICATION_BITS = 128
_PARTS = 21


@dataclass(frozen=True)
class Counts:
    """What both ends counted in one basis: events and errors for each intensity."""

    events: tuple[int, int, int]
    errors: tuple[int, int, int]

    @property
    def total(self) -> int:
        return sum(self.events)

    @property
    def error_rate(self) -> float:
        """QBER of the basis; 0 when nothing was counted."""
        return sum(self.errors) / self.total if self.total else 0.0


@dataclass(frozen=True)
class Bounds:
    """Of the sifted Z string: lower bounds in bits, and the phase error's upper bound."""

    vacuum: float
    single: float
    phase_error: float

    def secret_bits(self, leaked: int) -> int:
        """The length of the final key (eq. 1), a multiple of 8, 0 when there is none."""
        length = (
            self.vacuum
            + self.single * (1 - binary_entropy(self.phase_error))
            - leaked
            - 6 * math.log2(_PARTS / EPSILON_SECRET)
            - VERIFICATION_BITS
        )
        return max(0, int(length) // 8 * 8)


def bounds(optics: Optics, z: Counts, x: Counts) -> Bounds:
    """What can be said of the Z string from what was counted in both bases."""
    vacuum = _vacuum(optics, z)
    single = _single(optics, z, vacuum)
    x_single = _single(optics, x, _vacuum(optics, x))
    if single <= 0 or x_single <= 0:
        return Bounds(0.0, 0.0, 0.5)
    _, mu2, mu3 = optics.intensities
    # eq. 5: errors of single photons in X; the string's own phase errors follow by sampling (eq. 3, gamma).
    low, high = _between(optics, x.errors)
    errors = max(0.0, float(_tau(optics, 1) * (high[1] - low[2]) / (mu2 - mu3)))
    ratio = min(0.5, errors / x_single)
    return Bounds(vacuum, single, min(0.5, ratio + sampling_deviation(ratio, single, x_single)))


def _tau(optics: Optics, n: int) -> float:
    """The probability that Alice sends n photons."""
    pairs = zip(optics.probabilities, optics.intensities, strict=True)
    return math.fsum(p * math.exp(-mu) * mu**n / math.factorial(n) for p, mu in pairs)


def _between(optics: Optics, counts: tuple[int, int, int]) -> tuple[Floats, Floats]:
    """n^-_k and n^+_k: where the expected counts lie, scaled by e^mu / p."""
    mu, p = np.asarray(optics.intensities), np.asarray(optics.probabilities)
    deviation = math.sqrt(sum(counts) / 2 * math.log(_PARTS / EPSILON_SECRET))
    scale, measured = np.exp(mu) / p, np.asarray(counts, dtype=np.float64)
    return scale * np.maximum(0.0, measured - deviation), scale * (measured + deviation)


def _vacuum(optics: Optics, counts: Counts) -> float:
    """Lower bound of events from empty pulses (eq. 2)."""
    _, mu2, mu3 = optics.intensities
    low, high = _between(optics, counts.events)
    bound = _tau(optics, 0) * (mu2 * low[2] - mu3 * high[1]) / (mu2 - mu3)
    return max(0.0, float(bound))


def _single(optics: Optics, counts: Counts, vacuum: float) -> float:
    """Lower bound of events from single photons (eq. 3)."""
    mu1, mu2, mu3 = optics.intensities
    low, high = _between(optics, counts.events)
    rest = (mu2**2 - mu3**2) / mu1**2 * (high[0] - vacuum / _tau(optics, 0))
    bound = _tau(optics, 1) * mu1 * (low[1] - high[2] - rest) / (mu1 * (mu2 - mu3) - mu2**2 + mu3**2)
    return max(0.0, float(bound))


def sampling_deviation(ratio: float, ours: float, sample: float) -> float:
    """What sampling without replacement may hide: `sample` events were looked at, `ours` were not."""
    spread = max(ratio, 1e-12) * (1 - max(ratio, 1e-12))
    size = (ours + sample) * spread / (ours * sample * math.log(2))
    argument = (ours + sample) / (ours * sample * spread) * (_PARTS / EPSILON_SECRET) ** 2
    return math.sqrt(size * math.log2(argument)) if argument > 1 else 0.0
