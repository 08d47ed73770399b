"""A board as it comes, with MicroPython and nothing else, and handfast flash as a process beside it.

The board is the emulated one; its prompt is a TCP port, its flash a file. A kill of it is a power cut.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import emulator
from emulated_board import image
from free_ports import free_port
from processes import PATIENCE, HubProcess, environment

from handfast.core.codes import encode_hub_code
from handfast_cpython.crypto import Crypto
from handfast_cpython.raw_repl import RawRepl

# What the files of a device take when they lie in a file system, and a handshake beside them.
HEAP = 448 * 1024
OURS = ("/lib/handfast/", "/lib/handfast_micropython/")
# A hub that nobody runs: a board is set up without talking to it.
HUB = encode_hub_code(Crypto(), bytes(range(32)))
SETTINGS = ("--board", "qemu", "--hub", HUB, "--broker", "uart:1")


class FlashedBoard:
    """One emulated board: `port` is what `handfast flash --port` takes."""

    def __init__(
        self,
        folder: Path,
        broker: str = emulator.NOTHING,
        bare: bool = True,
        rom: Path | None = None,
        heap: int = HEAP,
    ) -> None:
        """`rom`: the file that is its partition for a ROMFS; without one it has none."""
        self.rom = rom
        self._heap = heap
        self.flash = folder / "flash.img"
        self.address = free_port()
        self.port = f"socket://127.0.0.1:{self.address}"
        self._image = image(bare=bare)
        self._broker = broker
        self._process: subprocess.Popen[bytes] | None = None

    def switch_on(self) -> None:
        """Start, and wait until somebody can call at the prompt."""
        line = emulator.command(
            self._image,
            flash=self.flash,
            rom=self.rom,
            repl=emulator.listening(self.address),
            broker=self._broker,
            heap=self._heap,
        )
        self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.address)) == 0:
                    return
            assert self._process.poll() is None and time.monotonic() < end, "the emulator did not start"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)

    def cut_power(self) -> None:
        """Kill it; may be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def power_cycle(self) -> None:
        """Off and on."""
        self.cut_power()
        self.switch_on()

    def ask(self, program: str) -> Any:
        """The value that a program prints last, at the raw prompt; the board then stands still."""
        with RawRepl(self.port) as repl:
            return repl.ask(program)

    def files(self) -> set[str]:
        """Every file on it."""
        program = (
            "import os\n"
            "def look(folder):\n"
            "    found = []\n"
            "    for entry in os.ilistdir(folder or '/'):\n"
            "        path = folder + '/' + entry[0]\n"
            "        found += look(path) if entry[1] & 0x4000 else [path]\n"
            "    return found\n"
            "print(look(''))"
        )
        return set(self.ask(program))

    def __enter__(self) -> "FlashedBoard":
        self.switch_on()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cut_power()


def run(
    *words: str, typed: str = "", settings: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`handfast flash` with these words, `typed` at its standard input and `settings` in its environment."""
    command = [sys.executable, "-m", "handfast_cpython.cli", "flash", *words]
    return subprocess.run(
        command,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * PATIENCE,
        env={**environment(), **(settings or {})},
    )


def flashed(*words: str, **how: Any) -> dict[str, Any]:
    """What `handfast flash --json` says on its one line, when all goes well."""
    done = run(*words, "--json", **how)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    value: dict[str, Any] = json.loads(lines[0])
    return value


def hub_says(hub: HubProcess, *words: str) -> str:
    """`handfast-hub` with these words, as its operator types them."""
    command = [sys.executable, "-m", "handfast_hub.cli", "--config", str(hub.file), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Cable:
    """A cable to a board that breaks after so many bytes towards it: `port` is the near end."""

    def __init__(self, board: FlashedBoard, length: int) -> None:
        self.broken = False
        self._board = board
        self._left = length
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._door.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._carry, daemon=True)]
        self._threads[0].start()

    def _carry(self) -> None:
        near, _ = self._door.accept()
        far = socket.create_connection(("127.0.0.1", self._board.address))
        self._ends += [near, far]
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        self._threads.append(back)
        back.start()
        with contextlib.suppress(OSError):
            while data := near.recv(4096):
                far.sendall(data[: self._left])
                self._left -= len(data)
                if self._left < 0:
                    # The power goes with it: the board has no time to say another word.
                    self.broken = True
                    self._board.cut_power()
                    break
        _hang_up(near, far)

    def close(self) -> None:
        """Take it away."""
        self._door.close()
        _hang_up(*self._ends)
        for thread in self._threads:
            thread.join(PATIENCE)
        for end in self._ends:
            end.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data)
    _hang_up(target)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cable(board: FlashedBoard, length: int) -> Iterator[Cable]:
    """A cable for one run."""
    made = Cable(board, length)
    try:
        yield made
    finally:
        made.close()
