"""What an eavesdropper does to the line, as another table of clicks. Every attack has one dial from 0 to 1.

    intercept   measures that share of the pulses in a random basis and sends on what she saw
    tap         splits that share of the light off and keeps it
    reinsert    splits it off and puts it back delayed: it arrives in wrong time slots, half of it wrong
    pns         counts photons: holds single ones back, keeps one of several, and hides the loss
    blinding    blinds Bob's detectors with bright light and then chooses their clicks

No QBER tells of `pns` or `blinding`; decoy states tell of the first, the receiver's own monitors of the
second (alarms.py).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from handfast_kme.optics import (
    DOUBLE,
    MATCHED,
    MAX_PHOTONS,
    MISMATCHED,
    RIGHT,
    WRONG,
    Clicks,
    Floats,
    Optics,
    honest,
    two_detectors,
)

# A coupler that puts light back into a line without disturbing what flows loses half of it.
REINSERT_COUPLING = 0.5
# A blinded avalanche diode carries a photocurrent all the time.
BLINDED_CURRENT = 20.0
# How well Eve measures right at Alice's door.
EVE_EFFICIENCY = 0.9


def intercept(optics: Optics, dial: float) -> Clicks:
    """Half of Eve's bases are wrong, and what she then sends on is a coin at Bob's: 25 % errors."""
    base = honest(optics)
    blind = base.table.copy()
    blind[:, MATCHED] = (base.table[:, MATCHED] + base.table[:, MISMATCHED]) / 2
    return replace(base, table=(1 - dial) * base.table + dial * blind)


def tap(optics: Optics, dial: float) -> Clicks:
    """Loss, and nothing but loss: the key shrinks, and Eve's share was counted as hers before."""
    return replace(honest(optics), table=_tapped(optics, dial))


def reinsert(optics: Optics, dial: float) -> Clicks:
    """The delayed light is a background of half wrong clicks, in vacuum pulses too."""
    mean = float(np.dot(optics.probabilities, optics.intensities))
    background = 1 - np.exp(-optics.transmittance * dial * REINSERT_COUPLING * mean)
    return replace(honest(optics), table=_with_background(_tapped(optics, dial), float(background)))


def photon_number_splitting(optics: Optics, dial: float) -> Clicks:
    """Signal gain and QBER stay as they were, but the decoy pulses, poorer in pairs, lose more."""
    base = honest(optics)
    table = base.table.copy()
    dark = two_detectors(0.0, optics.dark_count, optics.misalignment)[0]
    table[1] = (1 - dial) * table[1] + dial * dark
    signal = optics.photon_numbers()[0]
    lost = signal[1] * (base.table[1, MATCHED].sum() - table[1, MATCHED].sum())
    pairs = float(signal[2:] @ base.yields[2:])
    # She cannot make a pulse click more than surely.
    table[2:] *= min((pairs + lost) / pairs, 1 / float(base.yields[2:].max()))
    return replace(base, table=table)


def blinding(optics: Optics, dial: float) -> Clicks:
    """Bob clicks when Eve wants: no dark counts, no afterpulses, no double clicks, and half her errors
    missing.

    When Bob's basis is not Eve's nothing clicks, so her wrong guesses never show.
    """
    base = honest(optics)
    n = np.arange(MAX_PHOTONS + 1)
    seen = 1 - (1 - EVE_EFFICIENCY) ** n
    signal = optics.photon_numbers()[0]
    seen = seen * (base.gains(optics)[0] / float(signal @ seen))
    controlled = np.zeros_like(base.table)
    controlled[:, MATCHED, RIGHT] = seen * (1 - optics.misalignment)
    controlled[:, MATCHED, WRONG] = seen * optics.misalignment
    controlled[:, MISMATCHED, RIGHT] = controlled[:, MISMATCHED, WRONG] = seen / 2
    return replace(
        base,
        table=(1 - dial) * base.table + dial * controlled,
        afterpulse=(1 - dial) * base.afterpulse,
        bias_current=1 + dial * (BLINDED_CURRENT - 1),
    )


ATTACKS: dict[str, Callable[[Optics, float], Clicks]] = {
    "intercept": intercept,
    "tap": tap,
    "reinsert": reinsert,
    "pns": photon_number_splitting,
    "blinding": blinding,
}


def attacked(optics: Optics, attack: str, dial: float) -> Clicks:
    """The clicks of a link under `attack` ("none" for nobody), its dial from 0 to 1; ValueError."""
    if not 0.0 <= dial <= 1.0:
        raise ValueError(f"expected a dial from 0 to 1, got {dial}")
    if attack == "none" or dial == 0.0:
        return honest(optics)
    if attack not in ATTACKS:
        raise ValueError(f"expected one of none, {', '.join(ATTACKS)}, got {attack!r}")
    return ATTACKS[attack](optics, dial)


def _tapped(optics: Optics, share: float) -> Floats:
    return two_detectors(optics.transmittance * (1 - share), optics.dark_count, optics.misalignment)


def _with_background(table: Floats, probability: float) -> Floats:
    """`table` with one more photon that arrives with `probability`, in either detector alike."""
    here, result = probability / 2, (1 - probability) * table
    silent = 1 - table.sum(axis=2)
    for own, other in ((RIGHT, WRONG), (WRONG, RIGHT)):
        # It hits the silent receiver, the detector that clicked, or the other one.
        result[:, :, own] += here * (silent + table[:, :, own])
        result[:, :, DOUBLE] += here * table[:, :, other]
    result[:, :, DOUBLE] += probability * table[:, :, DOUBLE]
    return result
