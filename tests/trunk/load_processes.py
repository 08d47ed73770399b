"""The processes of a load run: two hubs that talk in JSON lines, two KMEs and the line between them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

HUB = Path(__file__).with_name("load_hub.py")
ROOT = Path(__file__).parents[2]
# Far more than a process takes to do anything here, on a machine that does other things too.
PATIENCE = 180.0


class Ended(Exception):
    """A process of the run ended by itself."""


class Process:
    """A child in a group of its own, so that Ctrl-C reaches the parent alone."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if self.talks else log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(HUB.parent)},
            )

    talks = False

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()

    def said(self) -> str:
        """The end of what it wrote to its log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""


class HubProcess(Process):
    """load_hub.py; `counts`, `wrong` and `cpu` are its newest report."""

    talks = True

    def __init__(self, role: str, file: Path, size: int) -> None:
        command = [sys.executable, str(HUB), role, str(file), str(size)]
        super().__init__(file.parent.name, command, file.parent / "stderr.log")
        self.counts: dict[str, int] = {}
        self.wrong: dict[str, int] = {}
        self.cpu = 0.0
        self._cpu_before = 0.0
        self._lines: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._status: asyncio.Future[dict[str, Any]] | None = None
        self._killed = False

    async def start(self) -> None:
        """Start, and wait until the hub serves."""
        await super().start()
        self._killed = False
        self._ready = asyncio.get_running_loop().create_future()
        self._lines = asyncio.create_task(self._read())
        await asyncio.wait_for(self._ready, PATIENCE)

    async def kill(self) -> None:
        self._killed = True
        await super().kill()
        if self._lines is not None:
            await asyncio.gather(self._lines, return_exceptions=True)
        self._cpu_before, self.cpu = self._cpu_before + self.cpu, 0.0

    async def stop(self) -> None:
        """Close its input and let it end in its own time."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        self._killed = True
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE)
        await self.kill()

    @property
    def seconds(self) -> float:
        """CPU of all its lives."""
        return self._cpu_before + self.cpu

    def check(self) -> None:
        """Ended, unless it runs or was killed on purpose."""
        if self._lines is not None and self._lines.done() and not self._killed:
            raise Ended(f"the hub {self.name} ended by itself: {self.said()}")

    async def ask(self) -> dict[str, Any]:
        """The status of its trunk and its hub_id."""
        self._status = asyncio.get_running_loop().create_future()
        self.tell("status")
        return await asyncio.wait_for(self._status, PATIENCE)

    def tell(self, *words: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.write((json.dumps(words) + "\n").encode())

    async def _read(self) -> None:
        process = self._process
        assert process is not None and process.stdout is not None
        while line := await process.stdout.readline():
            said = json.loads(line)
            kind = said.pop("kind")
            if kind == "counts":
                self.counts, self.cpu = said["counts"], said["cpu"]
                # A new life counts from nothing, and what was wrong before stays wrong.
                for name, count in said["wrong"].items():
                    self.wrong[name] = max(self.wrong.get(name, 0), count)
            elif kind == "ready" and self._ready is not None:
                self._ready.set_result(None)
            elif kind == "status" and self._status is not None and not self._status.done():
                self._status.set_result(said)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(Ended(f"the hub {self.name} did not start: {self.said()}"))


def kme_process(file: Path, option: str, name: str) -> Process:
    """A KME, or the line between them, of a network.toml."""
    command = [sys.executable, "-m", "handfast_kme", "serve", str(file), f"--{option}", name]
    return Process(f"{option} {name}", command, file.parent / f"{option}-{name}.log")


async def run(*command: str, log: Path) -> None:
    """Run a command to its end; Ended when it fails."""
    process = Process(command[0], [sys.executable, *command], log)
    await process.start()
    assert process._process is not None
    try:
        code = await asyncio.wait_for(process._process.wait(), PATIENCE)
    except BaseException:
        await process.kill()
        raise
    if code:
        raise Ended(f"{command} failed: {process.said()}")
