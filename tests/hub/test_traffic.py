"""Records of enrolled devices at a real hub: nothing lost, nothing twice, no nonce used again."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator

import pytest
from registry_world import Speaker
from simulated_devices import Fleet, Overheard, device, kept, obey, start_again, until

from handfast import Device, identity
from handfast.core import constants, topics
from handfast.core.errors import LinkTimeout, RefusedError
from handfast_cpython.swarm import Simulated
from handfast_hub import arrivals, outgoing
from handfast_hub.config import HubConfig
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.registry import registry
from handfast_hub.registry.group import Operation
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.traffic import known_devices


@pytest.fixture
async def one(swarm: Fleet, hub: MemoryHub) -> AsyncIterator[Simulated]:
    """One device that is on board and was heard."""
    async with swarm(devices=1, seed=7) as fleet:
        await fleet.onboard(within=60)
        yield fleet.devices[0]


async def test_a_device_that_enrols_again_is_heard_under_its_new_key(one: Simulated, hub: MemoryHub) -> None:
    await device(one).send(b"before")
    await hub.fake_clock.advance(1)
    await device(one).close()
    one.host.keystore.erase(identity.SESSION)
    one.device = Device(one.host, one.link)
    onboarding = asyncio.create_task(one.device.onboard())
    await hub.fake_clock.advance(5)
    await onboarding
    await one.device.send(b"after")
    await hub.fake_clock.advance(1)
    assert await kept(hub) == [b"before", b"after"]


async def test_what_came_while_the_database_was_locked_is_delivered_once_and_in_order(
    hub_config: HubConfig, one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "RETRY_SECONDS", 0.02)
    await device(one).send(b"0", "bulk")
    await hub.fake_clock.advance(1)
    other = sqlite3.connect(hub_config.database, isolation_level=None)
    hub._registry._group._connection.connection.execute("PRAGMA busy_timeout = 50")  # type: ignore[union-attr]
    other.execute("BEGIN IMMEDIATE")
    for number in range(1, 60):
        await device(one).send(b"%d" % number, "bulk")
    moving = asyncio.create_task(hub.fake_clock.advance(1))
    await until(lambda: hub._traffic._arrivals.held > 50)
    assert hub.broker.waiting > 50  # nothing of it is acknowledged
    other.rollback()
    other.close()
    await asyncio.wait_for(moving, 60)
    assert await kept(hub) == [b"%d" % number for number in range(60)]
    assert hub.broker.waiting == 0


async def test_a_record_is_not_delivered_when_one_that_it_stands_on_failed(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first transaction fails, the one after it would succeed: it must not move the window over
    # the record that was not kept.
    monkeypatch.setattr(arrivals, "RETRY_SECONDS", 0.02)
    run = hub._registry._deliver.run
    failures = [sqlite3.OperationalError("database is locked")]

    def fail_once(connection: object, items: list[object]) -> object:
        if failures:
            raise failures.pop()
        return run(connection, items)  # type: ignore[arg-type]

    monkeypatch.setattr(hub._registry, "_deliver", hub._registry._deliver._replace(run=fail_once))
    for number in range(20):
        await device(one).send(b"%d" % number)
        await asyncio.sleep(0)
    await asyncio.wait_for(hub.fake_clock.advance(1), 60)
    assert await kept(hub) == [b"%d" % number for number in range(20)]


async def test_nothing_of_a_revoked_device_is_delivered_and_it_is_told(
    one: Simulated, hub: MemoryHub
) -> None:
    for number in range(50):
        await device(one).send(b"%d" % number)
        if number == 20:
            await hub.fake_clock.advance(1)
    await hub.operator.revoke(device(one).thumbprint, "lost")
    count = len(await kept(hub))
    await hub.fake_clock.advance(10)
    assert len(await kept(hub)) == count
    assert one.state == "refused"
    with pytest.raises(RefusedError, match="lost"):
        await device(one).send(b"once more")


async def test_a_revoked_device_that_was_away_is_told_for_a_day_and_by_a_later_process(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = dict(one.host.keystore.values)  # type: ignore[attr-defined]
    await device(one).close()
    await hub.revoke(device(one).thumbprint, "sold")
    await hub.close()
    await hub.start()

    async def told(hours: float) -> bool:
        monkeypatch.setattr(outgoing, "time", _Later(hours))
        one.host.keystore.values.clear()  # type: ignore[attr-defined]
        one.host.keystore.values.update(stored)  # type: ignore[attr-defined]
        one.device = Device(one.host, one.link)
        await one.device.onboard()
        await hub.fake_clock.advance(3)
        await one.device.close()
        return one.device.state == "refused"

    assert await told(0)
    assert await told(23)
    assert not await told(25)


class _Later:
    def __init__(self, hours: float) -> None:
        self._hours = hours

    def time(self) -> float:
        return time.time() + self._hours * 3600


async def test_no_nonce_is_used_twice_while_rings_are_read_again_all_the_time(
    hub: MemoryHub, overheard: Overheard, one: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("handfast.core.constants", "handfast_hub.registry.traffic"):
        monkeypatch.setattr(f"{module}.SEQUENCE_BLOCK", 8)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    device_id = device(one).device_id
    assert device_id is not None
    commands = [asyncio.create_task(hub.command(device_id, b"%d" % each, expires=600)) for each in range(120)]
    for number in range(60):
        await device(one).send(b"%d" % number)
        await hub.fake_clock.advance(0.1)
        hub._traffic.forget(device_id)
    await device(one).send(b"60")
    await hub.fake_clock.advance(30)
    await asyncio.wait_for(asyncio.gather(*commands), 600)
    obeying.cancel()
    assert overheard.reused == []
    assert sorted(heard) == sorted(b"%d" % each for each in range(120))
    assert await kept(hub) == [b"%d" % number for number in range(61)]


async def test_nothing_leaves_under_an_epoch_before_its_step_is_committed(
    hub: MemoryHub, overheard: Overheard, one: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command that waits must not be sealed while the step is still on its way to the disk.
    before = overheard.records[-1][1]
    open_gate = asyncio.Event()
    deliver = hub._registry.deliver

    async def slow(delivery: object) -> object:
        await open_gate.wait()
        return await deliver(delivery)  # type: ignore[arg-type]

    monkeypatch.setattr(hub._registry, "deliver", slow)
    await start_again(one)
    moving = asyncio.create_task(hub.fake_clock.advance(1))
    device_id = device(one).device_id
    assert device_id is not None
    try:
        ring = hub._traffic._rings.find(device_id)
        await until(lambda: ring is not None and ring.ring.active.epoch == before + 1)
        command = asyncio.create_task(hub.command(device_id, b"blink"))
        await until(lambda: hub._answers)
        blocked = len(hub._traffic._tasks)
        hub._traffic.notify(device_id)
        await until(lambda: len(hub._traffic._tasks) <= blocked)
        assert all(epoch == before for _, epoch, _ in overheard.records)
    finally:
        open_gate.set()
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    await moving
    await hub.fake_clock.advance(1)
    assert (await asyncio.wait_for(command, 60)).data == b"done"
    obeying.cancel()
    assert heard == [b"blink"]


async def test_a_command_while_the_broker_is_away_is_sent_when_it_is_back(
    one: Simulated, hub: MemoryHub
) -> None:
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    hub.broker.connected = False
    hub.broker.drop_all()
    device_id = device(one).device_id
    assert device_id is not None
    command = asyncio.create_task(hub.command(device_id, b"blink"))
    await hub.fake_clock.advance(1)
    await until(lambda: hub._traffic._outgoing._waiting)
    hub.broker.connected = True
    for _ in range(20):
        await hub.fake_clock.advance(0.5)
        await device(one).send(b"here")
    assert (await asyncio.wait_for(command, 60)).status == 0
    obeying.cancel()
    assert heard == [b"blink"]


async def test_a_command_that_nobody_heard_goes_out_again_and_is_carried_out_once(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "RESEND_SECONDS", 0.0)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    device_id = device(one).device_id
    assert device_id is not None
    hub.broker.drop_all()  # the hub cannot see it
    commands = [asyncio.create_task(hub.command(device_id, data)) for data in (b"one", b"two")]
    await until(lambda: len(hub._traffic._outgoing._sent) == 2)
    for _ in range(10):
        await hub.fake_clock.advance(1)
        await device(one).send(b"here")
    await asyncio.wait_for(asyncio.gather(*commands), 60)
    obeying.cancel()
    assert heard == [b"one", b"two"]


async def test_a_command_that_expired_is_not_sent(one: Simulated, hub: MemoryHub) -> None:
    await device(one).close()
    device_id = device(one).device_id
    assert device_id is not None
    hub._traffic.forget(device_id)
    with pytest.raises(LinkTimeout, match="was not answered within 0.05 s"):
        await hub.command(device_id, b"too late", expires=0.05)
    one.device = Device(one.host, one.link)
    await one.device.onboard()
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    while [command.state for command in await hub.operator.commands(10)] != ["expired"]:
        await hub.fake_clock.advance(1)
    obeying.cancel()
    assert heard == []


async def test_a_hub_that_starts_again_goes_on_where_it_was(
    one: Simulated, hub: MemoryHub, overheard: Overheard
) -> None:
    for number in range(5):
        await device(one).send(b"%d" % number)
        await hub.fake_clock.advance(1)
        await hub.close()
        await hub.start()
    await hub.fake_clock.advance(5)
    assert await kept(hub) == [b"%d" % number for number in range(5)]
    assert overheard.reused == []


async def test_more_devices_than_fit_into_memory_are_all_heard(
    swarm: Fleet, hub: MemoryHub, overheard: Overheard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with swarm(devices=8, seed=3) as fleet:
        await fleet.onboard(within=60)
        await hub.close()
        await hub.start()
        monkeypatch.setattr(hub._traffic._rings, "_limit", 3)
        for number in range(3):
            for each in fleet.devices:
                await device(each).send(b"%d" % number)
                await hub.fake_clock.advance(0.1)
        assert len(hub._traffic._rings) <= 4
    assert len(await kept(hub)) == 24
    assert overheard.reused == []


async def test_garbage_and_records_for_nobody_cost_no_look_up(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    submit = hub._registry._group.submit

    def note(operation: Operation[object, object], argument: object) -> object:
        # The hub goes on looking for what operators do in other processes, and keeps its lease.
        if operation not in (registry._FOREIGN, registry._LEASE):
            asked.append(operation)
        return submit(operation, argument)

    monkeypatch.setattr(hub._registry._group, "submit", note)
    device_id = device(one).device_id
    assert device_id is not None
    hub._traffic.forget(device_id)
    record = Speaker(bytes(8), 1).record(0, 0, topics.TELEMETRY, b"to nobody")
    for name in (bytes(8), device_id):
        endpoint = topics.enrolled(hub.hub_id[:8], name)
        for payload in (b"", b"\x00", bytes(100), b"\x83" * 50):
            hub.broker.carry(endpoint.up + "/1", payload)
    hub.broker.carry(topics.enrolled(hub.hub_id[:8], bytes(8)).up + "/1", record)
    await until(lambda: hub.broker.waiting == 0)
    assert asked == []


async def test_who_is_known_is_right_after_enrolments_a_new_start_and_what_another_process_does(
    hub: MemoryHub, hub_config: HubConfig, swarm: Fleet
) -> None:
    async with swarm(devices=2, seed=9) as fleet:
        await fleet.onboard(within=60)
        first, second = (device(each).device_id for each in fleet.devices)
        assert first is not None
        assert second is not None
        other = await Registry.open(hub_config, hub.crypto)
        await other.operator.revoke(device(fleet.devices[0]).thumbprint, "lost")
        await other.operator.approve(bytes(range(32)))
        (announced,) = await other.operator.devices("admitted")
        await other.close()
        for _ in range(2):
            # The revoked one must still be told, for a day.
            assert hub._registry.knows(first)
            assert hub._registry.knows(second)
            # Who has no key yet can have sealed nothing.
            assert not hub._registry.knows(announced.device_id)
            await hub.close()
            await hub.start()
        # 24 hours later nothing is owed.
        owed = await hub._registry._group.submit(
            Operation(known_devices, reading=True), time.time() + constants.REVOKED_NOTICE_LIFETIME
        )
        assert owed == {second}
