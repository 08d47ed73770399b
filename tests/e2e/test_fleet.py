"""500 devices onboard, report and obey, over each broker, with every part in a process of its own."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from mosquitto import PROGRAM
from processes import PATIENCE, HubProcess, eventually, fleets, hub_behind

from handfast_hub.registry.operator import NewCommand

DEVICES = 500
READINGS = 2
FLEETS = 2


@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
async def test_500_devices_onboard_report_and_carry_out_a_command_once(tmp_path: Path, broker: str) -> None:
    if broker == "mosquitto" and PROGRAM is None:
        pytest.skip("mosquitto is missing: apt-get install mosquitto")
    with hub_behind(tmp_path, broker) as (hub, _):
        hub.start()
        async with fleets(FLEETS, tmp_path) as all_fleets:
            tokens = await hub.tokens(DEVICES)
            share = DEVICES // FLEETS
            summaries = await asyncio.gather(
                *(
                    fleet(
                        "onboard",
                        code=hub.code,
                        broker=hub.address,
                        tokens=tokens[number * share : (number + 1) * share],
                        seed=number,
                        within=PATIENCE,
                    )
                    for number, fleet in enumerate(all_fleets)
                )
            )
            assert sum(summary["onboarded"] for summary in summaries) == DEVICES, summaries
            sent = await asyncio.gather(*(fleet("telemetry", count=READINGS) for fleet in all_fleets))
            assert sum(sent) == DEVICES * READINGS
            await _everything_arrived(hub, DEVICES * READINGS)
            ids = [name for fleet in all_fleets for name in await fleet("ids")]
            assert len(set(ids)) == DEVICES
            await _command_all(hub, ids)
            heard: Counter[str] = Counter()
            for fleet in all_fleets:
                heard.update(await fleet("heard"))
                assert await fleet("reused") == []
            assert heard == dict.fromkeys(ids, 1)
        assert hub.stop() == 0, hub.log[-2000:]
        assert "error" not in hub.log, hub.log[-2000:]


async def _everything_arrived(hub: HubProcess, count: int) -> None:
    """As many readings as were sent, and none twice."""
    async with hub.operator() as operator:

        async def kept() -> int:
            return len(await operator.readings(0, 10 * count))

        await eventually(kept, count)
        data = [reading.data for reading in await operator.readings(0, 10 * count)]
        assert len(set(data)) == count


async def _command_all(hub: HubProcess, ids: list[str]) -> None:
    """A command for each device that says the name of the device; all are answered with it."""
    async with hub.operator() as operator:
        now = time.time()
        commands = [NewCommand(bytes.fromhex(name), name.encode(), now + 600, now) for name in ids]
        await asyncio.gather(*(operator.command(command) for command in commands))

        async def answered() -> int:
            return sum(1 for each in await operator.commands(len(ids)) if each.state == "answered")

        await eventually(answered, len(ids))
        for each in await operator.commands(len(ids)):
            assert (each.status, each.answer) == (0, each.device_id.hex().encode())
