"""The board that QEMU emulates and its world, for tests.

Its flash is a file, and a kill of the emulator a power cut. UART1 goes straight to the broker's TCP port and
UART2 to a quantum module; the prompt is at our pipe.
"""

import asyncio
import contextlib
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import board_world
import emulator
import pytest
from board_world import PATIENCE, Board
from build_qemu_port import firmware
from micropython_build import BuildError
from quantum_module import QuantumModule

RAW, RUN, FRIENDLY, RESTART, STOP = b"\x01", b"\x04", b"\x02", b"\x04", b"\x03"
needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="the emulated board needs qemu-system-arm and gcc-arm-none-eabi: apt-get install them",
)
# What begins a line that answers us, in whatever else the board says.
MARK = "answer "


def image(board: str = "an385", bare: bool = False) -> Path:
    """The firmware; outside CI the test is skipped where it cannot be built."""
    try:
        return firmware(board, bare)
    except BuildError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no firmware: {error}")


class EmulatedBoard(Board):
    """One run of the emulator."""

    def __init__(self, image: Path, **wiring: object) -> None:
        """`wiring` as for emulator.command."""
        line = emulator.command(image, **wiring)  # type: ignore[arg-type]
        # Python ignores SIGXFSZ, and so must QEMU: a flash that cannot be written is an error to the board.
        super().__init__(
            subprocess.Popen(
                line,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                restore_signals=False,
            )
        )

    def send(self, data: bytes) -> None:
        """To the prompt."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    async def prompt(self) -> None:
        """Interrupt what runs, and wait for the raw prompt."""
        begin = len(self.lines)
        end = time.monotonic() + PATIENCE
        # What comes while the board is still starting is lost.
        while not any(line.startswith("raw REPL") for line in self.lines[begin:]):
            assert time.monotonic() < end and self.process.poll() is None, self.lines
            self.send(STOP + b"\r" + RAW)
            await asyncio.sleep(0.5)

    async def run(self, program: str) -> object:
        """Run a program at the raw prompt; the JSON value of what it binds to `answer`."""
        begin = len(self.lines)
        tail = f"\nimport json\nprint()\nprint({MARK!r} + json.dumps(answer))\n"
        self.send(program.encode() + tail.encode() + RUN)
        return json.loads(await self.said(MARK, begin))

    def restart(self) -> None:
        """From the raw prompt to a new start; what is in the flash stays."""
        self.send(FRIENDLY + RESTART)

    @contextlib.contextmanager
    def broken_flash(self) -> Iterator[None]:
        """While it lasts the host takes no byte of the emulator for a file."""
        pid = self.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def set_up(board: EmulatedBoard, hub: str, token: str | None, **values: object) -> str:
    """Set the board up at its prompt as the README says; its claim code. It is at the prompt after that."""
    await board.prompt()
    program = (
        "import asyncio\n"
        "from handfast_micropython import Board, main\n"
        f"board = Board(qrng={values['qrng']!r})\n"
        f"answer = asyncio.run(main.set_up(board, {hub!r}, {token!r}, 'emulated board', **{values!r}))\n"
    )
    claim = await board.run(program)
    assert isinstance(claim, str)
    return claim


class World(board_world.World):
    """Its boards are emulated, one after the other, with the same flash."""

    def board(self, module: QuantumModule, **wiring: object) -> EmulatedBoard:
        """Switch the board on."""
        usual = {
            "flash": self.folder / "flash.img",
            "broker": emulator.tcp(self.broker.host, self.broker.port),
            "quantum": f"serial,path={module.path}",
        }
        firmware = wiring.pop("image", None) or image()
        assert isinstance(firmware, Path)
        board = EmulatedBoard(firmware, **{**usual, **wiring})
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
