"""Several processes on one registry: the lease, and what one hears of another."""

import asyncio
import sqlite3
import time

import pytest
import registry_world as world
from registry_world import (
    NOW,
    admit,
    credential,
)

from handfast_hub.config import HubConfig
from handfast_hub.registry import lease
from handfast_hub.registry.engine import RegistryLocked
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import ADMITTED


async def test_born_grows_over_restarts(config: HubConfig) -> None:
    firsts = []
    for _ in range(3):
        registry = await Registry.open(config, world.crypto)
        firsts.append(await registry.serve())
        await registry.close()
    assert firsts == [0, lease.BORN_BLOCK, 2 * lease.BORN_BLOCK]


async def test_a_second_hub_process_is_turned_away(config: HubConfig, registry: Registry) -> None:
    await registry.serve()
    second = await Registry.open(config, world.crypto)
    with pytest.raises(RegistryLocked, match="serves this hub"):
        await second.serve()
    await registry.close()
    await second.serve()
    await second.close()


async def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(
    registry: Registry, config: HubConfig
) -> None:
    import socket

    with sqlite3.connect(config.database) as connection:
        holder = f"{socket.gethostname()}:4194305:00"  # beyond pid_max
        values = (registry.hub_id, holder, time.time() + 25)
        connection.execute("INSERT INTO lease (hub_id, holder, expires_at) VALUES (?, ?, ?)", values)
    connection.close()
    await registry.serve()


async def test_the_lease_of_another_machine_binds_until_it_runs_out_or_its_clock_jumped() -> None:
    assert lease.alive("elsewhere:1:00", NOW + 25, NOW)
    assert not lease.alive("elsewhere:1:00", NOW, NOW)
    assert not lease.alive("elsewhere:1:00", NOW + 10_000, NOW)


async def test_a_running_hub_hears_what_another_process_does(registry: Registry, config: HubConfig) -> None:
    changes = registry.watch()
    other = await Registry.open(config, world.crypto)
    first = asyncio.ensure_future(anext(changes))
    await admit(other, 1)
    change = await asyncio.wait_for(first, 60)
    assert (change.kind, change.thumbprint) == (ADMITTED, credential(1).thumbprint)
    from handfast_hub.registry.tokens import NewTokens

    (token,) = await other.operator.mint(NewTokens("", 1, False, 1, time.time() + 60, time.time()))
    assert registry.tokens.find(token.token_id) is None
    assert (await asyncio.wait_for(anext(changes), 60)).kind == "token"
    assert registry.tokens.find(token.token_id) == token
    await admit(registry, 2)
    assert (await asyncio.wait_for(anext(changes), 60)).thumbprint == credential(2).thumbprint
    await other.close()


@pytest.mark.parametrize("turns", range(5))
async def test_who_watches_can_be_stopped_at_any_moment(registry: Registry, turns: int) -> None:
    """Also when something has just changed: a hub that closes waits for its watch to end."""

    async def watch() -> None:
        async for _ in registry.watch():
            pass

    watching = asyncio.create_task(watch())
    for _ in range(20):
        registry._changed()
        await asyncio.sleep(0.02)
    for _ in range(turns):
        await asyncio.sleep(0)
    registry._changed()
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    done, _ = await asyncio.wait([watching], timeout=60)
    assert done
