"""`handfast` and `handfast-hub` as a person types them: processes, what they say and how they end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from processes import HERE, PATIENCE, environment

# Where `pip install` puts the two commands of this tree.
BIN = Path(sys.executable).parent
# Root may write where no mode lets it; without its capabilities it is a user like any other.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
SETPRIV = not UNPRIVILEGED or shutil.which("setpriv") is not None
# What a device says while it keeps trying; the error is what it says last.
PROGRESS = ("trying: ", "waiting: ", "enrolled: ", "active: ")


class Said(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error, which is the only line that is no progress."""
        lines = [line for line in self.err.splitlines() if not line.startswith(PROGRESS)]
        assert len(lines) == 1, f"one sentence was expected:\n{self.err}"
        name, _, text = lines[0].partition(": ")
        assert name in ("handfast", "handfast-hub"), lines[0]
        return text


class Command:
    """One of the two programs, with options that every call has."""

    def __init__(
        self, program: str, *before: str, after: tuple[str, ...] = (), clock: Path | None = None
    ) -> None:
        """The file `clock` says by how many seconds its wall clock is off (clock_off.py)."""
        line = [str(BIN / program)]
        if clock is not None:
            line = [sys.executable, str(HERE / "clock_off.py"), str(clock), program]
        self._line = [*line, *before]
        self._after = after

    def start(self, *words: str, unprivileged: bool = False, **more: Any) -> "subprocess.Popen[bytes]":
        """Start it; whoever does so ends it. `environ` is added to the environment."""
        line = [*(UNPRIVILEGED if unprivileged else []), *self._line, *words, *self._after]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environ = {**environment(), **more.pop("environ", {})}
        return subprocess.Popen(line, env=environ, **{**streams, **more})

    def __call__(self, *words: str, given: bytes | None = None, **more: Any) -> Said:
        """Run it to its end; `given` is its standard input."""
        if given is not None:
            more["stdin"] = subprocess.PIPE
        return ended(self.start(*words, **more), given)

    def works(self, *words: str, **more: Any) -> str:
        """What it prints; it has to end well."""
        said = self(*words, **more)
        assert said.code == 0, f"{words} ended with {said.code}: {said.err}"
        return said.out

    def json(self, *words: str, **more: Any) -> Any:
        """The value that it prints."""
        return json.loads(self.works(*words, "--json", **more))

    def fails(self, code: int, *words: str, **more: Any) -> str:
        """The one sentence with which it fails, and nothing else."""
        said = self(*words, **more)
        assert said.code == code, f"{words} ended with {said.code}, not {code}: {said.out}{said.err}"
        assert said.out == "", said.out
        return said.sentence

    @contextlib.contextmanager
    def running(self, *words: str) -> "Iterator[subprocess.Popen[bytes]]":
        """It runs until the end of the block, and ends as Ctrl-C ends it."""
        with self.start(*words) as process:
            try:
                yield process
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=PATIENCE)
                assert (process.returncode, err) == (130, b"")
            finally:
                process.kill()


def ended(process: "subprocess.Popen[bytes]", given: bytes | None = None) -> Said:
    """What a process said, when it has ended."""
    with process:
        try:
            out, err = process.communicate(given, timeout=PATIENCE)
        finally:
            process.kill()
    return Said(process.returncode, (out or b"").decode(), (err or b"").decode())


def handfast(home: Path, clock: Path | None = None) -> Command:
    """The device in `home`."""
    return Command("handfast", after=("--home", str(home)), clock=clock)


def handfast_hub(config: Path, clock: Path | None = None) -> Command:
    """The hub of the file `config`."""
    return Command("handfast-hub", "--config", str(config), clock=clock)


def until(seen: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until `seen()` is true."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
