"""kill -9 of a device wherever it writes its keystore: it recovers by itself, nothing is lost or doubled.

`handfast` runs as it is, in processes that die at their first step on the disk, at their second and
so on until one lives (device_at_fault.py). After each death the same command is typed again. A
client beside the hub sees every record, and that no two different ones have one nonce.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Said
from mosquitto import Mosquitto, needs_mosquitto
from nonces import let_watch, watched
from processes import HERE, PATIENCE, HubProcess, environment, eventually, hub_behind

from handfast_cpython.terminal import USAGE
from handfast_hub.registry.operator import NewCommand, Operator

# More steps than any command has: a loop that gets here does not end.
MANY = 200

pytestmark = needs_mosquitto


class Mortal:
    """The command `handfast` in processes that die at their N-th step on the disk."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(self, last: int, home: Path, *words: str) -> Said:
        """`handfast WORDS --home HOME`, which dies at step `last`; 0 lets it live."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps([last, [*words, "--home", str(home)]])
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        return Said(*json.loads(await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)))

    async def works(self, home: Path, *words: str) -> Any:
        """It lives and ends well; the JSON that it prints, if any."""
        said = await self(0, home, *words)
        assert said.code == 0, f"{words}: {said}"
        return json.loads(said.out) if said.out.startswith("{") else None


@pytest.fixture
async def mortal() -> AsyncIterator[Mortal]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "device_at_fault.py"), stdin=pipe, stdout=pipe, env=environment()
    )
    try:
        yield Mortal(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubProcess, Mosquitto]]:
    """A hub that serves, and its broker."""
    with hub_behind(tmp_path_factory.mktemp("place"), "mosquitto") as (hub, broker):
        assert broker is not None
        broker.stop()
        let_watch(broker)
        broker.start()
        hub.start()
        yield hub, broker


async def kept(operator: Operator, thumbprint: str) -> list[str]:
    """The readings of one device, in the order in which they were accepted."""
    (device,) = await operator.find(bytes.fromhex(thumbprint))
    found = await operator.readings(0, 100_000)
    return [reading.data.decode() for reading in found if reading.device_id == device.device_id]


async def test_an_init_that_was_killed_is_typed_again_and_makes_one_identity(
    mortal: Mortal, place: tuple[HubProcess, Mosquitto], tmp_path: Path
) -> None:
    hub, _ = place
    init = "init", "--hub", hub.code, "--broker", hub.address, "--json"
    whole = 0
    for last in range(1, MANY):
        home = tmp_path / str(last)
        said = await mortal(last, home, *init)
        if said.code == 0:
            break
        assert said.code == -signal.SIGKILL
        before = await mortal(0, home, "status", "--json")
        again = await mortal(0, home, *init)
        after = await mortal.works(home, "status", "--json")
        if before.code == 0:
            # It was made, only nobody was told so: it stays what it is.
            whole += 1
            assert again.code == USAGE
            assert "holds an identity already" in again.err
            assert after == json.loads(before.out)
        else:
            assert "no device" in before.err or "no identity" in before.err, before.err
            assert json.loads(again.out)["thumbprint"] == after["thumbprint"]
    assert 12 <= last < MANY
    assert whole


async def test_an_onboarding_that_was_killed_comes_to_one_device_with_one_key(
    mortal: Mortal, place: tuple[HubProcess, Mosquitto], tmp_path: Path
) -> None:
    hub, broker = place
    tokens = iter(await hub.tokens(40))
    async with hub.operator() as operator, watched(broker):
        for last in range(1, 40):
            home = tmp_path / str(last)
            init = "init", "--hub", hub.code, "--broker", hub.address, "--token", next(tokens), "--json"
            thumbprint = (await mortal.works(home, *init))["thumbprint"]
            said = await mortal(last, home, "onboard")
            if said.code == 0:
                break
            assert said.code == -signal.SIGKILL
            status = await mortal.works(home, "onboard", "--json")
            assert (status["state"], status["thumbprint"]) == ("active", thumbprint)
            # Only the key that the hub holds opens it.
            await mortal.works(home, "send", f"reading {last}")
            await eventually(lambda thumbprint=thumbprint: kept(operator, thumbprint), [f"reading {last}"])
            (device,) = await operator.find(bytes.fromhex(thumbprint))
            assert (device.state, device.device_id.hex()) == ("onboarded", status["device_id"])
        assert 8 <= last < 39
        tokens_used = Counter(token.used for token in await operator.tokens())
        assert set(tokens_used) == {0, 1}


async def test_a_reading_whose_device_was_killed_is_sent_again_and_each_is_accepted_once(
    mortal: Mortal, place: tuple[HubProcess, Mosquitto], tmp_path: Path
) -> None:
    hub, broker = place
    home = tmp_path / "home"
    async with hub.operator() as operator, watched(broker):
        thumbprint = await on_board(mortal, hub, home)
        sent = []
        for last in range(1, MANY):
            said = await mortal(last, home, "send", f"killed {last}")
            if said.code == 0:
                break
            assert said.code == -signal.SIGKILL
            await mortal.works(home, "send", f"whole {last}")
            sent.append(f"whole {last}")
        assert 4 <= last < MANY

        async def whole() -> list[str]:
            return [text for text in await kept(operator, thumbprint) if text.startswith("whole")]

        await eventually(whole, sent)
        counts = Counter(await kept(operator, thumbprint))
        assert max(counts.values()) == 1
        assert (await mortal.works(home, "status", "--json"))["thumbprint"] == thumbprint


async def test_a_device_that_dies_on_the_way_to_a_command_hears_none_twice_and_answers_one_at_last(
    mortal: Mortal, place: tuple[HubProcess, Mosquitto], tmp_path: Path
) -> None:
    hub, broker = place
    home = tmp_path / "home"
    heard: Counter[str] = Counter()
    async with hub.operator() as operator, watched(broker):
        thumbprint = await on_board(mortal, hub, home)
        (device,) = await operator.find(bytes.fromhex(thumbprint))
        for last in range(1, MANY):
            listening = asyncio.create_task(mortal(last, home, "listen", "--reply", "done", "--count", "1"))
            # One that goes out before its epoch is confirmed is lost with the epoch, so more follow.
            while not listening.done():
                now = time.time()
                new = NewCommand(device.device_id, f"{last} {now}".encode(), now + 3600, now)
                await operator.command(new)
                await asyncio.wait({listening}, timeout=1)
            said = await listening
            heard.update(said.out.splitlines())
            if said.code == 0:
                break
            assert said.code == -signal.SIGKILL
        assert 4 <= last < MANY
        (answered,) = said.out.splitlines()

        async def answers() -> list[str]:
            found = [each for each in await operator.commands(1000) if each.device_id == device.device_id]
            return [f"command  {each.data.decode()}" for each in found if each.state == "answered"]

        async def answered_at_last() -> bool:
            return answered in await answers()

        await eventually(answered_at_last, True)
        assert max(heard.values()) == 1
        assert set(await answers()) <= set(heard)


async def on_board(mortal: Mortal, hub: HubProcess, home: Path) -> str:
    """The thumbprint of a new device in `home`."""
    (token,) = await hub.tokens(1)
    await mortal.works(home, "init", "--hub", hub.code, "--broker", hub.address, "--token", token)
    status = await mortal.works(home, "onboard", "--json")
    return str(status["thumbprint"])
