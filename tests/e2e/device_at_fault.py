"""`handfast` that kills itself (SIGKILL) where it writes its keystore; told what to do in lines of JSON.

Each line is [N, WORDS]: run `handfast WORDS` in a process of its own that dies at its N-th step on the
disk, or ends by itself when N is 0 or there are fewer steps. The answer is [CODE, STDOUT, STDERR],
where -9 is the code of a death. The steps are what a kill can fall between: each write of a file, of
which one half still happens; each fsync of one, when all of it is written; each unlink. The
imports are done once, before the fork, which makes hundreds of such processes cheap.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handfast_cpython.device_home
import handfast_cpython.keystore
import handfast_cpython.qrng_device  # what a child would import
from handfast_cpython import cli


class DyingSystem:
    """The module `os` as the keystore sees it; step number `last` is the last one, 0 is none."""

    def __init__(self, last: int) -> None:
        self._left = last
        self._written: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        """os.write."""
        self._step(lambda: os.write(descriptor, data[: len(data) // 2]))
        self._written.add(descriptor)
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """os.fsync."""
        # What was only looked at is synced too; nothing depends on that for a process that is killed.
        if descriptor in self._written:
            self._written.discard(descriptor)
            self._step()
        os.fsync(descriptor)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        """os.unlink."""
        self._step()
        os.unlink(path, dir_fd=dir_fd)

    def _step(self, first: Callable[[], object] = lambda: None) -> None:
        self._left -= 1
        if self._left == 0:
            first()
            os.kill(os.getpid(), signal.SIGKILL)


def child(last: int, words: list[str], out: Any, err: Any) -> None:
    """The command, in the process that may die."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.argv = ["handfast", *words]
        handfast_cpython.keystore.os = DyingSystem(last)  # type: ignore[attr-defined]
        cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve the test until the input ends."""
    while line := sys.stdin.readline():
        last, words = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            with out.open("wb") as to_out, err.open("wb") as to_err:
                process = os.fork()
                if process == 0:
                    child(last, words, to_out, to_err)
                _, status = os.waitpid(process, 0)
            answer = [os.waitstatus_to_exitcode(status), out.read_text(), err.read_text()]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
