"""What a block leaves in the history of its link: one row of plain values, for status, plot and metrics."""

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handfast.core.errors import Error
from handfast_kme.alarms import Verdict, Watch
from handfast_kme.distil import Distilled, Measured
from handfast_kme.random_bits import CheckedRandom, entropy_of


@dataclass
class Block:
    """A block at one end, filled in as far as it comes."""

    number: int
    waited: float
    """Seconds of rest before it: a full store, no light."""
    random: CheckedRandom
    seconds: float = 0.0
    measured: Measured | None = None
    verdict: Verdict | None = None
    made: Distilled | None = None
    bits: int = 0
    """Secret bits that were stored."""
    failure: Error | None = None
    voided: int | None = None
    """Keys that it made void, if it raised an alarm."""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def error_rate(self) -> float | None:
        """QBER of both bases, or of X alone when the block was not corrected."""
        if self.made is not None:
            return self.made.error_rate
        return None if self.measured is None else self.measured.x.error_rate

    def facts(self, watch: Watch, pulse_rate: float) -> dict[str, Any]:
        """The row. `secret_bits` and the state of the alarm stand in each."""
        facts: dict[str, Any] = {
            "block": self.number, "secret_bits": self.bits, "seconds": round(self.seconds, 3),
            "waited": round(self.waited, 3), "firmware": firmware_digest(), **watch.state,
            "entropy_raw": _rounded(self.random.entropy),
        }  # fmt: skip
        if self.failure is not None:
            facts |= {"failure": self.failure.detail, "error": type(self.failure).__name__}
        if self.voided is not None:
            facts["voided"] = self.voided
        if self.measured is not None:
            facts |= _measured(self.measured, pulse_rate)
            facts["qber"] = _rounded(self.error_rate)
        if self.verdict is not None:
            monitors = self.verdict.monitors
            facts["monitors"] = {m.name: [_rounded(m.ratio), m.off] for m in monitors}
        if self.made is not None:
            facts |= {
                "qber_z": _rounded(self.made.z.error_rate),
                "efficiency": round(self.made.efficiency, 4),
                "phase_error": round(self.made.bounds.phase_error, 4),
                "authentication_seconds": round(self.made.authentication, 4),
                "entropy_key": _rounded(entropy_of(self.made.key)),
            }
        return facts


def _measured(measured: Measured, pulse_rate: float) -> dict[str, Any]:
    return {
        "qber_x": _rounded(measured.x.error_rate),
        "clicks": measured.monitors.clicks,
        "doubles": measured.monitors.doubles,
        "bias_current": measured.monitors.bias_current,
        "link_seconds": measured.pulses / pulse_rate,
    }


@functools.cache
def firmware_digest() -> str:
    """SHA-256 over the code of this package as it lies on the disk, 16 hexadecimal digits.

    A KME takes it once, at its first block; a reader takes it anew: they differ when the code was exchanged
    under a running KME.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
