"""kill -9 of the hub wherever it could hurt: all recovers by itself, nothing is lost or doubled."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from mosquitto import PROGRAM, needs_mosquitto
from processes import PATIENCE, FleetProcess, HubProcess, eventually, fleets, hub_behind

DEVICES = 5
# The devices' clock runs twenty times as fast: a handshake that came to nothing ends in 3 s.
RATE = 20.0
WHILE_JOINING = (
    ("mosquitto", "message_2:3"),
    ("mosquitto", "pend:3"),
    ("mosquitto", "pended:3"),
    ("mosquitto", "message_4:3"),
    ("mosquitto", "promote:3"),
    ("mosquitto", "promoted:3"),
    ("embedded", "pended:3"),
    ("embedded", "promoted:3"),
)


async def begin(hub: HubProcess, fleet: FleetProcess) -> "asyncio.Task[dict[str, object]]":
    """All devices begin to onboard."""
    arguments = {"code": hub.code, "broker": hub.address, "tokens": await hub.tokens(DEVICES)}
    return asyncio.create_task(fleet("onboard", **arguments, seed=1, within=PATIENCE, rate=RATE))


async def on_board(hub: HubProcess, fleet: FleetProcess) -> None:
    """All devices are on board."""
    summary = await (await begin(hub, fleet))
    assert summary["onboarded"] == DEVICES, summary


async def said(hub: HubProcess, text: str) -> bool:
    """Whether its log has `text`."""
    return text in hub.log


def skip_without(broker: str) -> None:
    """Skip a test, by name, whose broker is not on this machine."""
    if broker == "mosquitto" and PROGRAM is None:
        pytest.skip("mosquitto is missing: apt-get install mosquitto")


async def facts(hub: HubProcess) -> tuple[Counter[str], list[bytes]]:
    """How often each device was onboarded, and every reading."""
    async with hub.operator() as operator:
        onboarded: Counter[str] = Counter()
        for event in await operator.events(None, 10_000):
            if event.kind == "onboarded" and event.thumbprint is not None:
                onboarded[event.thumbprint.hex()] += 1
        return onboarded, [reading.data for reading in await operator.readings(0, 100_000)]


async def arrived(hub: HubProcess, sent: int) -> None:
    """All readings that the broker had taken are there once."""

    async def kept() -> int:
        return len((await facts(hub))[1])

    await eventually(kept, sent)
    data = (await facts(hub))[1]
    assert len(set(data)) == len(data)


@pytest.mark.parametrize(("broker", "fault"), WHILE_JOINING)
async def test_devices_that_were_joining_are_on_board_after_a_restart(
    tmp_path: Path, broker: str, fault: str
) -> None:
    skip_without(broker)
    with hub_behind(tmp_path, broker) as (hub, _):
        hub.start(fault)
        async with fleets(1, tmp_path) as (fleet,):
            onboarding = await begin(hub, fleet)
            assert await asyncio.to_thread(hub.wait) == -signal.SIGKILL
            hub.start()
            summary = await onboarding
            assert summary["onboarded"] == DEVICES, summary
            assert await fleet("telemetry", count=1) == DEVICES
            await arrived(hub, DEVICES)
            assert await fleet("reused") == []
            onboarded, _ = await facts(hub)
            assert len(onboarded) == DEVICES
            if broker == "mosquitto" and not fault.startswith(("message_2", "pend:")):
                # Its key was on the hub's disk: message_4 or the first record finds it there.
                assert set(onboarded.values()) == {1}
        assert hub.stop() == 0


@pytest.mark.parametrize(("broker", "fault"), [("mosquitto", "delivered:40"), ("embedded", "deliver:40")])
async def test_no_reading_that_the_broker_took_is_lost_or_doubled(
    tmp_path: Path, broker: str, fault: str
) -> None:
    skip_without(broker)
    with hub_behind(tmp_path, broker) as (hub, _):
        hub.start(fault)
        async with fleets(1, tmp_path) as (fleet,):
            await on_board(hub, fleet)
            await fleet("begin", pause=0.1)
            await asyncio.to_thread(hub.wait)
            hub.start(fault)
            await asyncio.to_thread(hub.wait)
            hub.start()
            await arrived(hub, await fleet("end"))
            assert await fleet("reused") == []
            assert set((await facts(hub))[0].values()) == {1}


@needs_mosquitto
async def test_nothing_is_lost_when_the_broker_is_started_again(tmp_path: Path) -> None:
    with hub_behind(tmp_path, "mosquitto") as (hub, broker):
        assert broker is not None
        hub.start()
        async with fleets(1, tmp_path) as (fleet,):
            await on_board(hub, fleet)
            await fleet("begin", pause=0.05)
            for _ in range(2):
                await eventually(lambda: more(hub), True)
                broker.stop()
                broker.start()
            await arrived(hub, await fleet("end"))
            assert await fleet("states") == {"active": DEVICES}
            assert set((await facts(hub))[0].values()) == {1}
        assert hub.stop() == 0


@needs_mosquitto
async def test_all_come_back_when_the_broker_was_killed(tmp_path: Path) -> None:
    with hub_behind(tmp_path, "mosquitto") as (hub, broker):
        assert broker is not None
        assert broker.process is not None
        hub.start()
        async with fleets(1, tmp_path) as (fleet,):
            await on_board(hub, fleet)
            await arrived(hub, await fleet("telemetry", count=5))
            broker.process.kill()
            broker.process.wait(PATIENCE)
            broker.start()
            await eventually(lambda: said(hub, "the broker is back"), True)
            # What a killed broker had taken and not handed on is its own loss; here there was nothing.
            await fleet("telemetry", count=5)
            await arrived(hub, 10 * DEVICES)
            assert await fleet("reused") == []
        assert hub.stop() == 0


@pytest.mark.parametrize(("broker", "number"), [("mosquitto", signal.SIGTERM), ("embedded", signal.SIGINT)])
async def test_a_hub_that_is_told_to_stop_while_readings_come_loses_none(
    tmp_path: Path, broker: str, number: int
) -> None:
    skip_without(broker)
    with hub_behind(tmp_path, broker) as (hub, _):
        hub.start()
        async with fleets(1, tmp_path) as (fleet,):
            await on_board(hub, fleet)
            await fleet("begin", pause=0.01)
            for _ in range(2):
                await eventually(lambda: more(hub), True)
                assert await asyncio.to_thread(hub.stop, number) == 0, hub.log[-2000:]
                hub.start()
            await arrived(hub, await fleet("end"))
            assert await fleet("reused") == []


async def more(hub: HubProcess) -> bool:
    """Whether the hub has delivered anything since the last time it was asked."""
    count = len((await facts(hub))[1])
    before, _SEEN[hub.folder] = _SEEN.get(hub.folder, 0), count
    return count > before


_SEEN: dict[Path, int] = {}
