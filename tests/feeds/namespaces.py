"""Two network namespaces of our own, joined by a wire: two machines, as far as a VPN can tell."""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

_COUNT = itertools.count()

# Far more than anything here takes: what never happens must end too.
PATIENCE = 60.0


def run(*command: str, said: str = "") -> str:
    """Run a command; its standard output. AssertionError with what it complained of."""
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def missing(*programs: str) -> str:
    """What this machine lacks for such tests, "" for nothing."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs the device /dev/net/tun"
    for program in ("ip", "ping", *programs):
        if shutil.which(program) is None and not Path(program).exists():
            return f"needs the program {program}"
    try:
        with two_namespaces():
            return ""
    except AssertionError as error:
        return f"needs network namespaces: {error}"


class Place(NamedTuple):
    """One namespace, and its address on the wire between the two."""

    name: str
    address: str

    def enter(self, *command: str) -> tuple[str, ...]:
        """A command that runs in here."""
        return ("ip", "netns", "exec", self.name, *command)

    def answers(self, other: str) -> bool:
        """Whether one ping to the address `other` is answered within a second."""
        command = self.enter("ping", "-c", "1", "-W", "1", other)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def two_namespaces() -> Iterator[tuple[Place, Place]]:
    """Both of them; gone afterwards."""
    name = f"hf{os.getpid()}n{next(_COUNT)}"
    places = (Place(f"{name}a", "192.0.2.1"), Place(f"{name}b", "192.0.2.2"))
    with contextlib.ExitStack() as stack:
        for place in places:
            run("ip", "netns", "add", place.name)
            stack.callback(run, "ip", "netns", "del", place.name)
        first, second = places
        run(
            *first.enter(
                "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", second.name
            )
        )
        for place in places:
            run(*place.enter("ip", "address", "add", f"{place.address}/24", "dev", "wire"))
            for interface in ("lo", "wire"):
                run(*place.enter("ip", "link", "set", interface, "up"))
        yield places


@contextlib.contextmanager
def process(*command: str, log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs meanwhile; `more` are environment variables."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **more})
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Asking:
    """20 datagrams a second from one place to an address of another, until `stop` or the block's end."""

    def __init__(self, place: Place, other: Place, address: str) -> None:
        program, pipe = (sys.executable, str(Path(__file__).with_name("echoes.py"))), subprocess.PIPE
        self._answering = subprocess.Popen(
            other.enter(*program, "answer", address), stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        assert self._answering.stdout is not None
        assert self._answering.stdout.readline() == "ready\n"
        self._asking = subprocess.Popen(
            place.enter(*program, "ask", address), stdin=pipe, stdout=pipe, text=True
        )

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        for child in (self._asking, self._answering):
            child.kill()
            child.communicate()

    def stop(self) -> tuple[int, int]:
        """How many were sent, and how many were answered; waits for the last answers."""
        output, _ = self._asking.communicate(timeout=PATIENCE)
        sent, answered = output.split()
        return int(sent), int(answered)


def until_ready(ready: Callable[[], bool], child: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for a program of others; where it does not run at all the test is skipped, and says why."""
    ends = time.monotonic() + PATIENCE
    while not ready():
        if child.poll() is not None or time.monotonic() > ends:
            said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            pytest.skip(f"{child.args[4]} does not run here; it said: {said[-1]}")  # type: ignore[index]
        time.sleep(0.05)


def until(condition: object, seconds: float = PATIENCE) -> None:
    """Look until it is so; TimeoutError."""
    ends = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(0.05)
