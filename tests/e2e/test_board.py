"""The emulated Cortex-M3 against the real hub, through a real Mosquitto; a power cut is a kill."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import board_world
import emulator
import mosquitto
import pytest
from board_world import PATIENCE
from emulated_board import EmulatedBoard, image, needs_qemu, set_up
from quantum_module import QuantumModule

pytestmark = [mosquitto.needs_mosquitto, needs_qemu]


class World(board_world.World):
    """Its boards are emulated, one after the other, with the same flash."""

    def board(self, module: QuantumModule, **wiring: object) -> EmulatedBoard:
        """Switch the board on."""
        usual = {
            "flash": self.folder / "flash.img",
            "broker": emulator.tcp(self.broker.host, self.broker.port),
            "quantum": f"serial,path={module.path}",
        }
        board = EmulatedBoard(image(), **{**usual, **wiring})
        self.boards.append(board)
        return board

    async def set_up(self, module: QuantumModule, suite: int = -22, **wiring: object) -> EmulatedBoard:
        """A new board with a token of the hub, at its first start after it was set up."""
        board = self.board(module, **wiring)
        await set_up(
            board,
            self.hub_code(),
            await self.token(),
            broker="uart:1",
            qrng=f"uart:2#min-entropy={module.claim}",
            suites=[suite],
            period=1,
        )
        board.restart()
        return board


@pytest.fixture
def module() -> Iterator[QuantumModule]:
    source = QuantumModule()
    yield source
    source.close()


@pytest.fixture
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(tmp_path / "world", getattr(request, "param", -22))
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
    again = world.board(module)
    assert bytes.fromhex(await again.said("onboard as")) == device_id
    assert (await world.heard(begin, lambda data: data == b"reading 1"))[0] == device_id
    response = await world.hub.command(device_id, b"blink twice", expires=PATIENCE)
    assert response.data == b"done: blink twice"
    devices = await world.hub.operator.devices("onboarded")
    assert [device.device_id for device in devices] == [device_id]
