"""What the heap of the emulated Cortex-M3 has to hold: no step may grow by more than a twentieth.

The numbers are in board_heap.json beside this file. `pytest --record tests/e2e/test_board_heap.py` writes
what each step holds; the smallest heaps were found by trying, and a test runs in each of them.
"""

import json
from pathlib import Path

import mosquitto
import pytest
from board_figures import (
    CONNECTION,
    GROWTH,
    NUMBERS,
    ONBOARDING,
    Figure,
    figures,
    set_up_with_figures,
    smallest,
)
from board_files import compile_files, install, write_rom
from emulated_board import EmulatedBoard, World, image, needs_qemu
from quantum_module import QuantumModule

pytestmark = [mosquitto.needs_mosquitto, needs_qemu]
# A slow host sends message_2 twice now and then, and the board holds both: the least of a few runs counts.
ATTEMPTS = 3
SUITE = pytest.mark.parametrize("emulated", [-21], indirect=True)


def least(before: dict[str, Figure], now: dict[str, Figure]) -> dict[str, Figure]:
    """The smaller figure of each step."""
    return {step: Figure(*map(min, before.get(step, figure), figure)) for step, figure in now.items()}


def grown(part: str, found: dict[str, Figure]) -> list[str]:
    """Which steps hold or need more than a twentieth more than they did when it was recorded."""
    numbers = json.loads(NUMBERS.read_text()).get(part, {})
    return [
        f"{part}, {step}: {name} {now} bytes instead of {before}"
        for step, recorded in numbers.items()
        for name, now, before in zip(("holds", "needs"), found[step][:2], recorded, strict=True)
        if now > before * GROWTH
    ]


async def onboard(emulated: World, board: EmulatedBoard) -> bytes:
    """The device_id of a board whose reading has come."""
    device_id = bytes.fromhex(await board.said("onboard as"))
    await emulated.heard_from(device_id, 0)
    return device_id


@SUITE
async def test_no_step_of_an_onboarding_and_of_a_connection_holds_more_than_it_did(
    emulated: World, module: QuantumModule, pytestconfig: pytest.Config
) -> None:
    onboarding: dict[str, Figure] = {}
    connection: dict[str, Figure] = {}
    for attempt in range(ATTEMPTS):
        flash = emulated.folder / f"flash_{attempt}.img"
        board = await set_up_with_figures(emulated, module, "heap", flash=flash)
        onboarding = least(onboarding, await figures(board))
        await onboard(emulated, board)
        board.cut_power()
        board = emulated.board(module, options={"figures": "heap"}, flash=flash)
        connection = least(connection, await figures(board))
        board.cut_power()
        if not grown("onboarding", onboarding) + grown("connection", connection):
            break
    if pytestconfig.getoption("--record"):
        numbers = json.loads(NUMBERS.read_text())
        numbers["onboarding"] = {step: list(onboarding[step][:2]) for step in ONBOARDING}
        numbers["connection"] = {step: list(connection[step][:2]) for step in CONNECTION}
        NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")
    found = grown("onboarding", onboarding) + grown("connection", connection)
    assert found == [], "make it less, or record it with a word why"


@SUITE
async def test_an_onboarding_and_then_a_connection_run_in_their_smallest_heaps(
    emulated: World, module: QuantumModule
) -> None:
    board = await emulated.set_up(module, -21, heap=smallest("onboarding"))
    device_id = await onboard(emulated, board)
    board.cut_power()
    begin = len(emulated.readings)
    board = emulated.board(module, heap=smallest("connection"))
    await emulated.heard_from(device_id, begin)
    response = await emulated.hub.command(device_id, b"blink")
    assert response.data == b"done: blink"
    assert "the memory is full" not in " ".join(board.lines)


@SUITE
async def test_an_onboarding_from_files_in_the_flash_runs_in_its_smallest_heap(
    emulated: World, module: QuantumModule, tmp_path: Path
) -> None:
    bare = image(bare=True)
    board = emulated.board(module, image=bare)
    await board.prompt()
    await install(board, compile_files(tmp_path))
    board.cut_power()
    board = await emulated.set_up(module, -21, image=bare, heap=smallest("from files"))
    await onboard(emulated, board)


@SUITE
async def test_an_onboarding_from_a_romfs_runs_in_its_smallest_heap(
    emulated: World, module: QuantumModule, tmp_path: Path
) -> None:
    bare, rom = image(bare=True), tmp_path / "rom.img"
    board = emulated.board(module, image=bare)
    await board.prompt()
    await install(board, write_rom(rom))
    board.cut_power()
    board = await emulated.set_up(module, -21, image=bare, rom=rom, heap=smallest("from a romfs"))
    await onboard(emulated, board)
