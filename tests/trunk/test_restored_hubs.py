"""Hubs of a trunk that are restored from a copy of their registry have every reading once all the same."""

import asyncio
from pathlib import Path

import pytest
from two_hubs import arrivals, running, two_hubs, until, up

from handfast.core.errors import LocalError
from handfast_cpython import Crypto
from handfast_cpython.swarm import Swarm
from handfast_hub.config import HubConfig
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.registry.arriving import Arrival, Stream
from handfast_hub.registry.backup import backup, restore
from handfast_hub.registry.bridging import Sent


@pytest.fixture
def configs(tmp_path: Path) -> tuple[HubConfig, HubConfig]:
    return two_hubs(tmp_path)


async def said(hub: MemoryHub, seed: int, *words: bytes) -> None:
    """A device is onboarded and sends these."""
    async with Swarm(devices=1, hub=hub, clock=hub.fake_clock, seed=seed) as fleet:
        await fleet.onboard(within=60)
        for word in words:
            await fleet.devices[0].device.send(word)

        async def recorded() -> bool:
            rows = await hub._registry.operator.readings(0, 10_000)
            return {row.data for row in rows} >= set(words)

        await until(recorded)


async def has(hub: MemoryHub, *words: bytes) -> None:
    """This hub has these readings of the other one, in this order, and no other."""

    async def come() -> bool:
        return len(await arrivals(hub)) >= len(words)

    await until(come)
    assert await arrivals(hub) == list(words)


async def test_a_sender_restored_twice_from_one_copy_sends_everything_once(
    configs: tuple[HubConfig, HubConfig], tmp_path: Path
) -> None:
    berlin_config, vienna_config = configs
    copy = tmp_path / "copy"
    async with running(vienna_config) as vienna:
        async with running(berlin_config) as berlin:
            await until(lambda: up(vienna))
            await said(berlin, 1, b"a1", b"a2")
            await has(vienna, b"a1", b"a2")
            await vienna.close()
            # These are in the copy, and it does not know that Vienna will have them.
            await said(berlin, 2, b"b1", b"b2", b"b3")
            await asyncio.to_thread(backup, berlin_config, copy)
            async with running(vienna_config) as vienna:
                await has(vienna, b"a1", b"a2", b"b1", b"b2", b"b3")
                # Those the copy does not know at all, and Vienna has them under numbers that come again.
                await said(berlin, 3, b"c1", b"c2", b"c3", b"c4")
                expected = [b"a1", b"a2", b"b1", b"b2", b"b3", b"c1", b"c2", b"c3", b"c4"]
                await has(vienna, *expected)
    async with running(vienna_config) as vienna:
        for seed, words in ((4, (b"d1", b"d2")), (5, (b"e1", b"e2", b"e3", b"e4", b"e5"))):
            restore(berlin_config, copy, Crypto())
            async with running(berlin_config) as berlin:
                await said(berlin, seed, *words)
                expected += words
                await has(vienna, *expected)
                await said(berlin, 10 * seed, b"and %d" % seed)
                expected.append(b"and %d" % seed)
                await has(vienna, *expected)


async def test_a_sender_restored_while_the_other_hub_was_away_loses_nothing_of_its_copy(
    configs: tuple[HubConfig, HubConfig], tmp_path: Path
) -> None:
    berlin_config, vienna_config = configs
    copy = tmp_path / "copy"
    async with running(berlin_config) as berlin:
        async with running(vienna_config) as vienna:
            await until(lambda: up(vienna))
            await said(berlin, 1, b"a1")
            await has(vienna, b"a1")
        await said(berlin, 2, b"b1", b"b2")
        await asyncio.to_thread(backup, berlin_config, copy)
    restore(berlin_config, copy, Crypto())
    async with running(berlin_config) as berlin:
        await said(berlin, 3, b"c1", b"c2")
        async with running(vienna_config) as vienna:
            await has(vienna, b"a1", b"b1", b"b2", b"c1", b"c2")


@pytest.mark.parametrize("known", [0, 2])
async def test_a_receiver_that_is_restored_gets_what_its_copy_lacks(
    configs: tuple[HubConfig, HubConfig], tmp_path: Path, known: int
) -> None:
    berlin_config, vienna_config = configs
    copy, words = tmp_path / "copy", [b"a1", b"a2", b"a3", b"a4", b"a5"]
    async with running(berlin_config) as berlin:
        async with running(vienna_config) as vienna:
            await until(lambda: up(vienna))
            if known:
                await said(berlin, 1, *words[:known])
                await has(vienna, *words[:known])
            await asyncio.to_thread(backup, vienna_config, copy)
            await said(berlin, 2, *words[known:])
            await has(vienna, *words)

            async def noted() -> bool:
                sent = await berlin._registry.bridging.cursor(Stream("vienna", 2))
                return sent.acked - sent.began >= len(words)

            await until(noted)
        restore(vienna_config, copy, Crypto())
        async with running(vienna_config) as vienna:
            assert len(await arrivals(vienna)) == known
            await said(berlin, 3, b"last")
            await has(vienna, *words, b"last")


async def test_a_command_asked_for_before_a_restore_is_not_carried_out_after_it(
    configs: tuple[HubConfig, HubConfig], tmp_path: Path
) -> None:
    berlin_config, vienna_config = configs
    copy = tmp_path / "copy"
    async with running(vienna_config) as vienna:
        async with running(berlin_config) as berlin:
            await until(lambda: up(vienna))
            async with Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=1) as fleet:
                await fleet.onboard(within=60)
                device_id = fleet.devices[0].device.device_id
                assert device_id is not None
            await asyncio.to_thread(backup, berlin_config, copy)
            asking = asyncio.create_task(vienna.trunks.command("berlin", device_id, b"open", 600.0))

            async def queued() -> bool:
                found = await berlin._registry.operator.commands(10)
                return [command.data for command in found] == [b"open"]

            await until(queued)
        restore(berlin_config, copy, Crypto())
        async with running(berlin_config) as berlin:
            with pytest.raises(LocalError, match="restored since"):
                await asyncio.wait_for(asking, 120)
            assert await berlin._registry.operator.commands(10) == []


async def test_a_trunk_that_leads_to_another_hub_than_before_begins_anew(
    configs: tuple[HubConfig, HubConfig],
) -> None:
    async with running(configs[0]) as berlin:
        bridging = berlin._registry.bridging
        stream = Stream("paris", 2)
        first = Arrival(stream, 0, 900, 0, 0, False, bytes(8), "", 1, b"of the old hub", 0.0)
        second = Arrival(stream, 0, 1, 0, 0, False, bytes(8), "", 1, b"of the new hub", 0.0)
        await bridging.meet("paris", bytes(32))
        assert (await bridging.arrive([first])).number == 900
        await said(berlin, 1, b"for the old hub")
        await bridging.cursor(stream)
        await bridging.meet("paris", bytes(32))
        assert (await bridging.arrive([second])).new == []
        await said(berlin, 2, b"for nobody")
        await bridging.meet("paris", bytes([1] * 32))
        assert (await bridging.arrive([second])).new == [second]
        assert await bridging.cursor(stream) == Sent(2, 2)
