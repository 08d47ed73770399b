"""Group commit of the registry: what shares a transaction, and who waits for whom."""

import asyncio
import threading

import pytest
import registry_world as world
from registry_world import (
    admit,
    credential,
)
from sqlalchemy.engine import Connection

from handfast.core.errors import KeystoreError
from handfast_hub.config import HubConfig
from handfast_hub.registry import group
from handfast_hub.registry.group import Operation
from handfast_hub.registry.registry import Registry


async def test_one_item_that_fails_does_not_spoil_its_group(registry: Registry) -> None:
    def run(connection: Connection, items: "list[int]") -> "list[int]":
        if 3 in items:
            raise KeystoreError("three")
        connection.exec_driver_sql("UPDATE hub SET restores = restores + %d" % len(items))
        return [item * 2 for item in items]

    operation: Operation[int, int] = Operation(run)
    group = registry._group
    results = await asyncio.gather(
        *(group.submit(operation, number) for number in range(6)), return_exceptions=True
    )
    assert [result for result in results if isinstance(result, int)] == [0, 2, 4, 8, 10]
    assert isinstance(results[3], KeystoreError)

    def read(connection: Connection, items: "list[None]") -> "list[int]":
        return [connection.exec_driver_sql("SELECT restores FROM hub").scalar_one() for _ in items]

    assert await group.submit(Operation(read, reading=True), None) == 5


async def test_under_load_a_transaction_waits_for_company_and_alone_it_does_not(
    config: HubConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_SLICE_SECONDS", 0.1)
    registry = await Registry.open(config.model_copy(update={"linger_seconds": 0.1}), world.crypto)
    naps: list[float] = []
    monkeypatch.setattr(group.time, "sleep", lambda seconds: naps.append(seconds))

    def count(_: Connection, items: "list[int]") -> "list[int]":
        return [len(items)] * len(items)

    operation: Operation[int, int] = Operation(count)
    for number in range(3):
        assert await registry._group.submit(operation, number) == 1
    assert naps == []
    gate = threading.Event()

    def wait(_: Connection, items: "list[None]") -> "list[None]":
        gate.wait(60)
        return items

    busy = registry._group.submit(Operation(wait), None)
    together = [registry._group.submit(operation, number) for number in range(5)]
    gate.set()
    await busy
    sizes = await asyncio.gather(*together)
    assert max(sizes) > 1
    await registry._group.submit(operation, 0)
    assert naps[0] == 0.1
    await registry.close()


async def test_a_caller_who_left_does_not_hold_up_the_others(registry: Registry) -> None:
    lost = asyncio.ensure_future(registry.operator.approve(credential(1).thumbprint))
    await asyncio.sleep(0)
    lost.cancel()
    await admit(registry, 2)
    assert len(await registry.operator.devices()) in (1, 2)
