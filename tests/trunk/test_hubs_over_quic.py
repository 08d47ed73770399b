"""Two whole hubs whose trunk goes over QUIC on this machine, and over paths that are bad or go dark."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from shaken_path import shaken
from two_hubs import arrivals, free_port, running, two_hubs, until, up
from typer.testing import CliRunner

from handfast.core.errors import LocalError
from handfast_cpython import Crypto
from handfast_cpython.swarm import Swarm
from handfast_hub.cli import app
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.trunk.greeting import caller
from handfast_hub.trunk.link import UNPROVEN_LIMIT
from handfast_hub.trunk.quic import dial_quic
from handfast_hub.trunk.settings import Address, address


async def test_readings_cross_in_quic_datagrams(tmp_path: Path) -> None:
    configs = two_hubs(tmp_path, schemes=("quic",))
    async with running(configs[0]) as berlin, running(configs[1]) as vienna:
        await until(lambda: up(berlin) and up(vienna))
        async with Swarm(devices=2, hub=berlin, clock=berlin.fake_clock, seed=3) as fleet:
            await fleet.onboard(within=60)
            sent = [b"%d" % count for count in range(20)]
            for count, data in enumerate(sent):
                await fleet.devices[count % 2].device.send(data)
            # Longer than a packet: over the stream.
            sent.append(bytes(5000))
            await fleet.devices[0].device.send(sent[-1], channel="bulk")

            async def crossed() -> bool:
                return len(await arrivals(vienna)) == len(sent)

            await until(crossed)
            assert sorted(await arrivals(vienna)) == sorted(sent)


@pytest.mark.parametrize("loss", [0.05, 0.2])
async def test_a_path_that_loses_repeats_and_reorders_loses_nothing_and_repeats_nothing(
    tmp_path: Path, loss: float
) -> None:
    between = free_port()
    configs = two_hubs(tmp_path, schemes=("quic",), dialled=lambda *_: between)
    async with (
        shaken(configs[0].bridge.quic_port, between) as relay,
        running(configs[0]) as berlin,
        running(configs[1]) as vienna,
        Swarm(devices=8, hub=berlin, clock=berlin.fake_clock, seed=3) as fleet,
    ):
        relay.loss, relay.repeats, relay.late = loss, 0.1, 0.2
        await until(lambda: up(berlin) and up(vienna))
        await fleet.onboard(within=60)
        sent = [b"%d" % count for count in range(400)]
        for count, data in enumerate(sent):
            await fleet.devices[count % 8].device.send(data)

        async def crossed() -> bool:
            return len(await arrivals(vienna)) >= len(sent)

        await until(crossed)
        assert sorted(await arrivals(vienna)) == sorted(sent)
        assert relay.lost > 0


async def test_a_path_that_goes_dark_is_left_and_taken_again_when_it_is_well(tmp_path: Path) -> None:
    between = free_port()
    configs = two_hubs(
        tmp_path, schemes=("quic", "tcp"), dialled=lambda scheme, port: between if scheme == "quic" else port
    )
    async with (
        shaken(configs[0].bridge.quic_port, between) as relay,
        running(configs[0]) as berlin,
        running(configs[1]) as vienna,
        Swarm(devices=4, hub=berlin, clock=berlin.fake_clock, seed=3) as fleet,
    ):
        await until(lambda: used(vienna) == "quic" and used(berlin) == "quic" and well(vienna) == 2)
        await until(lambda: told(tmp_path, "quic", r"in use +up +[0-9.]+ ms +[0-9.]+% +off"))
        await until(lambda: told(tmp_path, "tcp", r"ready +up +[0-9.]+ ms +- +-"))
        await fleet.onboard(within=60)
        sent = []

        async def send(count: int) -> None:
            for number in range(count):
                sent.append(b"%d" % len(sent))
                await fleet.devices[number % 4].device.send(sent[-1])

        async def crossed() -> bool:
            return len(await arrivals(vienna)) >= len(sent)

        await send(50)
        relay.dark = True
        await send(100)
        await until(lambda: used(vienna) == "tcp" and used(berlin) == "tcp")
        await until(crossed)
        relay.dark = False
        await until(lambda: used(vienna) == "quic" and used(berlin) == "quic")
        await send(50)
        await until(crossed)
        assert sorted(await arrivals(vienna)) == sorted(sent)


async def test_a_hub_that_was_killed_and_started_anew_is_dialled_anew(tmp_path: Path) -> None:
    between = free_port()
    configs = two_hubs(tmp_path, schemes=("quic",), dialled=lambda *_: between)
    async with shaken(configs[0].bridge.quic_port, between) as relay, running(configs[1]) as vienna:
        async with running(configs[0]) as berlin:
            await until(lambda: used(vienna) == "quic" and well(vienna) == 1)
            # It dies without a word to anybody.
            relay.dark = True
        async with running(configs[0]) as berlin:
            relay.dark = False
            async with Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=3) as fleet:
                await fleet.onboard(within=60)
                await fleet.devices[0].device.send(b"back")

                async def crossed() -> bool:
                    return await arrivals(vienna) == [b"back"]

                await until(crossed)


async def test_callers_at_the_quic_port_who_stole_the_pairing_secret_take_nothing_away(
    tmp_path: Path,
) -> None:
    configs = two_hubs(tmp_path, schemes=("quic",))
    port = configs[0].bridge.quic_port
    async with running(configs[0]) as berlin, running(configs[1]) as vienna:
        await until(lambda: used(berlin) == "quic" and well(berlin) == 1)
        strangers = []
        thief = caller(Crypto(), vienna.hub_id[:8], bytes(range(32)))
        frames = [b"\x12" + bytes(100), b"\x10" + bytes(60), b"\x01", b"", b"\xf0" * 30]
        for _ in range(24):
            strangers.append(await dial_quic("127.0.0.1", port, thief))
            strangers[-1].send(frames)
        await until(lambda: sum(not path["proven"] for path in paths(berlin)) <= UNPROVEN_LIMIT)
        async with Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=5) as fleet:
            await fleet.onboard(within=60)
            await fleet.devices[0].device.send(b"still here")

            async def crossed() -> bool:
                return await arrivals(vienna) == [b"still here"]

            await until(crossed)
        for stranger in strangers:
            await stranger.close()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('""', ()),
        ('"vienna:7301"', (Address("tcp", "vienna", 7301),)),
        ('"quic://[::1]:7301"', (Address("quic", "::1", 7301),)),
        ('["quic://a:1", "tcp://b:2"]', (Address("quic", "a", 1), Address("tcp", "b", 2))),
    ],
)
def test_an_address_or_a_list_of_them_is_read(
    tmp_path: Path, written: str, read: tuple[Address, ...]
) -> None:
    config = two_hubs(tmp_path, lambda name, peer: f"connect = {written}\n" if name == "berlin" else "")[0]
    assert tuple(map(address, config.trunk["vienna"].connect)) == read


@pytest.mark.parametrize(
    "written",
    [
        '"vienna"',
        '"udp://a:1"',
        '"quic://:1"',
        '"quic://a:0"',
        '"quic://a:70000"',
        '"quic://a:²"',
        '"tcp://a..b:1"',
        f'"quic://{"a" * 64}.b:1"',
        '"tcp://a\\u0000:1"',
    ],
)
def test_an_address_that_is_none_is_said_in_one_sentence(tmp_path: Path, written: str) -> None:
    with pytest.raises(LocalError, match="expected quic://HOST:PORT or tcp://HOST:PORT, not"):
        two_hubs(tmp_path, lambda name, peer: f"connect = {written}\n" if name == "berlin" else "")


def test_a_host_to_listen_on_that_is_none_is_said_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('name = "berlin"\n[bridge]\nhost = "berlin..example"\n')
    with pytest.raises(LocalError, match="expected the name or the number of a machine"):
        load_config(file)


async def test_quic_without_its_library_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = two_hubs(tmp_path, schemes=("quic",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for config in configs:
        with pytest.raises(LocalError, match=r"needs aioquic: install handfast\[hub,quic\]"):
            async with running(config):
                pass


async def told(folder: Path, scheme: str, row: str) -> bool:
    """Whether vienna's `trunk status` says that of a carrier."""
    words = ["--config", str(folder / "vienna" / "hub.toml"), "trunk", "status"]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert result.exit_code == 0, result.output
    return re.search(f"berlin +{scheme}://127.0.0.1:[0-9]+ +{row}", result.output) is not None


def paths(hub: Hub) -> list[dict[str, Any]]:
    """The paths of the only trunk of a hub."""
    (status,) = hub.trunks.status().values()
    return status["paths"]


def used(hub: Hub) -> str:
    """The scheme of the carrier in use, or nothing."""
    return "".join(path["carrier"] for path in paths(hub) if path["in_use"])[:4].rstrip(": ")


def well(hub: Hub) -> int:
    """How many carriers are Up."""
    return [path["state"] for path in paths(hub)].count("up")
