"""The smallest heap in which the emulated Cortex-M3 does its work, against a real hub through Mosquitto.

    python tests/bench/board_smallest_heap.py [onboarding connection files romfs] [--step KB]

onboarding  suite -21, handfast frozen: the key is made, the device onboards, its first reading comes
connection  the same board later, with its key: connect, a reading, a command
files       the onboarding with handfast as .mpy files in the flash
romfs       the same with the files in a ROMFS, where they are executed in place

Found by halving: a heap is enough when all of it happens and the board never says that its memory is full.
A new board each time. The figures and their gate are in tests/e2e/board_heap.json.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]
sys.path[:0] = [str(ROOT / "firmware_micropython" / name) for name in ("qemu", "native", "")]

from board_files import compile_files, install, write_rom  # noqa: E402
from emulated_board import EmulatedBoard, World, image  # noqa: E402
from quantum_module import QuantumModule  # noqa: E402

from handfast.core.errors import LinkTimeout  # noqa: E402

# Seconds for any one step; a heap that is too small shows at once.
PATIENCE = 40.0
SUITE = -21
KB = 1024
LARGEST = {"onboarding": 192 * KB, "connection": 96 * KB, "files": 512 * KB, "romfs": 256 * KB}
SMALLEST = 24 * KB


class Bench:
    """Tries heaps, each with a board of its own."""

    def __init__(self, world: World, module: QuantumModule) -> None:
        self._world = world
        self._module = module
        self._count = 0
        self._onboarded: Path | None = None
        self._flashes: dict[str, Path] = {}
        self._rom = world.folder / "rom.img"

    async def enough(self, kind: str, heap: int) -> bool:
        """Whether a heap of that many bytes is enough."""
        self._count += 1
        flash = self._world.folder / f"flash_{self._count}.img"
        if kind == "connection":
            await self._prepare()
            assert self._onboarded is not None
            shutil.copy(self._onboarded, flash)
            return await self._tried(flash, heap, {}, connect=True)
        wiring: dict[str, object] = {}
        if kind in ("files", "romfs"):
            wiring["image"] = image(bare=True)
            shutil.copy(await self._installed(kind), flash)
        if kind == "romfs":
            wiring["rom"] = self._rom
        return await self._tried(flash, heap, wiring, connect=False)

    async def _tried(self, flash: Path, heap: int, wiring: dict[str, object], connect: bool) -> bool:
        board: EmulatedBoard | None = None
        begin = len(self._world.readings)
        try:
            if connect:
                board = self._world.board(self._module, flash=flash, heap=heap, **wiring)
            else:
                board = await self._set_up(flash=flash, heap=heap, **wiring)
            device_id = bytes.fromhex(await self._said(board, "onboard as"))
            await self._until(board, lambda: device_id in [who for who, _ in self._world.readings[begin:]])
            if connect:
                response = await self._world.hub.command(device_id, b"blink", expires=30)
                if response.data != b"done: blink":
                    return False
            return not full(board)
        except (AssertionError, LinkTimeout):
            return False
        finally:
            for each in self._world.boards:
                each.cut_power()
            self.last = board.lines[-3:] if board is not None else ["it could not be set up"]

    async def _set_up(self, **wiring: object) -> EmulatedBoard:
        work = asyncio.create_task(self._world.set_up(self._module, SUITE, **wiring))
        try:
            while not work.done():
                await asyncio.sleep(0.05)
                assert not self._world.boards or not full(self._world.boards[-1])
            return work.result()
        finally:
            work.cancel()

    async def _said(self, board: EmulatedBoard, beginning: str) -> str:
        await self._until(board, lambda: any(line.startswith(beginning) for line in board.lines))
        return await board.said(beginning)

    async def _until(self, board: EmulatedBoard, come: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not come():
            assert not full(board) and board.process.poll() is None and time.monotonic() < end
            await asyncio.sleep(0.05)

    async def _prepare(self) -> None:
        if self._onboarded is None:
            flash = self._world.folder / "onboarded.img"
            board = await self._world.set_up(self._module, SUITE, flash=flash, heap=2048 * KB)
            await self._world.heard_from(bytes.fromhex(await board.said("onboard as")), 0)
            board.cut_power()
            self._onboarded = flash

    async def _installed(self, kind: str) -> Path:
        """The flash of a board that has the files and was not set up."""
        if kind not in self._flashes:
            flash = self._world.folder / f"{kind}.img"
            board = self._world.board(self._module, image=image(bare=True), flash=flash)
            await board.prompt()
            in_rom = kind == "romfs"
            folder = self._world.folder / "mpy"
            await install(board, write_rom(self._rom) if in_rom else compile_files(folder))
            board.cut_power()
            self._flashes[kind] = flash
        return self._flashes[kind]


def full(board: EmulatedBoard) -> bool:
    """Whether the board has said that its memory was not enough."""
    said = " ".join(board.lines)
    if "what its heap has left" in said:
        return True
    return "the memory is full" in said or "MemoryError" in said or "memory allocation failed" in said


async def find(bench: Bench, kind: str, step: int) -> int:
    """The smallest multiple of `step` bytes that is enough."""
    low, high = SMALLEST // step, LARGEST[kind] // step
    while high - low > 1:
        middle = (low + high) // 2
        good = await bench.enough(kind, middle * step)
        word = "enough" if good else "not enough: " + " | ".join(bench.last)
        print(f"  {kind}: {middle * step / KB:g} KB is {word}", flush=True)
        low, high = (low, middle) if good else (middle, high)
    return high * step


async def measure(kinds: list[str], step: int, folder: Path) -> None:
    """Print the smallest heap of each kind."""
    world, module = World(folder / "world", SUITE), QuantumModule()
    await world.start()
    try:
        bench = Bench(world, module)
        for kind in kinds:
            found = await find(bench, kind, step)
            print(f"{kind}: {found / KB:g} KB ({found} bytes)", flush=True)
    finally:
        await world.close()
        module.close()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=[], help="all of them when none is named")
    parser.add_argument("--step", type=float, default=2, metavar="KB", help="how exactly, 2 KB by default")
    chosen = parser.parse_args()
    unknown = [kind for kind in chosen.kinds if kind not in LARGEST]
    if unknown:
        parser.error(f"there is no {unknown[0]}; choose of {', '.join(LARGEST)}")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(chosen.kinds or list(LARGEST), int(chosen.step * KB), Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
