"""A program as a stranger runs it: the file itself, in a process of its own, and what it says."""

import asyncio
import contextlib
import sys
from types import TracebackType
from typing import Self

from processes import PATIENCE, environment


class Program:
    """One process; `lines` are what it has said, on both outputs."""

    def __init__(self, *command: object, **more: str) -> None:
        self.lines: list[str] = []
        self._command = [str(word) for word in command]
        self._environment = {**environment(), **more}
        self._bell = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.ended()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.lines.append(line.decode(errors="replace").strip())
            self._bell.set()
        self._bell.set()

    async def said(self, beginning: str) -> str:
        """What follows `beginning` on a line that it says, now or soon."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines:
                    if line.startswith(beginning):
                        return line[len(beginning) :].strip()
                assert not self._reader.done(), self.lines
                self._bell.clear()
                await self._bell.wait()

    async def ended(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        async with asyncio.timeout(seconds):
            await self._reader
            return await self.process.wait()


def python(*words: object, **more: str) -> Program:
    """A Python program; `more` is its environment."""
    return Program(sys.executable, *words, **more)
