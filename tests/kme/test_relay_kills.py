"""kill -9 of a KME while keys go over it: none that was given is lost, none is given twice, and what was on
its way is given to nobody."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from installation import clients, process, until
from relays import DIAMOND, asked, fill, kmes, network_of, ready

from handfast_hub.trunk.kme_answers import Key, KeyNotFound


async def test_a_killed_relay_is_gone_round_and_no_key_is_lost_or_given_twice(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, DIAMOND)
    fill(network, 500)
    given: list[Key] = []
    with kmes(network, file) as nodes, contextlib.ExitStack() as stack:
        async with clients(network, tmp_path, "sae-a", "sae-d") as (first, last):
            await ready(first, "sae-d", 50, ways=2)

            async def keep_asking() -> None:
                while True:
                    given.extend(await asked(first, "sae-d", number=2) or [])
                    await asyncio.sleep(0)

            async def has_given(count: int) -> None:
                async def enough() -> bool:
                    return len(given) >= count

                await until(enough)

            asking = asyncio.create_task(keep_asking())
            try:
                for victim in "bc":
                    await has_given(len(given) + 6)
                    nodes[victim].kill()
                    nodes[victim].wait()
                    # The other relay is still there.
                    await has_given(len(given) + 6)
                    nodes[victim] = stack.enter_context(process(file, "--node", victim))
                    await ready(first, "sae-d", 1)
                await has_given(len(given) + 6)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            # Every key that the first SAE was given is at the other KME, the same, and once. The clients
            # refuse a key that comes twice.
            for key in given:
                assert await last.dec_keys("sae-a", [key.key_id]) == [key]
            with pytest.raises(KeyNotFound):
                await last.dec_keys("sae-a", [given[0].key_id])
            assert len({key.value for key in given}) == len(given)


async def test_a_killed_end_gives_nobody_what_was_on_its_way(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ab", "bc"), ("ac",))
    fill(network, 300)
    given: list[Key] = []
    with kmes(network, file) as nodes, contextlib.ExitStack() as stack:
        async with clients(network, tmp_path, "sae-a", "sae-c") as (first, last):
            for victim in "ac":
                await ready(first, "sae-c", 1)
                asking = [asyncio.create_task(asked(first, "sae-c")) for _ in range(8)]
                await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                nodes[victim].kill()
                nodes[victim].wait()
                nodes[victim] = stack.enter_context(process(file, "--node", victim))
                for answer in await asyncio.gather(*asking):
                    given += answer or []
            await ready(first, "sae-c", 1)
            await ready(last, "sae-a", 1)
            for key in given:
                assert await last.dec_keys("sae-a", [key.key_id]) == [key]
            [key] = await until(lambda: asked(last, "sae-a"))  # type: ignore[misc]
            assert await first.dec_keys("sae-c", [key.key_id]) == [key]
            assert given
