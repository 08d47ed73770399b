"""Blocks of a link in memory: both roles and the line over socket pairs, and what really happened."""

import asyncio
import os
import socket
from typing import NamedTuple

import numpy as np

from handfast_kme import distil
from handfast_kme.channel import Channel, open_channel
from handfast_kme.decoy import Counts
from handfast_kme.light import Flash, flash, measure
from handfast_kme.line import Line
from handfast_kme.optics import Clicks, Optics


class Sifted(NamedTuple):
    z: Counts
    x: Counts
    single_z: int
    doubles: int
    seen: Flash

    def measured(self, bias: float) -> distil.Measured:
        monitors = distil.Monitors(len(self.seen.slots), self.doubles, bias)
        return distil.Measured(self.seen.pulses, self.z.events, self.x, monitors)


def sifted(optics: Optics, clicks: Clicks, pulses: int, rng: np.random.Generator) -> Sifted:
    """One block without post-processing; here numpy may draw everything."""
    seen = flash(optics, clicks, pulses, rng)
    count = len(seen.slots)
    bits = rng.integers(0, 2, count, np.uint8)
    a, b = (rng.random(count) >= optics.z_probability for _ in range(2))
    outcome = measure(clicks, seen, bits, a == b, rng)
    wrong = outcome.bits != bits

    def counts(chosen: np.ndarray) -> Counts:
        events = np.bincount(seen.intensity[chosen], minlength=3).tolist()
        return Counts(tuple(events), tuple(np.bincount(seen.intensity[chosen & wrong], minlength=3).tolist()))

    in_z = ~a & ~b
    return Sifted(counts(in_z), counts(a & b), int((in_z & (seen.photons == 1)).sum()), outcome.doubles, seen)


async def channels(purpose: str) -> list[Channel]:
    ends = socket.socketpair()
    streams = [await asyncio.open_connection(sock=end) for end in ends]
    return await asyncio.gather(
        *(open_channel(*pair, b"k" * 32, caller, purpose) for pair, caller in zip(streams, (False, True)))
    )


class Link:
    """`async with Link(optics, clicks) as link: a, b = await link.block(pulses)`."""

    def __init__(self, optics: object, clicks: Clicks) -> None:
        self.optics, self.clicks = optics, clicks
        self.line = Line(lambda: (optics, clicks), pace=0)

    async def __aenter__(self) -> "Link":
        self.peers = await channels("distil")
        (here, self.alice), (there, self.bob) = await channels("alice"), await channels("bob")
        self.task = asyncio.create_task(self.line.serve(here, there))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for channel in (*self.peers, self.alice, self.bob):
            await channel.close()

    async def block(
        self, pulses: int, judge: distil.Judge = lambda _: None, keys: tuple[bytes, bytes] | None = None
    ) -> list[distil.Distilled]:
        def taken(key: bytes) -> distil.OneTime:
            async def take() -> bytes:
                return key

            return take

        keys = keys or (os.urandom(64),) * 2
        roles = zip((distil.alice, distil.bob), self.peers, (self.alice, self.bob), keys)
        return await asyncio.gather(
            *(
                role(peer, line, self.optics, b"block", pulses, taken(key), judge)
                for role, peer, line, key in roles
            )
        )
