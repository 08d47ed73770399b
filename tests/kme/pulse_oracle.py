"""BB84 pulse by pulse: every photon, every detector, every dead time. No formula of the model is used."""

import heapq
from typing import NamedTuple

import numpy as np

from handfast_kme.optics import Optics


class Counted(NamedTuple):
    clicks: np.ndarray
    """By intensity."""
    sent: np.ndarray
    single: int
    """Clicks of pulses with exactly one photon."""
    matched: int
    wrong: int
    """Wrong bits among the clicks whose bases match."""
    doubles: int


def every_pulse(optics: Optics, pulses: int, rng: np.random.Generator, piece: int = 1_000_000) -> Counted:
    clicks, sent = np.zeros(3, int), np.zeros(3, int)
    single = matched = wrong = doubles = 0
    blind_until, pending = -1, {}
    for begin in range(0, pulses, piece):
        count = min(piece, pulses - begin)
        level = rng.choice(3, count, p=optics.probabilities)
        photons = rng.poisson(np.asarray(optics.intensities)[level])
        bit = rng.integers(0, 2, count)
        a, b = (rng.random(count) >= optics.z_probability for _ in range(2))
        way = np.where(a == b, optics.misalignment, 0.5)
        arrived = rng.binomial(photons, optics.transmittance)
        astray = rng.binomial(arrived, way)
        own = (arrived - astray > 0) | (rng.random(count) < optics.dark_count)
        other = (astray > 0) | (rng.random(count) < optics.dark_count)
        detectors = np.where(bit == 0, own * 1 + other * 2, own * 2 + other * 1)
        fired = dict(zip(np.flatnonzero(detectors).tolist(), detectors[detectors > 0].tolist()))
        waiting = [*fired, *(at - begin for at in pending if begin <= at < begin + count)]
        heapq.heapify(waiting)
        while waiting:
            slot = heapq.heappop(waiting)
            at = begin + slot
            after = pending.pop(at, None)
            if at < blind_until:
                continue
            which = fired.get(slot, 0) or after
            if which is None:
                continue
            blind_until = at + max(1, optics.dead_slots)
            value = rng.integers(0, 2) if which == 3 else which - 1
            doubles += which == 3
            clicks[level[slot]] += 1
            single += photons[slot] == 1
            if a[slot] == b[slot]:
                matched += 1
                wrong += value != bit[slot]
            if rng.random() < optics.afterpulse:
                delay = int(rng.exponential(optics.afterpulse_decay * optics.pulse_rate))
                later = blind_until + delay
                pending[later] = int(value) + 1
                if later < begin + count:
                    heapq.heappush(waiting, later - begin)
        sent += np.bincount(level, minlength=3)
    return Counted(clicks, sent, int(single), matched, int(wrong), int(doubles))
