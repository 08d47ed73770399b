"""The life of a command: carried out at most once, and what is said about it is true."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from simulated_devices import Fleet, Overheard, device, obey, start_again, until

from handfast.core import topics
from handfast.core.errors import LinkClosed
from handfast.core.records import decode_header
from handfast_cpython.swarm import Simulated
from handfast_hub import outgoing
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.registry.group import GroupCommit
from handfast_hub.registry.operator import CommandInfo, NewCommand
from handfast_hub.registry.traffic import Dispatch


@pytest.fixture
async def one(swarm: Fleet, hub: MemoryHub, overheard: Overheard) -> AsyncIterator[Simulated]:
    """One device that is on board and was heard; it obeys what `heard` then shows."""
    async with swarm(devices=1, seed=7) as fleet:
        await fleet.onboard(within=60)
        yield fleet.devices[0]


async def queue(
    hub: MemoryHub, simulated: Simulated, data: bytes, seconds: float = 600.0, repeatable: bool = False
) -> int:
    device_id = device(simulated).device_id
    assert device_id is not None
    now = time.time()
    return await hub.operator.command(NewCommand(device_id, data, now + seconds, now, repeatable))


async def state(hub: MemoryHub, number: int) -> str:
    return (await hub.operator.find_command(number)).state


async def becomes(hub: MemoryHub, number: int, wanted: str) -> CommandInfo:
    """Wait for a state; a hub sees the row of an operator within 0.2 s of real time."""
    async with asyncio.timeout(60):
        while (found := await hub.operator.find_command(number)).state != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def commands_of(wire: Overheard) -> list[tuple[int, int]]:
    """(epoch, PIV) of each command that was published."""
    return [(epoch, piv) for channel, epoch, piv in wire.records if channel == topics.COMMAND]


async def test_a_command_that_was_sent_and_lost_goes_out_again_from_a_later_process(
    one: Simulated, hub: MemoryHub, overheard: Overheard
) -> None:
    hub.broker.drop_all()  # the hub cannot see it
    number = await queue(hub, one, b"blink")
    await becomes(hub, number, "sent")
    await hub.close()
    await hub.start()
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    while await state(hub, number) != "answered":
        await device(one).send(b"here")
        await hub.fake_clock.advance(1)
    obeying.cancel()
    assert heard == [b"blink"]
    # The same record, not another one.
    assert len(set(commands_of(overheard))) == 1
    assert len(commands_of(overheard)) >= 2
    assert overheard.reused == []


async def test_a_command_whose_epoch_has_passed_is_not_sealed_anew_and_ends_unanswered(
    one: Simulated, hub: MemoryHub, overheard: Overheard
) -> None:
    # It may have been carried out just before the power cut: nobody can know, and the operator is told so.
    hub.broker.drop_all()
    number = await queue(hub, one, b"open the gate")
    await becomes(hub, number, "sent")
    await start_again(one)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    for _ in range(8):
        await device(one).send(b"here")
        await hub.fake_clock.advance(1)
    assert heard == []
    assert len(set(commands_of(overheard))) == 1
    assert await hub._registry.sweep(time.time() + 601) == 1
    assert await state(hub, number) == "unanswered"
    # What comes later is not held up by it.
    later = await queue(hub, one, b"blink")
    await hub.fake_clock.advance(1)
    await becomes(hub, later, "answered")
    obeying.cancel()
    assert heard == [b"blink"]


async def test_a_repeatable_command_is_sealed_anew_for_a_device_that_restarted(
    one: Simulated, hub: MemoryHub, overheard: Overheard
) -> None:
    hub.broker.drop_all()
    number = await queue(hub, one, b"close the valve", repeatable=True)
    await becomes(hub, number, "sent")
    await start_again(one)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    for _ in range(8):
        await device(one).send(b"here")
        await hub.fake_clock.advance(1)
    await becomes(hub, number, "answered")
    obeying.cancel()
    assert heard == [b"close the valve"]
    # One record for each epoch, and in no epoch two.
    records = set(commands_of(overheard))
    assert len(records) == len({epoch for epoch, _ in records}) == 2


async def test_a_repeatable_command_that_may_have_been_carried_out_ends_unanswered(
    one: Simulated, hub: MemoryHub
) -> None:
    hub.broker.drop_all()
    number = await queue(hub, one, b"close the valve", repeatable=True)
    await becomes(hub, number, "sent")
    ours = device(one).device_id
    assert ours is not None
    (before,) = await hub._registry.sent_commands(ours, time.time())
    again = Dispatch(number, before.epoch + 1, 7, b"another record", time.time())
    assert await hub._registry.dispatch(again)
    await hub._registry.take_back(again)
    assert await state(hub, number) == "sent"
    assert await hub._registry.sweep(time.time() + 601) == 1
    assert await state(hub, number) == "unanswered"


async def test_a_fake_clock_stands_still_while_the_hub_finds_and_sends_a_command(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = GroupCommit._answer

    def slow(group: GroupCommit, items: list[object]) -> object:
        time.sleep(0.02)  # a slow disk
        return answer(group, items)  # type: ignore[arg-type]

    monkeypatch.setattr(GroupCommit, "_answer", slow)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    number = await queue(hub, one, b"blink")
    await hub.fake_clock.advance(0)
    assert heard == [b"blink"]
    assert await state(hub, number) == "answered"
    obeying.cancel()


async def test_an_answer_that_comes_late_still_counts(one: Simulated, hub: MemoryHub) -> None:
    number = await queue(hub, one, b"think", seconds=5)
    await becomes(hub, number, "sent")
    await hub.fake_clock.advance(1)
    message = await asyncio.wait_for(anext(device(one).messages()), 60)
    await hub._registry.sweep(time.time() + 6)
    assert await state(hub, number) == "unanswered"
    await message.reply(b"42")
    await hub.fake_clock.advance(1)
    assert (await becomes(hub, number, "answered")).answer == b"42"


async def test_a_command_that_the_broker_did_not_take_waits_again(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    publish = hub._traffic._outgoing._publish

    def away_once(topic: str, payload: bytes) -> None:
        if topics.parse(topic).channel == topics.COMMAND and not refused:
            refused.append(topic)
            raise LinkClosed("gone between one line and the next")
        publish(topic, payload)

    monkeypatch.setattr(hub._traffic._outgoing, "_publish", away_once)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    number = await queue(hub, one, b"blink")
    await until(lambda: hub._traffic._outgoing._waiting)
    assert await state(hub, number) == "queued"
    await start_again(one)  # its epoch may pass meanwhile
    again = asyncio.create_task(obey(one, heard))
    for _ in range(8):
        await hub.fake_clock.advance(1)
    await becomes(hub, number, "answered")
    obeying.cancel()
    again.cancel()
    assert refused
    assert heard == [b"blink"]


async def test_few_commands_are_without_an_answer_and_the_others_wait_in_the_registry(
    one: Simulated, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "UNANSWERED_LIMIT", 4)
    numbers = [await queue(hub, one, b"%d" % number) for number in range(20)]
    await becomes(hub, numbers[3], "sent")
    await hub.fake_clock.advance(2)
    states = [await state(hub, number) for number in numbers]
    assert states == ["sent"] * 4 + ["queued"] * 16
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    for _ in range(30):
        await hub.fake_clock.advance(0.5)
    for number in numbers:
        await becomes(hub, number, "answered")
    obeying.cancel()
    assert heard == [b"%d" % number for number in range(20)]


async def test_the_record_of_a_command_is_kept_as_long_as_it_may_go_out_again(
    one: Simulated, hub: MemoryHub
) -> None:
    async def kept() -> list[bytes]:
        device_id = device(one).device_id
        assert device_id is not None
        found = await hub._registry.sent_commands(device_id, time.time())
        return [sent.record for sent in found]

    number = await queue(hub, one, b"blink")
    await becomes(hub, number, "sent")
    (record,) = await kept()
    assert decode_header(record).piv > 0
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    await hub.fake_clock.advance(1)
    await becomes(hub, number, "answered")
    obeying.cancel()
    assert await kept() == []


async def test_a_command_does_not_overtake_the_ack_of_its_epoch(
    hub: MemoryHub, overheard: Overheard, one: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hub is looking for commands when the step comes; the device takes none before its ack.
    before = overheard.records[-1][1]
    looked, found = asyncio.Event(), asyncio.Event()
    waiting_commands = hub._registry.waiting_commands

    async def slow(device_id: bytes, epoch: int, now: float) -> object:
        looked.set()
        await found.wait()
        return await waiting_commands(device_id, epoch, now)

    monkeypatch.setattr(hub._registry, "waiting_commands", slow)
    device_id = device(one).device_id
    assert device_id is not None
    command = asyncio.create_task(hub.command(device_id, b"blink"))
    await looked.wait()
    await start_again(one)
    await hub.fake_clock.advance(1)
    ring = hub._traffic._rings.find(device_id)
    await until(lambda: ring is not None and ring.committed is not None and ring.committed[1] == before + 1)
    heard: list[bytes] = []
    obeying = asyncio.create_task(obey(one, heard))
    found.set()
    await until(lambda: any(channel == topics.COMMAND for channel, _, _ in overheard.records))
    await hub.fake_clock.advance(1)
    assert (await asyncio.wait_for(command, 60)).data == b"done"
    obeying.cancel()
    channels = [channel for channel, epoch, _ in overheard.records if epoch == before + 1]
    assert channels.index(topics.CONTROL) < channels.index(topics.COMMAND)
