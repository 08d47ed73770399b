"""What a link is expected to give, by formula: for plots, and to choose the size of a block."""

from dataclasses import dataclass

from handfast_kme.decoy import Counts, bounds
from handfast_kme.entangled import Pairs, coincidences
from handfast_kme.optics import Clicks, Optics, asymptotic_rate, binary_entropy, honest

# f_EC of cascade.py at these error rates, rounded up.
EFFICIENCY = 1.07


@dataclass(frozen=True)
class Expected:
    """Of a link under what its clicks say."""

    error_rate: float
    vacuum_gain: float
    """Clicks of a vacuum pulse over those of a signal pulse."""
    decoy_gain: float
    finite: float
    """Secret bits a link second, from blocks of the size that was asked for."""
    asymptotic: float
    """Of an endless key, the dead time paid for."""
    without_dead_time: float


def expected(optics: Optics, pulses: int, clicks: Clicks | None = None) -> Expected:
    """The mean counts of a block of `pulses`, dead time and afterpulses included, through the bounds.

    `clicks`: of a link that is attacked or at fault; of one that nobody touches when left out.
    """
    clicks = clicks or honest(optics)
    gains, errors = clicks.gains(optics), clicks.error_rates(optics)
    shares = optics.probabilities
    total = sum(share * float(gain) for share, gain in zip(shares, gains, strict=True))
    alive = 1 / (1 + total * clicks.dead_slots)
    after = total * clicks.afterpulse * alive

    def counts(basis: float) -> Counts:
        rows = zip(shares, gains, errors, strict=True)
        found = [(share * (g + after), share * (g * e + after / 2)) for share, g, e in rows]
        scale = pulses * alive * basis
        one, two, three = ((int(scale * n), int(scale * m)) for n, m in found)
        return Counts((one[0], two[0], three[0]), (one[1], two[1], three[1]))

    z, x = counts(optics.z_probability**2), counts((1 - optics.z_probability) ** 2)
    leaked = int(EFFICIENCY * z.total * binary_entropy(z.error_rate))
    finite = bounds(optics, z, x).secret_bits(leaked) / (pulses / optics.pulse_rate)
    endless = asymptotic_rate(optics, clicks)
    vacuum, decoy = ((float(gain) + after) / (float(gains[0]) + after) for gain in (gains[2], gains[1]))
    return Expected(z.error_rate, vacuum, decoy, finite, endless * alive, endless)


def expected_clicks(source: Optics | Pairs) -> float:
    """Clicks a link second of a link that nobody touches, dead time and afterpulses included."""
    clicks = coincidences(source) if isinstance(source, Pairs) else honest(source)
    total = sum(p * float(g) for p, g in zip(source.probabilities, clicks.gains(source), strict=True))
    alive = 1 / (1 + total * clicks.dead_slots)
    return source.pulse_rate * total * alive * (1 + clicks.afterpulse * alive)
