"""One scenario: a fleet onboards at a hub, round after round, with the floor in between.

Rounds of the hub and rounds of the floor alternate, so that a machine that gets slower or faster
meanwhile changes both. The hub has a processor of its own, where there are two; broker and devices have
the others. The floor is taken on the hub's processor, and a second process makes the same calls on the
others meanwhile, because they are busy while the hub works too.
"""

import asyncio
import contextlib
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import mosquitto
import psutil
from child import Answer, Child, placed, places
from free_ports import free_port

from handfast.core.base32 import b32encode
from handfast.core.codes import decode_hub_code, encode_hub_code, encode_token
from handfast_cpython.crypto import Crypto
from handfast_hub.config import HubConfig, load_config
from handfast_hub.installation import create_hub
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.tokens import NewTokens

# Devices that onboard at the same time.
AT_ONCE = 128
# Enrolments that fill caches and compile statements before anything counts.
WARM_UP = 128

CONFIG = """\
name = "bench"

[mqtt]
broker = "{broker}"
host = "127.0.0.1"
port = {port}
{login}
# Above what this machine can do: the limit is not what is measured.
[limits]
signatures_per_second = 100000
verifications_per_second = 100000
"""


class Plan(NamedTuple):
    """How much to measure."""

    rounds: int
    each: int

    @property
    def enrolments(self) -> int:
        return self.rounds * self.each


class Round(NamedTuple):
    """Microseconds of CPU per enrolment in one round; `confirm` is fin and ack."""

    join: float
    confirm: float
    broker: float
    floor_join: float
    floor_confirm: float
    per_second: float
    generator: float
    # The server of one mutual TLS handshake; nan where no library can do it.
    tls: float

    @property
    def ratio(self) -> float:
        return self.join / self.floor_join

    @property
    def whole_ratio(self) -> float:
        return (self.join + self.confirm) / (self.floor_join + self.floor_confirm)


class Scenario(NamedTuple):
    """What was measured. Memory in bytes: a new hub, after the run, and after a restart."""

    crypto: str
    each: int
    rounds: list[Round]
    kinds: dict[str, dict[str, list[float]]]
    latency: tuple[float, float]
    sizes: dict[str, int]
    carried: tuple[float, float]
    memory: tuple[float, float, float]
    database: int

    def median(self, field: str) -> float:
        return statistics.median(getattr(each, field) for each in self.rounds)

    def spread(self, field: str) -> tuple[float, float]:
        values = [getattr(each, field) for each in self.rounds]
        return min(values), max(values)


def run(broker: str, back_end: str, plan: Plan, tls: Child | None = None) -> Scenario:
    """Measure a hub with `broker`, "mosquitto" or "embedded", and TLS handshakes of `tls` beside it."""
    with tempfile.TemporaryDirectory(prefix="handfast-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        own, others = places()
        hub_code, tokens = _install(folder, back_end, WARM_UP + plan.enrolments)
        with placed(others):
            broker_process = _start_broker(stack, broker, folder, hub_code)
        hub_command = "hub_process.py", str(folder / "hub.toml"), back_end
        hub = stack.enter_context(Child(*hub_command, processors=own))
        crypto = hub.hear()["crypto"]
        empty = hub.ask("usage")["rss"]
        floors = [
            stack.enter_context(Child("floor_process.py", back_end, processors=place))
            for place in (own, others)
        ]
        port = str(load_config(folder / "hub.toml").mqtt.port)
        devices = stack.enter_context(Child("device_process.py", port, back_end, hub_code, processors=others))
        devices.ask("make", tokens=tokens)
        _floor(floors, 50)
        devices.ask("join", count=WARM_UP, at_once=AT_ONCE)
        devices.ask("confirm", at_once=AT_ONCE)
        rounds, answers = [], []
        for _ in range(plan.rounds):
            measured, joined, confirmed = _round(hub, broker_process, devices, floors, tls, plan.each)
            rounds.append(measured)
            answers.append((joined, confirmed))
        kinds = floors[0].ask("kinds", count=200)
        full = hub.ask("settle")["rss"]
        restarted = _restarted(stack, hub, folder, back_end)
        return Scenario(
            crypto,
            plan.each,
            rounds,
            kinds,
            (
                statistics.median(joined["p50"] for joined, _ in answers),
                statistics.median(joined["p95"] for joined, _ in answers),
            ),
            answers[-1][1]["sizes"],
            (answers[-1][0]["carried"], answers[-1][1]["carried"]),
            (empty, full, restarted),
            sum(file.stat().st_size for file in folder.glob("hub.sqlite*")),
        )


def _install(folder: Path, back_end: str, count: int) -> tuple[str, list[str]]:
    """A new hub with `count` tokens: (hub code, tokens)."""
    port = free_port()
    (folder / "hub.toml").write_text(CONFIG.format(broker="embedded", port=port, login=""))
    config, crypto = load_config(folder / "hub.toml"), Crypto(back_end)
    thumbprint = create_hub(config, crypto)
    tokens = asyncio.run(_mint(config, crypto, count))
    return encode_hub_code(crypto, thumbprint), tokens


async def _mint(config: HubConfig, crypto: Crypto, count: int) -> list[str]:
    registry = await Registry.open(config, crypto)
    try:
        now = time.time()
        tokens = await registry.operator.mint(NewTokens("bench", count, False, 1, now + 86400, now))
    finally:
        await registry.close()
    return [encode_token(crypto, token) for token in tokens]


def _start_broker(
    stack: contextlib.ExitStack, broker: str, folder: Path, hub_code: str
) -> psutil.Process | None:
    """Start Mosquitto and point the hub at it; None when the broker is inside the hub."""
    if broker == "embedded":
        return None
    hub = b32encode(decode_hub_code(Crypto(), hub_code)[:8])
    running = stack.enter_context(mosquitto.running(folder / "mosquitto", hub))
    (folder / "password").write_text(running.password + "\n")
    login = f'username = "{running.username}"\npassword_file = "password"\n'
    (folder / "hub.toml").write_text(CONFIG.format(broker="external", port=running.port, login=login))
    assert running.process is not None
    return psutil.Process(running.process.pid)


def _round(
    hub: Child,
    broker: psutil.Process | None,
    devices: Child,
    floors: list[Child],
    tls: Child | None,
    count: int,
) -> tuple[Round, Answer, Answer]:
    before, broker_before = hub.ask("usage"), _cpu(broker)
    joined = devices.ask("join", count=count, at_once=AT_ONCE)
    between, broker_spent = hub.ask("usage"), _cpu(broker) - broker_before
    confirmed = devices.ask("confirm", at_once=AT_ONCE)
    after = hub.ask("usage")
    floor = _floor(floors, count // 2)
    handshakes = count // 10
    tls_seconds = math.nan if tls is None else tls.ask("run", count=handshakes)["seconds"]
    measured = Round(
        join=_spent(before, between) / count * 1e6,
        confirm=_spent(between, after) / count * 1e6,
        broker=broker_spent / count * 1e6,
        floor_join=floor["join"] * 1e6,
        floor_confirm=floor["confirm"] * 1e6,
        per_second=count / joined["seconds"],
        generator=joined["cpu"] / count * 1e6,
        tls=tls_seconds / handshakes * 1e6,
    )
    return measured, joined, confirmed


def _floor(floors: list[Child], count: int) -> dict[str, float]:
    """CPU seconds of the bare calls of one enrolment, by part, on the processor of the hub."""
    for floor in floors:
        floor.tell("run", count=count)
    heard = [floor.hear() for floor in floors]
    return {part: seconds / count for part, seconds in heard[0].items()}


def _restarted(stack: contextlib.ExitStack, hub: Child, folder: Path, back_end: str) -> float:
    """Resident memory of a hub that has just started on the same registry."""
    hub.__exit__(None, None, None)
    again = stack.enter_context(Child("hub_process.py", str(folder / "hub.toml"), back_end))
    again.hear()
    rss: float = again.ask("settle")["rss"]
    return rss


def _spent(before: Answer, after: Answer) -> float:
    spent: float = after["user"] + after["system"] - before["user"] - before["system"]
    return spent


def _cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)
