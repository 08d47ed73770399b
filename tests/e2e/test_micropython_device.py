"""A board on MicroPython against the real hub, through a real Mosquitto; a power cut is a kill.

The board is the unix port with the ports of a board: its flash is a folder, its quantum module the
simulated photonic source at the other end of a serial line.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import board_world
import mosquitto
import on_micropython
import pytest
from board_world import PATIENCE, Board
from build_unix_port import BuildError, unix_port
from quantum_module import QuantumModule

from handfast.core.base32 import b32encode
from handfast.core.topics import enrolled, hub_subscriptions
from handfast_hub.mqtt.ingress import MqttIngress

pytestmark = mosquitto.needs_mosquitto
ROOT = on_micropython.ROOT


@pytest.fixture(scope="module")
def program() -> Path:
    """The unix port with the words of this machine."""
    own = os.environ.get("MICROPYTHON")
    try:
        return Path(own) if own else unix_port()
    except BuildError as error:
        pytest.skip(f"MicroPython: {error}")


class World(board_world.World):
    """Its boards are processes of the unix port."""

    def __init__(self, folder: Path, program: Path, suite: int) -> None:
        super().__init__(folder, suite)
        self._program = program

    def board(self, **values: object) -> Board:
        """Switch the board on. The first time `values` has its configuration."""
        script = ROOT / "tests" / "e2e" / "micropython_device.py"
        command = [
            str(self._program),
            "-X",
            "heapsize=8m",
            str(script),
            str(ROOT),
            str(self.folder / "flash"),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(values).encode())
        process.stdin.close()
        board = Board(process)
        self.boards.append(board)
        return board

    async def set_up(self, module: QuantumModule, suite: int = -22) -> Board:
        """A new board with a token of the hub."""
        return self.board(
            hub=self.hub_code(),
            token=await self.token(),
            broker=self.broker.host,
            port=self.broker.port,
            qrng=module.spec,
            suites=[suite],
            period=1,
        )


@pytest.fixture
async def world(tmp_path: Path, program: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(tmp_path / "world", program, getattr(request, "param", -22))
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(("world", "suite"), [(-21, -21), (-22, -22), (-24, -24)], indirect=["world"])
async def test_a_board_onboards_sends_obeys_and_resumes_after_a_power_cut(
    world: World, module: QuantumModule, suite: int
) -> None:
    board = await world.set_up(module, suite)
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await world.heard(0, lambda data: True) == (device_id, b"reading 1")
    response = await world.hub.command(device_id, b"blink", expires=PATIENCE)
    assert (response.status, response.data) == (0, b"done: blink")
    board.cut_power()

    begin = len(world.readings)
    again = world.board()
    assert bytes.fromhex(await again.said("onboard as")) == device_id
    assert (await world.heard(begin, lambda data: data == b"reading 1"))[0] == device_id
    response = await world.hub.command(device_id, b"blink twice", expires=PATIENCE)
    assert response.data == b"done: blink twice"
    devices = await world.hub.operator.devices("onboarded")
    assert [device.device_id for device in devices] == [device_id]


async def test_a_board_waits_for_a_broker_that_is_away_and_comes_back_when_it_restarts(
    world: World, module: QuantumModule
) -> None:
    world.broker.stop()
    board = await world.set_up(module)
    await board.said("claim code")
    world.broker.start()
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await world.heard(0, lambda data: True) == (device_id, b"reading 1")
    world.broker.stop()
    begin = len(world.readings)
    world.broker.start()
    assert (await world.heard(begin, lambda data: True))[0] == device_id
    assert len(await world.hub.operator.devices("onboarded")) == 1


async def test_a_quantum_module_that_is_silent_at_boot_is_an_error_until_it_speaks(
    world: World, module: QuantumModule
) -> None:
    board = await world.set_up(module)
    await board.said("claim ")
    board.cut_power()
    module.become("silent")
    board = world.board()
    assert "silent for 5 seconds" in await board.said("the quantum source:")
    assert await world.hub.operator.devices("onboarded") == []
    module.become("well")
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await world.heard(0, lambda data: True) == (device_id, b"reading 1")


async def test_a_revoked_board_stops_and_says_why(world: World, module: QuantumModule) -> None:
    board = await world.set_up(module)
    device_id = bytes.fromhex(await board.said("onboard as"))
    (device,) = await world.hub.operator.devices("onboarded")
    assert device.device_id == device_id
    await world.hub.revoke(device.thumbprint, "lost")
    assert any("RefusedError" in line for line in await board.ended())
    assert any("RefusedError" in line for line in await world.board().ended())


async def test_payloads_of_every_size_pass_mosquitto_both_ways(tmp_path: Path, program: Path) -> None:
    hub_kid, device_id = bytes(8), bytes(range(8))
    script = ROOT / "tests" / "e2e" / "micropython_echo.py"
    with mosquitto.running(tmp_path / "broker", b32encode(hub_kid)) as broker:
        hub = MqttIngress(
            broker.host, broker.port, client_id="hub", username=broker.username, password=broker.password
        )

        def echo(topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
            hub.publish(topic.replace("/up/", "/dn/"), payload)
            acknowledge()

        await hub.start(hub_subscriptions(hub_kid), echo)
        arguments = [str(ROOT), broker.host, str(broker.port), *enrolled(hub_kid, device_id)[:3]]
        command = [str(program), str(script), *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        await hub.close()
    assert done.stdout.strip().splitlines()[-1:] == ["echoed 0 1 127 128 1000 16384 65000"], done
