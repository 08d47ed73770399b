"""The simulated optical line between two KMEs: a process of its own that plays fibre, detectors and Eve.

It knows everything, as physics does. What it tells: Alice, which intensity the pulses had that Bob will
see; Bob, how many clicks there were. Alice then hands in the bits and bases that she had sent, Bob the bases
that he had chosen, and Bob is told what his detectors said. Neither learns more than in a laboratory; only
the order of events differs, because nobody could draw 10^9 pulses a second here.

    KME -> line   light [block, pulses]          both ends, the same values
    line -> Alice sent [intensities]             one byte a click
    line -> Bob   clicks [count]
    Alice -> line states [bits, bases]           packed, a basis is 1 for X
    Bob -> line   bases [bases]
    line -> Bob   results [bits, doubles, bias current in thousandths]
    line -> Alice results []
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np

from handfast.core.errors import Error, PeerError
from handfast_kme.channel import Channel
from handfast_kme.entangled import Pairs
from handfast_kme.light import Bits, Flash, flash, measure
from handfast_kme.optics import Clicks, Optics
from handfast_kme.tasks import all_of

# A block of more would not fit into the memory of a small machine.
MAX_CLICKS = 40_000_000


class Line:
    """The line of one link. `now` gives its optics and clicks at the moment: dials act between blocks."""

    def __init__(
        self,
        now: Callable[[], tuple[Optics | Pairs, Clicks]],
        nature: np.random.Generator | None = None,
        pace: float = 1.0,
    ) -> None:
        """`pace`: link seconds a wall second at most; 0 runs as fast as it can."""
        self._now = now
        self._nature = nature or np.random.default_rng()
        self._pace = pace
        self.last: Flash | None = None
        """The last block, for who judges the bounds; no KME sees it."""

    async def serve(self, alice: Channel, bob: Channel) -> None:
        """Carry block after block until either end is gone. Closes both."""
        try:
            while True:
                await self.carry(alice, bob)
        except Error as error:
            for end in (alice, bob):
                await end.stop(error.detail)
        finally:
            for end in (alice, bob):
                await end.close()

    async def carry(self, alice: Channel, bob: Channel) -> None:
        """One block."""
        started = time.monotonic()
        wishes = await all_of(alice.receive("light", patient=True), bob.receive("light", patient=True))
        if wishes[0] != wishes[1] or len(wishes[0]) != 2:
            raise PeerError("the two ends of the line ask for different blocks")
        pulses = wishes[0][1]
        if not isinstance(pulses, int) or pulses < 1:
            raise PeerError("expected a number of pulses")
        optics, clicks = self._now()
        expected = pulses * float(np.dot(optics.probabilities, clicks.gains(optics)))
        if expected > MAX_CLICKS:
            raise PeerError(
                f"a block may have {MAX_CLICKS} clicks, {pulses} pulses would make {expected:.0f}"
            )
        seen = await asyncio.to_thread(flash, optics, clicks, pulses, self._nature)
        self.last = seen
        count = len(seen.slots)
        await alice.send("sent", seen.intensity.tobytes())
        await bob.send("clicks", count)
        (bits, alice_bases), (bob_bases,) = await all_of(alice.receive("states"), bob.receive("bases"))
        sent = unpack(bits, count)
        matched = unpack(alice_bases, count) == unpack(bob_bases, count)
        outcome = await asyncio.to_thread(measure, clicks, seen, sent, matched, self._nature)
        if self._pace:
            # The light takes its time: a link gives no more in a second than the real one would.
            await asyncio.sleep(
                max(0.0, pulses / optics.pulse_rate / self._pace - time.monotonic() + started)
            )
        bias = round(1000 * clicks.bias_current)
        await bob.send("results", np.packbits(outcome.bits).tobytes(), outcome.doubles, bias)
        await alice.send("results")


def unpack(data: object, count: int) -> Bits:
    """`count` bits of a packed byte string; PeerError when it is of another length."""
    if not isinstance(data, bytes) or len(data) != (count + 7) // 8:
        raise PeerError(f"expected {(count + 7) // 8} bytes for {count} bits")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count)
