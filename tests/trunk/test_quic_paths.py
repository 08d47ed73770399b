"""A QUIC carrier over a path that moves, loses and spoils."""

import asyncio

from carrier_ends import joined, record, taken
from shaken_path import shaken
from two_hubs import free_port, until

from handfast_hub.trunk.policy import CONTROL


async def test_a_quic_carrier_survives_a_change_of_address() -> None:
    port, between = free_port(), free_port()
    async with shaken(port, between) as relay, joined("quic", port=port, between=between) as (near, far):
        for number in range(5):
            near.send([record(number, 100)])
            assert await taken(far, 1) == [record(number, 100)]
            far.send([record(number, 5000)])
            assert await taken(near, 1) == [record(number, 5000)]
            await relay.move()


async def test_repairs_go_beside_datagrams_while_many_are_lost_and_no_longer() -> None:
    port, between = free_port(), free_port()
    async with shaken(port, between) as relay, joined("quic", port=port, between=between) as (near, far):
        far.proven = near.proven = True

        async def exchange(numbers: range) -> None:
            """Send frames, few at a time, or the buffers of sockets lose some too."""
            for first in numbers[::24]:
                mark = record(first, 29, CONTROL)
                near.send([record(number, 500) for number in range(first, first + 24)])
                # The stream would overtake them.
                await until(lambda: near._connection.datagram_bytes == 0)
                near.send([mark])
                async with asyncio.timeout(120):
                    while await far.receive() != mark:
                        pass

        await exchange(range(960))
        assert near.measured().fec is False
        relay.loss = 0.1
        await exchange(range(960, 2880))
        assert near.measured().fec is True
        assert near.measured().loss > 0.02
        # About 200 frames were lost on their way.
        assert far._decoder.recovered > 20
        relay.loss = 0.0
        async with asyncio.timeout(120):
            while near.measured().fec:
                await exchange(range(960))
        assert near.measured().rtt > 0


async def test_spoilt_packets_are_lost_packets() -> None:
    port, between = free_port(), free_port()
    async with shaken(port, between) as relay, joined("quic", port=port, between=between) as (near, far):
        relay.spoilt = 0.2
        short = {record(number, 300) for number in range(60)}
        long = {record(number, 3000) for number in range(60)}
        near.send([*short, *long])
        came: set[bytes] = set()
        async with asyncio.timeout(120):
            while not came >= long:
                came.add(await far.receive())
        assert came <= short | long
