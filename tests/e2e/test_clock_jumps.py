"""The wall clock of a hub and of a device jumps by a year and back: nothing notices but what expires."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command, handfast, handfast_hub
from mosquitto import Mosquitto, needs_mosquitto
from nonces import let_watch, watched
from processes import HubProcess, hub_behind

from handfast_cpython.terminal import DONE, REFUSED

YEAR = 365 * 86400

pytestmark = needs_mosquitto


def jump(clock: Path, offset: int) -> None:
    """From now on that clock is off by so many seconds."""
    part = clock.with_suffix(".part")
    part.write_text(str(offset))
    part.replace(clock)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[HubProcess, Mosquitto, Path]]:
    """A hub that serves under a clock of its own, its broker and its clock."""
    clock = tmp_path / "hub.clock"
    jump(clock, 0)
    with hub_behind(tmp_path, "mosquitto") as (hub, broker):
        assert broker is not None
        broker.stop()
        let_watch(broker)
        broker.start()
        hub.start(clock=clock)
        yield hub, broker, clock


def on_board(hub: HubProcess, operator: Command, device: Command, token: str = "") -> str:
    """A new device; its device_id."""
    token = token or operator.works("--quiet", "token").strip()
    device.works("init", "--hub", hub.code, "--broker", hub.address, "--token", token)
    return str(device.json("onboard")["device_id"])


def kept(operator: Command, count: int) -> list[str]:
    """What the hub has, which are `count`."""
    lines = operator.works("listen", "--after", "0", "--count", str(count), "--json").splitlines()
    return [bytes.fromhex(json.loads(line)["data"]).decode() for line in lines]


async def test_the_clock_of_a_hub_jumps(place: tuple[HubProcess, Mosquitto, Path], tmp_path: Path) -> None:
    hub, broker, clock = place
    async with watched(broker) as nonces:
        await asyncio.to_thread(hub_jumps, hub, clock, tmp_path)
        assert len(nonces) > 10


def hub_jumps(hub: HubProcess, clock: Path, folder: Path) -> None:
    """While it serves, and across its restarts."""
    operator, device = handfast_hub(hub.file, clock), handfast(folder / "device")
    name = on_board(hub, operator, device)
    early = operator.works("--quiet", "token", "--label", "early", "--expires", "24h").strip()
    sent = []
    for offset, state in ((YEAR, "expired"), (-YEAR, "early")):
        jump(clock, offset)
        device.works("send", f"jumped {offset}")
        sent.append(f"jumped {offset}")
        # A command lives as long as it should: by the clock that does not jump.
        with device.running("listen", "--reply", "heard"):
            assert operator.works("send", name, "blink", "--expires", "150s") == "done: heard\n"
        # The token of the true time is from a past, or a future, that this clock does not know.
        assert {each["label"]: each["state"] for each in operator.json("tokens")}["early"] == state
        stranger = handfast(folder / f"stranger {state}")
        stranger.works("init", "--hub", hub.code, "--broker", hub.address, "--token", early)
        assert "the hub refused this device" in stranger.fails(REFUSED, "onboard")
        on_board(hub, operator, handfast(folder / f"newcomer {state}"))
    # The last time without a goodbye, and its lease is a year ahead when it is back.
    for offset, number in ((YEAR, signal.SIGTERM), (0, signal.SIGKILL)):
        assert hub.stop(number) == (DONE if number == signal.SIGTERM else -number)
        jump(clock, offset)
        hub.start(clock=clock)
        device.works("send", f"restarted {offset}")
        sent.append(f"restarted {offset}")
    assert kept(operator, len(sent)) == sent
    # The true time has come back, and the token of then is good.
    on_board(hub, operator, handfast(folder / "late"), early)
    assert [each["kind"] for each in operator.json("events")].count("onboarded") == 4
    assert hub.stop() == DONE


async def test_the_clock_of_a_device_jumps(place: tuple[HubProcess, Mosquitto, Path], tmp_path: Path) -> None:
    hub, broker, _ = place
    async with watched(broker) as nonces:
        await asyncio.to_thread(device_jumps, hub, tmp_path)
        assert len(nonces) > 6


def device_jumps(hub: HubProcess, folder: Path) -> None:
    """Between its runs and while it listens."""
    operator, clock = handfast_hub(hub.file), folder / "device.clock"
    device = handfast(folder / "device", clock)
    jump(clock, -YEAR)
    name = on_board(hub, operator, device)
    sent = []
    for offset in (YEAR, -YEAR):
        jump(clock, offset)
        device.works("send", f"jumped {offset}")
        sent.append(f"jumped {offset}")
    with device.running("listen", "--reply", "heard"):
        for offset in (YEAR, 0):
            jump(clock, offset)
            assert operator.works("send", name, "blink", "--expires", "150s") == "done: heard\n"
    assert kept(operator, len(sent)) == sent
    assert [each["kind"] for each in operator.json("events")].count("onboarded") == 1
