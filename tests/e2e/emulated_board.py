"""The board that QEMU emulates, for tests: its flash is a file, and a kill of the emulator a power cut.

UART1 goes straight to the broker's TCP port and UART2 to a quantum module; the prompt is at our pipe.
"""

import asyncio
import contextlib
import json
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import emulator
import pytest
from board_world import Board
from build_qemu_port import firmware
from micropython_build import BuildError

RAW, RUN, FRIENDLY, RESTART, STOP = b"\x01", b"\x04", b"\x02", b"\x04", b"\x03"
needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="the emulated board needs qemu-system-arm and gcc-arm-none-eabi: apt-get install them",
)
# What begins a line that answers us, in whatever else the board says.
MARK = "answer "


def image(board: str = "an385", bare: bool = False) -> Path:
    """The firmware; the test is skipped where it cannot be built."""
    try:
        return firmware(board, bare)
    except BuildError as error:
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
        self.send(STOP + b"\r" + RAW)
        await self.said("raw REPL", begin)

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
    await asyncio.sleep(0)
    return claim
