"""Whole processes for tests: a hub as `handfast-hub serve`, and fleets of devices beside it.

Every process is ended by its own object, every wait has an end, and what a process says goes into a
file of its folder. An operator is a Registry of the test over the same database, as the command
line is one.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

from free_ports import free_port
from mosquitto import Mosquitto

from handfast.core.base32 import b32encode
from handfast.core.codes import encode_hub_code, encode_token
from handfast_cpython.crypto import Crypto
from handfast_hub.config import HubConfig, load_config
from handfast_hub.installation import create_hub
from handfast_hub.registry.operator import Operator
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.tokens import NewTokens

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Far more than anything here takes, on a machine that does other things too.
PATIENCE = 180.0
crypto = Crypto()


def environment() -> dict[str, str]:
    """For a child: the packages of this tree, and no settings of a hub from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HANDFAST")}
    paths = [str(ROOT / "sdk"), str(ROOT / "hub"), str(HERE)]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


async def eventually(
    ask: Callable[[], Awaitable[object]], expected: object, seconds: float = PATIENCE
) -> None:
    """Ask until the answer is the expected one; fails with the last answer."""
    end = time.monotonic() + seconds
    while (answer := await ask()) != expected:
        assert time.monotonic() < end, f"expected {expected!r}, and after {seconds:g} s it is {answer!r}"
        await asyncio.sleep(0.05)


class HubProcess:
    """A hub in `folder` with the embedded broker, or with `broker`; `text` is more TOML.

    `code` is its hub code, `address` the URL of its broker. `start` with a `fault` runs it under
    hub_at_fault.py.
    """

    def __init__(self, folder: Path, broker: Mosquitto | None = None, text: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "hub.toml"
        lines = [
            'name = "test"',
            text,
            "[mqtt]",
            # After a restart devices look for it where it was, and no one else may have taken that port.
            f'broker = "embedded"\nport = {free_port()}' if broker is None else _external(folder, broker),
            '[log]\nlevel = "info"',
        ]
        self.file.write_text("\n".join(lines), encoding="utf-8")
        self.config: HubConfig = load_config(self.file)
        self.hub_id = create_hub(self.config, crypto)
        self.code = encode_hub_code(crypto, self.hub_id)
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it said until now; a test shows its end when it fails."""
        return (self.folder / "hub.log").read_text(encoding="utf-8", errors="replace")

    def start(self, fault: str = "", clock: Path | None = None) -> None:
        """Start the process and wait until it serves, or until its `fault` has killed it.

        The file `clock` says by how many seconds its wall clock is off (clock_off.py).
        """
        out = self.folder / "hub.out"
        program = ["-m", "handfast_hub.cli"] if not fault else [str(HERE / "hub_at_fault.py"), fault]
        if clock is not None:
            program = [str(HERE / "clock_off.py"), str(clock), "handfast-hub"]
        command = [sys.executable, *program, "--config", str(self.file), "serve"]
        with out.open("wb") as output, (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=environment()
            )
        end = time.monotonic() + PATIENCE
        while "serves at" not in (said := out.read_text(encoding="utf-8")):
            ended = self.process.poll()
            if fault and ended == -signal.SIGKILL:
                return
            assert ended is None, f"the hub ended with {ended}:\n{self.log[-2000:]}"
            assert time.monotonic() < end, f"the hub did not start:\n{self.log[-2000:]}"
            time.sleep(0.02)
        self.address = said.split("serves at ")[1].split(";")[0].strip()

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code, when it ends by itself."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        """What an operator may ask, beside the process or without it."""
        registry = await Registry.open(self.config, crypto)
        try:
            yield registry.operator
        finally:
            await registry.close()

    async def tokens(self, count: int) -> list[str]:
        """`count` single tokens."""
        now = time.time()
        async with self.operator() as operator:
            made = await operator.mint(NewTokens("test", count, False, 1, now + 3600, now))
        return [encode_token(crypto, token) for token in made]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


def _external(folder: Path, broker: Mosquitto) -> str:
    (folder / "password").write_text(broker.password, encoding="utf-8")
    return (
        f'broker = "external"\nhost = "{broker.host}"\nport = {broker.port}\n'
        f'username = "{broker.username}"\npassword_file = "password"'
    )


@contextlib.contextmanager
def hub_behind(folder: Path, broker: str, text: str = "") -> Iterator[tuple[HubProcess, Mosquitto | None]]:
    """A hub that is not started yet, behind `broker`: "embedded" or "mosquitto", which runs already."""
    if broker == "embedded":
        with HubProcess(folder / "hub", None, text) as hub:
            yield hub, None
        return
    mosquitto = Mosquitto(folder / "mosquitto")
    with HubProcess(folder / "hub", mosquitto, text) as hub:
        # The rules of the broker name the topics of this hub.
        kid = b32encode(hub.hub_id[:8])
        rules = mosquitto.folder / "devices.acl"
        rules.write_text(rules.read_text(encoding="utf-8").replace("aaaaaaaaaaaaa", kid), encoding="utf-8")
        mosquitto.start()
        try:
            yield hub, mosquitto
        finally:
            mosquitto.stop()


class FleetProcess:
    """Devices in a process of their own (fleet.py), told what to do in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, log: Path) -> "FleetProcess":
        """Start an empty fleet; what it says goes into the file `log`."""
        pipe = asyncio.subprocess.PIPE
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(HERE / "fleet.py"),
                stdin=pipe,
                stdout=pipe,
                stderr=output,
                env=environment(),
                limit=2**24,
            )
        return cls(process)

    async def __call__(self, name: str, **arguments: Any) -> Any:
        """Let the fleet do `name`; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
        await self.process.stdin.drain()
        line = await asyncio.wait_for(self.process.stdout.readline(), 2 * PATIENCE)
        assert line, f"the fleet ended during {name}"
        good, value = json.loads(line)
        assert good, f"{name}: {value}"
        return value

    async def stop(self) -> None:
        """End the process by closing its input, by force when it does not."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), PATIENCE)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@contextlib.asynccontextmanager
async def fleets(count: int, folder: Path) -> AsyncIterator[list[FleetProcess]]:
    """`count` empty fleets."""
    started = [await FleetProcess.start(folder / f"fleet-{number}.log") for number in range(count)]
    try:
        yield started
    finally:
        await asyncio.gather(*(fleet.stop() for fleet in started))
