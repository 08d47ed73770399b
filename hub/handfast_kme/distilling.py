"""Block after block at one end of a link: offered, distilled, judged, stored at both ends, remembered."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handfast.core.errors import Error, KeystoreError, PeerError
from handfast_kme import distil
from handfast_kme.alarms import SUSPECT_BLOCKS, Level, Watch
from handfast_kme.block_facts import Block
from handfast_kme.cells import CELL
from handfast_kme.channel import ONE_TIME_KEY, Channel
from handfast_kme.database import wall_clock
from handfast_kme.dials import Dials
from handfast_kme.faults import MAX_LATENCY
from handfast_kme.privacy import amplify
from handfast_kme.random_bits import CheckedRandom
from handfast_kme.store import Store
from handfast_kme.tables import Node, ProviderLink

log = logging.getLogger("handfast_kme")

# How often a full store is looked at.
REST = 0.2
# One-time keys that a block brings, so that blocks which failed after their tags are made good.
_REFILL = 2


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
        last = next(iter(store.history(self.name, 1)), None)
        self.watch = Watch(self.optics, last)
        if last and self.watch.level >= Level.ALARM:
            # Killed after it raised the alarm and before it voided the keys: it is done now.
            store.void(self.name, max(0, last["block"] - SUSPECT_BLOCKS))
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
        begun = time.monotonic()
        number, name = await (self._offer(peer) if self.place.is_alice else self._take_offer(peer))
        started = time.monotonic()
        block = Block(number, started - begun, CheckedRandom(dials.get("entropy", 0.0)))

        async def one_time() -> bytes:
            taken = await self._one_time(name)
            return os.urandom(ONE_TIME_KEY) if dials.get("authentication") else taken

        def judge(measured: distil.Measured) -> str | None:
            block.measured, block.verdict = measured, self.watch.see(measured)
            if block.verdict.void:
                self._raise_alarm(block)
            return block.verdict.refusal

        role = distil.alice if self.place.is_alice else distil.bob
        try:
            block.made = await role(
                peer, line, self.optics, number.to_bytes(8, "big"), self.place.link.pulses, one_time, judge,
                block.random, _wrongly if dials.get("firmware") else amplify,
            )  # fmt: skip
            block.bits = await self._keep(peer, number, block.made.key, bool(dials.get("ingestion")))
        except Error as error:
            block.failure, block.seconds = error, time.monotonic() - started
            await self._remember(block)
            await peer.stop(error.detail)
            raise
        block.seconds = time.monotonic() - started
        await self._remember(block)

    def _raise_alarm(self, block: Block) -> None:
        """On the disk before the peer hears of it: a KME that is killed now must not come back as sound.

        It holds the event loop for some milliseconds; nothing may happen in them.
        """
        facts = {"block": block.number, "secret_bits": 0, **self.watch.state}
        self._store.remember(self.name, wall_clock(), facts)
        block.voided = self._store.void(self.name, max(0, block.number - SUSPECT_BLOCKS))

    async def _offer(self, peer: Channel) -> tuple[int, str]:
        """Alice's end: wait for room in the store and for light, then begin a block."""
        link = self.place.link
        # A link in alarm goes on: only blocks can end it, and none of their key is stored.
        while (
            self.watch.level < Level.ALARM
            and await asyncio.to_thread(self._store.count, self.name) >= link.capacity
        ):
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

    async def _remember(self, block: Block) -> None:
        facts = block.facts(self.watch, self.optics.pulse_rate)
        if block.measured is not None:
            self.error_rate = block.error_rate
            self.key_rate = block.bits / facts["link_seconds"]
        await asyncio.to_thread(self._store.remember, self.name, wall_clock(), facts)


def _wrongly(bits: Any, secret: int, seed: bytes) -> bytes:
    """Fault F6: an amplifier that reads its matrix from the wrong end."""
    return amplify(bits[::-1].copy(), secret, seed)
