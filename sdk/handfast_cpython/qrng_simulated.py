"""A simulated photonic source: for demonstrations and tests, and labelled simulated wherever it goes.

The model: weak laser pulses meet a beam splitter with a single-photon detector behind each port; a
pulse in which exactly one detector clicks gives a raw bit, which of the two it was. After a click
both detectors are held off for some pulses, yet charge trapped in the one that clicked may fire it
again (afterpulsing), so a bit leans to the one before; unequal detectors lean to one side. There is
no de-biasing: the bits are raw, and the claim of min-entropy is computed from the worst case of the
model, -log2 of the likeliest bit after the likeliest predecessor, rounded down.
"""

import asyncio
import math
import random
import secrets
from typing import NamedTuple

from handfast.core.constants import SOURCE_SIMULATED
from handfast.core.errors import LocalError


class Optics(NamedTuple):
    """The bench that is simulated. Probabilities are per pulse."""

    photons: float = 0.2  # mean number of photons in a pulse
    transmission: float = 0.505  # of the beam splitter, towards detector 1
    efficiency_0: float = 0.200
    efficiency_1: float = 0.203
    dark_counts: float = 2e-5
    afterpulse: float = 0.02  # of the detector that clicked, directly after the click
    trap_lifetime: float = 12.0  # pulses in which the trapped charge falls to 1/e
    hold_off: int = 20  # pulses in which both detectors are blocked after a click

    def chance_of_one(self, last: int) -> float:
        """The probability that the next raw bit is 1 when the last one was `last`."""
        click_0 = self._click((1 - self.transmission) * self.efficiency_0)
        click_1 = self._click(self.transmission * self.efficiency_1)
        trapped = self.afterpulse * math.exp(-self.hold_off / self.trap_lifetime)
        waiting, ones, zeros = 1.0, 0.0, 0.0
        while waiting > 1e-9:
            now_0 = click_0 + (trapped if last == 0 else 0.0)
            now_1 = click_1 + (trapped if last == 1 else 0.0)
            zeros += waiting * now_0 * (1 - now_1)
            ones += waiting * now_1 * (1 - now_0)
            waiting *= 1 - now_0 * (1 - now_1) - now_1 * (1 - now_0)
            trapped *= math.exp(-1 / self.trap_lifetime)
        return ones / (ones + zeros)

    def min_entropy(self) -> float:
        """Bits per raw bit in the worst case, rounded down to thousandths."""
        likeliest = max(max(chance, 1 - chance) for chance in (self.chance_of_one(0), self.chance_of_one(1)))
        return math.floor(-1000 * math.log2(likeliest)) / 1000

    def _click(self, share: float) -> float:
        return 1 - math.exp(-self.photons * share) * (1 - self.dark_counts)


# Bytes of zeros before a `zero-start` source wakes up; less than the start-up test reads.
ZERO_START = 256
# How fast detector 0 of a `slow-bias` source goes blind: its efficiency halves every so many bytes.
HALF_LIFE = 4096
# A `short-reads` source never gives more bytes than this at once.
SHORT_READ = 3
# Bytes after which the chances of an ageing detector are computed again.
BLOCK = 64

FAULTS = ("stuck-zero", "stuck-byte", "slow-bias", "short-reads", "silence", "zero-start")


class SimulatedSource:
    """The bench of `Optics`, whole or with one fault from byte `after` on."""

    kind = SOURCE_SIMULATED

    def __init__(
        self,
        fault: str | None = None,
        *,
        after: int = 0,
        seed: int | None = None,
        optics: Optics | None = None,
        min_entropy: float | None = None,
    ) -> None:
        """`fault`: one of FAULTS; `seed` makes the bits repeatable; `min_entropy`: a claim other than the
        model's own, for tests of false claims. LocalError for an unknown fault."""
        if fault is not None and fault not in FAULTS:
            raise LocalError(f"no simulated fault {fault!r}; there are {', '.join(FAULTS)}")
        self.model = "simulated photonic source" + (f", {fault}" if fault else "")
        self._optics = optics or Optics()
        self.min_entropy = self._optics.min_entropy() if min_entropy is None else min_entropy
        self._fault = fault
        self._after = after
        self._random = random.Random(secrets.randbits(64) if seed is None else seed)  # noqa: S311
        self._bit = self._random.getrandbits(1)
        self._given = 0
        self._chances = self._optics.chance_of_one(0), self._optics.chance_of_one(1)

    async def read(self, length: int) -> bytes:
        """1 to `length` raw bytes, most significant bit first; never any from a silent source."""
        faulty = self._fault if self._given >= self._after else None
        if self._fault and not faulty:
            length = min(length, self._after - self._given)
        if faulty == "silence":
            await asyncio.Event().wait()
        if faulty == "short-reads":
            length = min(length, self._random.randint(1, SHORT_READ))
        raw = self._faulty(faulty, length)
        self._given += len(raw)
        return raw

    async def close(self) -> None:
        """Nothing is open."""

    def _faulty(self, fault: str | None, length: int) -> bytes:
        since = self._given - self._after
        if fault == "stuck-zero":
            return bytes(length)
        if fault == "stuck-byte":
            return b"\xa5" * length
        if fault == "zero-start" and since < ZERO_START:
            return bytes(min(length, ZERO_START - since))
        if fault == "slow-bias":
            length = min(length, BLOCK)
            self._age(since)
        return bytes(self._byte() for _ in range(length))

    def _age(self, since: int) -> None:
        blind = self._optics.efficiency_0 * 0.5 ** (since / HALF_LIFE)
        aged = self._optics._replace(efficiency_0=blind)
        self._chances = aged.chance_of_one(0), aged.chance_of_one(1)

    def _byte(self) -> int:
        byte, bit = 0, self._bit
        for _ in range(8):
            bit = int(self._random.random() < self._chances[bit])
            byte = byte << 1 | bit
        self._bit = bit
        return byte
