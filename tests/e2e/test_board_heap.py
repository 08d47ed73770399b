"""What the heap of the emulated Cortex-M3 has to hold: no step may grow by more than a twentieth.

The numbers are in board_heap.json beside this file. `pytest --record tests/e2e/test_board_heap.py` writes
what each step holds; the smallest heaps were found by trying, and a test runs in each of them.
"""

import json
from pathlib import Path

import mosquitto
import pytest
from board_figures import CONNECTION, ONBOARDING, Figure, figures, set_up_with_figures
from board_files import compile_files, install
from emulated_board import EmulatedBoard, World, image, needs_qemu
from quantum_module import QuantumModule

pytestmark = [mosquitto.needs_mosquitto, needs_qemu]
NUMBERS = Path(__file__).with_name("board_heap.json")
GROWTH = 1.05
SUITE = pytest.mark.parametrize("emulated", [-21], indirect=True)


def judge(part: str, found: dict[str, Figure], steps: tuple[str, ...], record: bool) -> None:
    """Compare what each step holds and needs with what it did when it was recorded."""
    numbers = json.loads(NUMBERS.read_text())
    assert [step for step in steps if step not in found] == []
    if record:
        numbers[part] = {step: [found[step].held, found[step].peak] for step in steps}
        NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")
        return
    grown = [
        f"{step}: {name} {now} bytes instead of {before}"
        for step in steps
        for name, now, before in zip(("holds", "needs"), found[step], numbers[part][step], strict=False)
        if now > before * GROWTH
    ]
    assert grown == [], "make it less, or record it with a word why"


def smallest(kind: str) -> int:
    """The heap in bytes that a test runs in: a twentieth more than the smallest that was enough."""
    return int(json.loads(NUMBERS.read_text())["smallest"][kind] * GROWTH)


async def onboard(emulated: World, board: EmulatedBoard) -> bytes:
    """The device_id of a board whose reading has come."""
    device_id = bytes.fromhex(await board.said("onboard as"))
    await emulated.heard_from(device_id, 0)
    return device_id


@SUITE
async def test_no_step_of_an_onboarding_and_of_a_connection_holds_more_than_it_did(
    emulated: World, module: QuantumModule, pytestconfig: pytest.Config
) -> None:
    record = bool(pytestconfig.getoption("--record"))
    board = await set_up_with_figures(emulated, module, "heap")
    judge("onboarding", await figures(board), ONBOARDING, record)
    await onboard(emulated, board)
    board.cut_power()
    board = emulated.board(module, options={"figures": "heap"})
    judge("connection", await figures(board), CONNECTION, record)


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
