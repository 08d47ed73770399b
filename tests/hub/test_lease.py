"""Two real processes, one of which sleeps past its lease: what it wakes with is committed nowhere."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import registry_world as world
from processes import HubProcess

from handfast_hub.config import HubConfig
from handfast_hub.registry import lease
from handfast_hub.registry.registry import Registry

HERE = Path(__file__).parent


class Holder:
    """A process with the lease."""

    def __init__(self, folder: Path) -> None:
        paths = [str(HERE), *sys.path]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "lease_holder.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def ask(self, number: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.communicate(timeout=60)


@pytest.fixture
def holders(config: HubConfig, tmp_path: Path) -> Iterator[list[Holder]]:
    made: list[Holder] = []
    yield made
    for holder in made:
        holder.end()


async def admit(config: HubConfig, *numbers: int) -> None:
    """An operator's process: it needs no lease."""
    registry = await Registry.open(config, world.crypto)
    for number in numbers:
        await world.admit(registry, number)
    await registry.close()


def query(config: HubConfig, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(config.database)) as connection:
        found = connection.execute(statement).fetchall()
        connection.commit()
        return found


async def test_a_hub_that_slept_past_its_lease_commits_nothing_when_it_wakes(
    config: HubConfig, tmp_path: Path, holders: list[Holder]
) -> None:
    await admit(config, 1, 2, 3)
    sleeper = Holder(tmp_path)
    holders.append(sleeper)
    assert sleeper.line() == "serving"
    sleeper.ask(1)
    assert sleeper.line() == "written"
    sleeper.process.send_signal(signal.SIGSTOP)
    sleeper.ask(2)  # the first thing that it does when it wakes
    # Time passes: what 30 seconds would do.
    query(config, "UPDATE lease SET expires_at = 0")
    successor = Holder(tmp_path)
    holders.append(successor)
    assert successor.line() == "serving"
    before = query(config, "SELECT * FROM keys ORDER BY device")
    sleeper.process.send_signal(signal.SIGCONT)
    assert sleeper.line().startswith("LeaseHeld: another process has served this hub")
    assert query(config, "SELECT * FROM keys ORDER BY device") == before
    successor.ask(3)
    assert successor.line() == "written"
    # And when the other one has gone, the sleeper is still not the one who may go on.
    holders.remove(successor)
    successor.end()
    assert query(config, "SELECT * FROM lease") == []
    sleeper.ask(2)
    assert sleeper.line().startswith("LeaseHeld")


async def test_a_lease_that_was_lost_is_not_taken_again_by_renewing_it(config: HubConfig) -> None:
    registry = await Registry.open(config, world.crypto)
    await registry.serve()
    query(config, "DELETE FROM lease")
    with pytest.raises(lease.LeaseHeld, match="start this one again"):
        await registry.renew()
    await registry.close()


async def test_a_hub_that_was_late_renews_a_lease_that_nobody_took(config: HubConfig) -> None:
    registry = await Registry.open(config, world.crypto)
    await registry.serve()
    query(config, "UPDATE lease SET expires_at = 0")
    await registry.renew()
    await world.admit(registry, 1)
    await world.granted(registry, 1)
    await registry.close()


def suspend(hub: HubProcess) -> None:
    """Stop it with a lease that has run out; not in the middle of a transaction, of which it has some each
    second: what it has locked then stays locked."""
    assert hub.process is not None
    for _ in range(10):
        hub.process.send_signal(signal.SIGSTOP)
        try:
            query(hub.config, "UPDATE lease SET expires_at = 0")
            return
        except sqlite3.OperationalError:
            hub.process.send_signal(signal.SIGCONT)
    raise AssertionError("it was always at work")


async def test_a_hub_that_was_suspended_ends_with_one_sentence_when_it_was_replaced(tmp_path: Path) -> None:
    with HubProcess(tmp_path) as hub:
        hub.start()
        assert hub.process is not None
        suspend(hub)
        successor = await Registry.open(hub.config, world.crypto)
        await successor.serve()
        hub.process.send_signal(signal.SIGCONT)
        assert hub.wait() == 1
        assert "another process has served this hub" in hub.log
        assert "Traceback" not in hub.log
        # It gave back nothing that was not its own.
        await successor.renew()
        await successor.close()
