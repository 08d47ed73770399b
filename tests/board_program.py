"""Runs a MicroPython program on the emulated board, at its raw prompt, and gives what it printed.

    run(image, "print(1 + 1)")          "2\\n"

The repository is at /host there. BoardError has the traceback of a program that fails.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "firmware_micropython" / name) for name in ("qemu", "")]

import emulator  # noqa: E402

RAW_PROMPT, RUN, END = b"\x01", b"\x04", b"\x04"
# Compiling on the board takes more heap and more stack than what runs there as a rule.
HEAP = 3 << 20
STACK = 64 << 10
PATIENCE = 300.0


class BoardError(Exception):
    """What a program on the board said when it failed."""


def run(
    image: Path,
    program: str,
    *,
    board: str = "an385",
    heap: int = HEAP,
    stack: int = STACK,
    flash: Path | None = None,
    icount: str | None = None,
    patience: float = PATIENCE,
) -> str:
    """What `program` prints; `heap` and `stack` in bytes, `patience` in seconds, `icount` as QEMU's."""
    options: dict[str, object] = {"host": ROOT, "listing": _listing(), "main": 0, "stack": stack}
    line = emulator.command(image, board=board, flash=flash, heap=heap, icount=icount, options=options)
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(patience, process.kill)
        watch.start()
        try:
            process.stdin.write(RAW_PROMPT + program.encode() + RUN)
            process.stdin.flush()
            heard = b""
            while heard.count(END) < 2:
                part = process.stdout.read1(4096)  # type: ignore[attr-defined]
                if not part:
                    raise BoardError("the board ended: " + heard.decode(errors="replace"))
                heard += part
        finally:
            watch.cancel()
            process.kill()
    said, error, _ = heard.partition(b">OK")[2].replace(b"\r\n", b"\n").split(END, 2)
    if error:
        raise BoardError((said + error).decode(errors="replace"))
    return said.decode()


def _listing() -> Path:
    """A file with the names of all files that tests may look for: a board cannot list a folder."""
    names = [
        path.relative_to(ROOT).as_posix()
        for folder in ("sdk", "firmware_micropython", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    listing = ROOT / ".build" / "host_listing"
    listing.parent.mkdir(exist_ok=True)
    # Whole at every moment: another process may be starting a board.
    part = listing.with_suffix(f".{os.getpid()}")
    part.write_text("\n".join(sorted(names)))
    part.replace(listing)
    return listing
