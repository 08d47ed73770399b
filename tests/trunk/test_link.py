"""A link by itself: what connections of strangers, who name our peer, may hold."""

import asyncio
import random

from trunk_ends import CRYPTO, IDENTITIES, PAIRING
from two_hubs import until

from handfast.core.errors import LinkClosed
from handfast_hub.trunk.carrier import Carrier
from handfast_hub.trunk.link import UNPROVEN_LIMIT, Link
from handfast_hub.trunk.opening import Party, Peer
from handfast_hub.trunk.policy import HYBRID


class Mute(Carrier):
    """A carrier that brings nothing until it is closed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.closed = asyncio.Event()

    async def receive(self) -> bytes:
        await self.closed.wait()
        raise LinkClosed("closed")

    def send(self, frames: list[bytes]) -> int:
        return 0

    def send_ahead(self, frame: bytes) -> None:
        raise NotImplementedError

    async def greeting(self) -> bytes:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed.set()


async def test_of_strangers_who_come_all_at_once_the_newest_stay() -> None:
    peer = Peer(IDENTITIES[1].credential.thumbprint, PAIRING)
    party = Party(CRYPTO, random.Random(1).randbytes, IDENTITIES[0], peer, HYBRID)
    link = Link("vienna", {HYBRID: party}, None, lambda *_: None, lambda: None)
    carriers = [Mute(f"stranger {number}") for number in range(3 * UNPROVEN_LIMIT)]
    adopting = asyncio.gather(*(link.adopt(carrier) for carrier in carriers), return_exceptions=True)
    await until(lambda: len(link.paths()) == UNPROVEN_LIMIT)
    assert [path.carrier for path, _ in link.paths()] == carriers[-UNPROVEN_LIMIT:]
    await link.close()
    assert all(isinstance(ended, LinkClosed) for ended in await adopting)
