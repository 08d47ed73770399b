"""Two whole hubs and a policy by topic: what it does to readings and commands, before and after a restart."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from two_hubs import arrivals, running, two_hubs, until, up

from handfast.core.errors import LinkTimeout, LocalError
from handfast.device import Device
from handfast_cpython.swarm import Swarm
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.trunk.policy import BULK, NORMAL


def rule(topic: str, name: str) -> str:
    """One more rule of Berlin's trunk."""
    return f'[[trunk.vienna.policy]]\ntopic = "{topic}"\nclass = "{name}"\n'


async def label(hub: Hub, devices: Sequence[Device], *names: str) -> None:
    """Name devices, as `handfast-hub approve --label` does."""
    labels = {device.device_id: name for device, name in zip(devices, names, strict=True)}
    for device in await hub.operator.devices():
        await hub.operator.approve(device.thumbprint, label=labels[device.device_id])


async def test_a_reading_recorded_as_secret_waits_as_it_whatever_the_policy_becomes(tmp_path: Path) -> None:
    rules = rule("pumps/#", "secret") + rule("meters/+/telemetry", "bulk") + rule("+/quiet/#", "none")
    berlins, viennas = two_hubs(tmp_path, lambda name, _: rules if name == "berlin" else "")
    async with running(viennas) as vienna:
        async with running(berlins) as berlin:
            await until(lambda: up(berlin) and up(vienna))
            async with Swarm(devices=3, hub=berlin, clock=berlin.fake_clock, seed=9) as fleet:
                await fleet.onboard(within=60)
                pump, meter, quiet = devices = [each.device for each in fleet.devices]
                await label(berlin, devices, "pumps/1", "meters/1", "meters/quiet/1")
                for device in (quiet, pump, meter):
                    await device.send(b"21.5 C from %d" % (device is pump))
                # There is no QKD key here, so what is secret waits for ever.
                await meter.send(b"fire", channel="alarm")
                await meter.send(b"blocks", channel="bulk")

                async def crossed(count: int) -> bool:
                    return len(await arrivals(vienna)) == count

                await until(lambda: crossed(2))
                found = await vienna._registry.bridging.arrivals(0, 10)
                assert [(row.label, row.data, row.kind) for row in found] == [
                    ("meters/1", b"21.5 C from 0", BULK),
                    ("meters/1", b"blocks", BULK),
                ]
                # The operator gives the pump another name: for what it says from now on.
                await label(berlin, devices, "x", "y", "z")
                await pump.send(b"by another name")
                await until(lambda: crossed(3))
        # And starts the hub with other rules.
        file = tmp_path / "berlin" / "hub.toml"
        file.write_text(file.read_text().replace(rules, rule("#", "normal")))
        async with running(load_config(file)) as berlin:
            await until(lambda: up(berlin) and up(vienna))
            async with Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=10) as fleet:
                await fleet.onboard(within=60)
                await fleet.devices[0].device.send(b"new", channel="alarm")
                await until(lambda: crossed(4))
        rows = await vienna._registry.bridging.arrivals(0, 10)
        assert [(row.data, row.kind) for row in rows[2:]] == [(b"by another name", NORMAL), (b"new", NORMAL)]


@pytest.mark.parametrize("command_class", ["normal", "secret"])
async def test_a_command_to_a_device_whose_policy_is_secret_never_comes_as_less(
    tmp_path: Path, command_class: str
) -> None:
    def lines(name: str, _: str) -> str:
        if name == "berlin":
            return rule("pumps/#", "secret") + rule("shut/command", "none")
        return f'command_class = "{command_class}"\n'

    berlins, viennas = two_hubs(tmp_path, lines)
    async with running(berlins) as berlin, running(viennas) as vienna:
        await until(lambda: up(berlin) and up(vienna))
        async with Swarm(devices=3, hub=berlin, clock=berlin.fake_clock, seed=11) as fleet:
            await fleet.onboard(within=60)
            devices = [each.device for each in fleet.devices]
            await label(berlin, devices, "pumps/1", "shut", "valve")
            pump, shut, valve = (device.device_id for device in devices)
            if command_class == "secret":
                # Without a QKD key nothing secret leaves, not even to ask.
                with pytest.raises(LinkTimeout, match="no answer"):
                    await vienna.trunks.command("berlin", valve, b"on", 0.5)
                return
            with pytest.raises(LocalError, match='as secret only; set command_class = "secret" here'):
                await vienna.trunks.command("berlin", pump, b"on", 60.0)
            with pytest.raises(LocalError, match="lets no command through"):
                await vienna.trunks.command("berlin", shut, b"on", 60.0)
            assert await berlin.operator.commands(10) == []

            async def obey() -> None:
                async for message in devices[2].messages():
                    await message.reply(b"did it")

            obeying = asyncio.create_task(obey())
            assert (await vienna.trunks.command("berlin", valve, b"on", 60.0)).data == b"did it"
            obeying.cancel()
