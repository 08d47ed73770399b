"""How the narrator of the demo talks to its processes: one JSON line there, one back."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

Command = Callable[..., Awaitable[Any]]


class Child:
    """One of the processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._busy = asyncio.Lock()

    @classmethod
    async def start(cls, program: Path, *arguments: object, log: Path | None = None) -> "Child":
        """Start `program`, which calls `serve`; its standard error goes to `log`, or where ours goes."""
        pipe = asyncio.subprocess.PIPE
        with contextlib.ExitStack() as stack:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(program),
                *(str(argument) for argument in arguments),
                stdin=pipe,
                stdout=pipe,
                stderr=None if log is None else stack.enter_context(log.open("wb")),
                limit=2**24,
                # Ctrl-C reaches the narrator alone, who ends the others. If he is killed, their input ends.
                start_new_session=True,
            )
        return cls(process)

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Let the process do `name`; RuntimeError with its words when it cannot."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("this process has no pipes")
        async with self._busy:
            stdin.write(json.dumps([name, arguments]).encode() + b"\n")
            line = await stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended during {name!r}")
        good, value = json.loads(line)
        if not good:
            raise RuntimeError(f"{name}: {value}")
        return value

    async def stop(self) -> None:
        """End the process by closing its input; by force when it does not end within 20 s."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def serve(asks: Iterable[Command]) -> None:
    """In the child: do what is asked, each by its name, until the input ends."""
    commands = {ask.__name__: ask for ask in asks}
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, arguments = json.loads(line)
        try:
            answer = [True, await commands[name](**arguments)]
        except Exception as error:
            answer = [False, f"{type(error).__name__}: {error}"]
        print(json.dumps(answer), flush=True)
