"""Block after block at one end of a link: offered, distilled, judged, stored at both ends, remembered."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handfast.core.errors import EntropyError, Error, KeystoreError, PeerError
from handfast.core.health_tests import HealthTests
from handfast_kme import distil
from handfast_kme.alarms import SUSPECT_BLOCKS, Verdict, Watch
from handfast_kme.cells import CELL
from handfast_kme.channel import ONE_TIME_KEY, Channel
from handfast_kme.database import wall_clock
from handfast_kme.dials import Dials
from handfast_kme.faults import MAX_LATENCY
from handfast_kme.privacy import amplify
from handfast_kme.store import Store
from handfast_kme.tables import Node, ProviderLink

log = logging.getLogger("handfast_kme")

# How often a full store is looked at.
REST = 0.2
# One-time keys that a block brings, so that blocks which failed after their tags are made good.
_REFILL = 2
# Of every draw that much goes through the health tests of SP 800-90B.
_TESTED = 1024
# Thousandths of a bit a bit, and a false alarm in 2^40 windows.
_CLAIM, _EXPONENT = 900, 40


@dataclass(frozen=True)
class Place:
    """Which end of which link."""

    link: ProviderLink
    me: Node
    peer: Node
    is_alice: bool


class Distilling:
    """What one end makes of the light, and what it thinks of its link."""

    def __init__(self, place: Place, store: Store, dials: Callable[[], Dials]) -> None:
        self.place = place
        self.name = place.link.name
        self._store, self._dials = store, dials
        self.optics = place.link.light()
        self.watch = Watch(self.optics)
        self.error_rate: float | None = None
        self.key_rate = 0.0

    async def agree(self, peer: Channel) -> None:
        """Cells that only one end has are nobody's."""
        mine = await asyncio.to_thread(self._store.blocks, self.name)
        await peer.send("blocks", mine)
        (theirs,) = await peer.receive("blocks")
        lost = await asyncio.to_thread(self._store.agree, self.name, theirs)
        if lost:
            log.info(
                "%s %s: dropped %d blocks that the peer does not have", self.place.me.name, self.name, lost
            )

    async def block(self, peer: Channel, line: Channel) -> None:
        """One block, from the offer to the history. An Error ends the connection; the block is
        forgotten."""
        dials = self._dials().at(self.place.me.name)
        peer.latency = dials.get("latency", 0.0) * MAX_LATENCY
        number, name = await (self._offer(peer) if self.place.is_alice else self._take_offer(peer))

        async def one_time() -> bytes:
            taken = await self._one_time(name)
            return os.urandom(ONE_TIME_KEY) if dials.get("authentication") else taken

        role = distil.alice if self.place.is_alice else distil.bob
        seen: list[tuple[distil.Measured, Verdict]] = []

        def judge(measured: distil.Measured) -> str | None:
            verdict = self.watch.see(measured)
            seen.append((measured, verdict))
            return verdict.refusal

        started = time.monotonic()
        pulses = self.place.link.pulses
        try:
            made = await role(
                peer, line, self.optics, number.to_bytes(8, "big"), pulses, one_time, judge,
                _tested_random(dials.get("entropy", 0.0)), _wrongly if dials.get("firmware") else amplify,
            )  # fmt: skip
            stored = await self._keep(peer, number, made.key, bool(dials.get("ingestion")))
        except Error as error:
            await self._remember(number, seen, None, 0, time.monotonic() - started, error.detail)
            await peer.stop(error.detail)
            raise
        await self._remember(number, seen, made, stored, time.monotonic() - started, "")

    async def _offer(self, peer: Channel) -> tuple[int, str]:
        """Alice's end: wait for room in the store and for light, then begin a block."""
        link = self.place.link
        while await asyncio.to_thread(self._store.count, self.name) >= link.max_keys * 32 // CELL:
            await self._rest(peer)
        windows = link.windows()
        while windows is not None and windows.until_next(wall_clock()) > 0:
            await self._rest(peer)
        number = await asyncio.to_thread(self._store.next_block, self.name)
        names = await asyncio.to_thread(self._store.one_time_names, self.name)
        await peer.send("block", number, names)
        agreed, name = await peer.receive("ready")
        if agreed != number:
            number = await asyncio.to_thread(self._store.next_block, self.name, agreed)
        if agreed != number or name not in names:
            raise PeerError("the two ends cannot agree on a block")
        return number, str(name)

    async def _rest(self, peer: Channel) -> None:
        await asyncio.sleep(REST)
        await peer.send("rest")

    async def _take_offer(self, peer: Channel) -> tuple[int, str]:
        while True:
            kind, *values = await peer.receive()
            if kind != "rest":
                break
        if kind != "block" or len(values) != 2:
            raise PeerError(f"expected block or rest, got {kind[:32]}")
        wished, names = values
        mine = set(await asyncio.to_thread(self._store.one_time_names, self.name))
        common = [name for name in names if name in mine]
        if not common:
            raise PeerError(
                "the one-time keys of the classical channel are used up; renew the link with apply"
            )
        number = await asyncio.to_thread(self._store.next_block, self.name, wished)
        await peer.send("ready", number, common[0])
        return number, str(common[0])

    async def _one_time(self, name: str) -> bytes:
        key = await asyncio.to_thread(self._store.take_one_time, self.name, name)
        if key is None:
            raise PeerError("the one-time key of this block was used before")
        return key

    async def _keep(self, peer: Channel, number: int, key: bytes, broken: bool) -> int:
        """Store the block at both ends, Bob first; the bits of new cells. What only one end has `agree`
        drops."""
        spent = _REFILL * ONE_TIME_KEY
        if len(key) < spent + CELL:
            return 0
        cells = key[spent:]
        one_time = {
            f"block-{number:012}-{n}": key[n * ONE_TIME_KEY : (n + 1) * ONE_TIME_KEY] for n in range(_REFILL)
        }
        if self.place.is_alice:
            await peer.send("store")
            await peer.receive("stored")
        else:
            await peer.receive("store")
        if broken:
            raise KeystoreError("the key could not be stored (fault F8)")
        await asyncio.to_thread(self._store.add_block, self.name, number, cells, one_time)
        if not self.place.is_alice:
            await peer.send("stored")
        return len(cells) // CELL * CELL * 8

    async def _remember(
        self,
        number: int,
        seen: list[tuple[distil.Measured, Verdict]],
        made: distil.Distilled | None,
        bits: int,
        seconds: float,
        failure: str,
    ) -> None:
        """History, and the voiding of suspect keys."""
        facts: dict[str, Any] = {"block": number, "seconds": round(seconds, 3), "secret_bits": bits}
        if failure:
            facts["failure"] = failure
        if seen:
            measured, verdict = seen[0]
            self.error_rate = made.error_rate if made else measured.x.error_rate
            link_seconds = measured.pulses / self.optics.pulse_rate
            self.key_rate = bits / link_seconds
            facts |= {
                "qber": round(self.error_rate, 5), "level": verdict.level.name.lower(),
                "reasons": list(verdict.reasons),
                "clicks": measured.monitors.clicks, "link_seconds": link_seconds,
                "doubles": measured.monitors.doubles, "bias_current": measured.monitors.bias_current,
            }  # fmt: skip
            if verdict.void:
                first = max(0, number - SUSPECT_BLOCKS)
                facts["voided"] = await asyncio.to_thread(self._store.void, self.name, first)
        if made is not None:
            facts |= {
                "efficiency": round(made.efficiency, 4),
                "phase_error": round(made.bounds.phase_error, 4),
            }
        await asyncio.to_thread(self._store.remember, self.name, wall_clock(), facts)


def _tested_random(bias: float) -> distil.Random:
    """The operating system's generator, a piece of each draw health-tested; `bias` is fault F4."""
    tests = HealthTests(_CLAIM, _EXPONENT)

    def random(length: int) -> bytes:
        drawn = os.urandom(length)
        if bias:
            drawn = bytes(byte & 0x11 for byte in drawn)
        alarm = tests.test(drawn[:_TESTED])
        if alarm is not None:
            raise EntropyError("the random numbers of this end failed a health test; no key is made of them")
        return drawn

    return random


def _wrongly(bits: Any, secret: int, seed: bytes) -> bytes:
    """Fault F6: an amplifier that reads its matrix from the wrong end."""
    return amplify(bits[::-1].copy(), secret, seed)
