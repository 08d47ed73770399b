"""Failures to live with, by a dial from 0 to 1 at run time: F1 to F8.

The first three of the table change the light, as attacks do; the others act where the KME would fail.

    F1 misalignment     the polarisation drifts: up to 15 % errors
    F2 saturation       stray light: up to 1000 times the dark counts, and a bias current that shows it
    F7 disruption       the fibre is bent: up to 40 dB more loss
    F3 authentication   the tag of a block does not hold: no block passes
    F4 entropy          this end's random bits are biased; the health tests must catch it
    F5 latency          up to 0.5 s before each message on the classical channel
    F6 firmware         this end amplifies wrongly
    F8 ingestion        this end cannot store what it made
"""

from collections.abc import Mapping
from dataclasses import replace

from handfast_kme.attacks import BLINDED_CURRENT, attacked
from handfast_kme.entangled import Pairs, attacked_pairs
from handfast_kme.optics import Clicks, Optics

FAULTS: dict[str, str] = {
    "misalignment": "F1",
    "saturation": "F2",
    "authentication": "F3",
    "entropy": "F4",
    "latency": "F5",
    "firmware": "F6",
    "disruption": "F7",
    "ingestion": "F8",
}
MAX_LATENCY = 0.5
_MAX_MISALIGNMENT, _MAX_LOSS_DB, _STRAY, _STRAY_CURRENT = 0.15, 40.0, 1000.0, 4.0


def lit(
    optics: Optics | Pairs, attack: str, dial: float, faults: Mapping[str, float]
) -> tuple[Optics | Pairs, Clicks]:
    """What the line does at this moment: the optics that hold, and the clicks."""
    drift = faults.get("misalignment", 0.0) * _MAX_MISALIGNMENT
    stray = faults.get("saturation", 0.0)
    changed = replace(
        optics.with_loss(faults.get("disruption", 0.0) * _MAX_LOSS_DB),
        misalignment=min(0.5, optics.misalignment + drift),
        dark_count=min(0.01, optics.dark_count * (1 + stray * _STRAY)),
    )
    if isinstance(changed, Pairs):
        clicks = attacked_pairs(changed, attack, dial, BLINDED_CURRENT)
    else:
        clicks = attacked(changed, attack, dial)
    return changed, replace(clicks, bias_current=clicks.bias_current + stray * _STRAY_CURRENT)
