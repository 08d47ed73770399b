"""The optical line of a link, SIMULATED: which pulses click, and what Bob's detectors say.

Of 10^9 pulses a second only the clicks are drawn: the gap to the next one is geometric, its intensity and
photon number follow from Bayes' rule over the table of `optics.Clicks`, so the drawing is exact for
independent pulses. Dead time and afterpulses then work on the list in the order of time. A second engine that
draws every pulse stands in tests/kme and judges this one.

What is random in nature comes from numpy's generator here. What is secret (Alice's bits and bases, Bob's
bases, every seed) never does: both ends draw it from the operating system and hand it in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handfast_kme.entangled import Pairs
from handfast_kme.optics import DOUBLE, MATCHED, MAX_PHOTONS, MISMATCHED, Clicks, Optics

Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Flash:
    """The clicks of one block of pulses, before anybody knows what they say. Arrays of one length, in time
    order.

    `photons` is known to the line alone; tests count the true single-photon events with it.
    """

    pulses: int
    slots: Ints
    intensity: Bits
    photons: Bits
    parent: Ints
    """Of an afterpulse: the index of the click that caused it; -1 for any other."""


@dataclass(frozen=True)
class Outcome:
    """What Bob's receiver said of a flash."""

    bits: Bits
    doubles: int
    """Clicks in both detectors; the bit of such a one is a coin."""


def flash(optics: Optics | Pairs, clicks: Clicks, pulses: int, nature: np.random.Generator) -> Flash:
    """Draw the clicks of `pulses` pulses."""
    photons = optics.photon_numbers()
    joint = np.asarray(optics.probabilities)[:, None] * photons * clicks.yields[None, :]
    gain = float(joint.sum())
    slots = _clicking_slots(gain, pulses, nature)
    category = _draw(joint.ravel() / gain, len(slots), nature)
    slots, category, parent = _with_afterpulses(optics, clicks, pulses, slots, category, nature)
    kept = _alive(slots, parent, clicks.dead_slots)
    # Parents are kept whenever their afterpulses are: their new place is found by counting.
    place = np.full(len(slots) + 1, -1, np.int64)
    place[kept] = np.arange(len(kept))
    category = category[kept]
    return Flash(
        pulses,
        slots[kept],
        (category // (MAX_PHOTONS + 1)).astype(np.uint8),
        (category % (MAX_PHOTONS + 1)).astype(np.uint8),
        place[parent[kept]],
    )


def measure(
    clicks: Clicks, seen: Flash, alice_bits: Bits, matched: NDArray[np.bool_], nature: np.random.Generator
) -> Outcome:
    """What the detectors say of `seen`, given Alice's bits and whether the bases of each click match."""
    # A pulse that can never click is never seen: its row is not read.
    table = clicks.table / np.maximum(clicks.yields, 1e-300)[:, None, None]
    basis = np.where(matched, MATCHED, MISMATCHED)
    right, wrong = table[seen.photons, basis, 0], table[seen.photons, basis, 1]
    at = nature.random(len(basis))
    is_wrong = (at >= right) & (at < right + wrong)
    is_double = at >= right + wrong
    is_double &= table[seen.photons, basis, DOUBLE] > 0
    bits = alice_bits ^ is_wrong
    coins = nature.integers(0, 2, int(is_double.sum()), np.uint8)
    bits[is_double] = coins
    after = np.flatnonzero(seen.parent >= 0)
    # An afterpulse comes out of the detector that fired before, whatever Alice has sent since.
    bits[after] = bits[seen.parent[after]]
    is_double[after] = False
    return Outcome(bits.astype(np.uint8), int(is_double.sum()))


def _clicking_slots(gain: float, pulses: int, nature: np.random.Generator) -> Ints:
    """The slots of a Bernoulli(gain) process, by geometric gaps."""
    expected = pulses * gain
    pieces: list[Ints] = []
    last = -1
    while last < pulses:
        gaps = nature.geometric(gain, int(expected + 6 * expected**0.5) + 16)
        piece = last + np.cumsum(gaps, dtype=np.int64)
        pieces.append(piece)
        last = int(piece[-1])
        expected = max(0.0, (pulses - last) * gain)
    slots = np.concatenate(pieces)
    return slots[: int(np.searchsorted(slots, pulses))]


def _draw(weights: NDArray[np.float64], count: int, nature: np.random.Generator) -> Ints:
    """`count` indices into `weights`, which add up to 1."""
    edges = np.cumsum(weights)
    edges[-1] = 1.0
    return np.searchsorted(edges, nature.random(count), side="right")


def _with_afterpulses(
    optics: Optics | Pairs,
    clicks: Clicks,
    pulses: int,
    slots: Ints,
    category: Ints,
    nature: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:
    """The list with the afterpulse that each click would cause, in time order, and who would cause it.

    An afterpulse of an afterpulse is left out: one click in 10^4.
    """
    causes = np.flatnonzero(nature.random(len(slots)) < clicks.afterpulse)
    delay = nature.exponential(optics.afterpulse_decay * optics.pulse_rate, len(causes)).astype(np.int64)
    later = slots[causes] + max(1, clicks.dead_slots) + delay
    # What Alice sent in that slot has nothing to do with it.
    prior = np.asarray(optics.probabilities)[:, None] * optics.photon_numbers()
    their = _draw(prior.ravel() / prior.sum(), len(causes), nature)
    parent = np.full(len(slots), -1, np.int64)
    slots, category = np.concatenate([slots, later]), np.concatenate([category, their])
    parent = np.concatenate([parent, causes])
    inside = slots < pulses
    order = np.flatnonzero(inside)[np.argsort(slots[inside], kind="stable")]
    place = np.empty(len(slots), np.int64)
    place[order] = np.arange(len(order))
    parent = np.where(parent >= 0, place[parent], -1)
    return slots[order], category[order], parent[order]


def _alive(slots: Ints, parent: Ints, dead_slots: int) -> Ints:
    """Which clicks of the list happen: none within the dead time of one that happens, and of two in one
    slot one.

    What comes a dead time after the click before it happens in any case, when no afterpulse has a say in it.
    Only the crowds between such clicks are walked one after another.
    """
    count = len(slots)
    dead = max(1, dead_slots)
    if count == 0:
        return np.empty(0, np.int64)
    near = np.diff(slots) < dead
    crowded = np.zeros(count, bool)
    crowded[1:] |= near
    crowded[:-1] |= near
    crowded |= parent >= 0
    happens = ~crowded
    walked = np.flatnonzero(crowded)
    free = -1
    for at, slot, cause in zip(walked.tolist(), slots[walked].tolist(), parent[walked].tolist(), strict=True):
        if slot >= free and (cause < 0 or happens[cause]):
            happens[at] = True
            free = slot + dead
    return np.flatnonzero(happens)
