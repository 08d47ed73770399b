"""The emulated Cortex-M3 against the real hub, through a real Mosquitto; a power cut is a kill."""

import asyncio
import contextlib

import emulator
import mosquitto
import pytest
from board_world import PATIENCE
from emulated_board import World, needs_qemu
from quantum_module import QuantumModule
from tapped_line import Tap

pytestmark = [mosquitto.needs_mosquitto, needs_qemu]


@pytest.mark.parametrize(("emulated", "suite"), [(-21, -21), (-22, -22), (-24, -24)], indirect=["emulated"])
async def test_a_board_onboards_sends_obeys_and_resumes_after_a_power_cut(
    emulated: World, module: QuantumModule, suite: int
) -> None:
    board = await emulated.set_up(module, suite)
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await emulated.heard(0, lambda data: True) == (device_id, b"reading 1")
    response = await emulated.hub.command(device_id, b"blink", expires=PATIENCE)
    assert (response.status, response.data) == (0, b"done: blink")
    board.cut_power()

    begin = len(emulated.readings)
    again = emulated.board(module)
    assert bytes.fromhex(await again.said("onboard as")) == device_id
    assert (await emulated.heard(begin, lambda data: data == b"reading 1"))[0] == device_id
    response = await emulated.hub.command(device_id, b"blink twice", expires=PATIENCE)
    assert response.data == b"done: blink twice"
    devices = await emulated.hub.operator.devices("onboarded")
    assert [device.device_id for device in devices] == [device_id]


# Where the power goes, and whether the packet still reaches the other side.
CUTS = (
    ("connect", True),
    ("message_1", False),
    ("message_1", True),
    ("message_2", False),
    ("message_2", True),
    ("message_3", False),
    ("message_3", True),
    ("message_4", False),
    ("message_4", True),
    ("up control", False),
    ("up control", True),
    ("dn control", False),
    ("dn control", True),
    ("up telemetry", False),
)


# Boards at once: each waits for its line now and then.
LANES = 3


async def test_the_power_may_go_at_every_step_of_the_handshake_and_after_it(emulated: World) -> None:
    cuts = list(enumerate(CUTS))

    async def lane(first: int) -> None:
        with contextlib.closing(QuantumModule()) as module:
            async with Tap(emulated.broker.port) as tap:
                for number, (step, deliver) in cuts[first::LANES]:
                    await cut(emulated, module, tap, number, step, deliver)

    await asyncio.gather(*[lane(first) for first in range(LANES)])
    # Every board was onboarded once, however often it tried.
    devices = await emulated.hub.operator.devices("onboarded")
    assert len(devices) == len(CUTS) == len({device.thumbprint for device in devices})


async def cut(
    emulated: World, module: QuantumModule, tap: Tap, number: int, step: str, deliver: bool
) -> None:
    """A new board that loses its power at `step`, and what it does when it has power again."""
    wiring = {
        "flash": emulated.folder / f"flash_{number}.img",
        "broker": emulator.tcp("127.0.0.1", tap.port),
    }
    tap.stop_at(step, deliver)
    board = await emulated.set_up(module, **wiring)
    await tap.reached(PATIENCE)
    board.cut_power()
    gone = len(tap.passed)
    tap.open()

    again = emulated.board(module, **wiring)
    device_id = bytes.fromhex(await again.said("onboard as"))
    begin = len(emulated.readings)
    await emulated.heard_from(device_id, begin)
    again.cut_power()
    if step.startswith(("up", "dn")):
        # The key was in the flash before anything was sealed with it.
        assert "message_1" not in tap.passed[gone:], (step, deliver)
    elif step != "message_4" or not deliver:
        # Before message_4 there is no key to keep.
        assert "message_1" in tap.passed[gone:], (step, deliver)
