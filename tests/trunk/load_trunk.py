"""One load run: builds two hubs, two KMEs, the line and the relay, does what the plan says, and judges."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from installation import client, free_ports, installed, trunk_lines
from load_audit import Check, judge_epochs, judge_readings
from load_plan import REPLAYS, Event, Plan
from load_processes import HUB, PATIENCE, Ended, HubProcess, kme_process, run
from load_relay import DOWN, UP, Network, Relay, replay_as_thief
from two_hubs import two_hubs

from handfast.core.codes import decode_hub_code
from handfast.core.constants import KID_LENGTH
from handfast.core.errors import Error
from handfast_cpython import Crypto
from handfast_hub.trunk.greeting import caller
from handfast_hub.trunk.trunks import read_secret

# Keys in store before the load begins.
KEYS_FIRST = 50
# How often is looked, in seconds.
LOOK = 0.1
# Replays whose connection ended are played again, so often at most.
ATTEMPTS = 10
# Records of a trunk that went out and came in, by its status.
COUNTS = ("records_sent", "records_received")


class Load:
    """One run: what is started, what is done to it, what came of it."""

    def __init__(self, plan: Plan, seed: int, folder: Path, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.folder = folder
        self.tell = tell
        self.checks: list[Check] = []
        self.numbers: dict[str, Any] = {"seed": seed, "seconds": plan.seconds, "rate": plan.rate}
        self.network = Network(plan.loss, random.Random(seed))
        self._began = time.monotonic()
        self._moved: list[int] = []
        self._stack = AsyncExitStack()

    async def run(self) -> None:
        """Everything; what does not hold is in `checks`."""
        async with self._stack:
            await self._build()
            await self._until("keys and a trunk that is open for secret readings", self._open)
            self.tell("the load begins")
            self._began = time.monotonic()
            self.source.tell("rate", self.plan.rate)
            for event in self.plan.events:
                await self._wait(event.at)
                self.tell(" ".join(event[1:]).strip())
                await ACTIONS[event.what](self, event)
            await self._wait(self.plan.seconds)
            self.source.tell("rate", 0)
            took = time.monotonic() - self._began
            await self._until("the rest to arrive", self._drained)
            self.numbers["drained_after"] = time.monotonic() - self._began - took
            await self._replay_in_quiet()
            self._count(took)
            await self.source.stop()
            await self.sink.stop()
        self._judge()

    # Building ---------------------------------------------------------------------------------

    async def _build(self) -> None:
        installation, network_file = await asyncio.to_thread(installed, self.folder)
        [self.port] = free_ports(1)
        scheme = self.plan.carrier
        lines = partial(trunk_lines, installation)
        configs = await asyncio.to_thread(two_hubs, self.folder, lines, (scheme,))
        self.files = {name: self.folder / name / "hub.toml" for name in ("berlin", "vienna")}
        self.kmes = {name: kme_process(network_file, "node", name) for name in self.files}
        where, trunk = configs[0].bridge, configs[0].trunk["vienna"]
        kid = decode_hub_code(Crypto(), trunk.hub)[:KID_LENGTH]
        listens = where.port or where.quic_port
        thief = caller(Crypto(), kid, read_secret(trunk))
        self.relay = Relay(scheme, self.port, listens, self.network, thief)
        self._stack.push_async_callback(self.relay.close)
        await self.relay.start()
        self._amend(f"{scheme}://127.0.0.1:{listens}", f"{scheme}://127.0.0.1:{self.port}")
        self.tell("devices onboard, KMEs start")
        await run(str(HUB), "onboard", str(self.files["berlin"]), log=self.folder / "onboard.log")
        for process in (kme_process(network_file, "line", "fibre"), *self.kmes.values()):
            self._stack.push_async_callback(process.kill)
            await process.start()
        self._probe = client(installation, "hub-berlin", self.folder / "probe")
        self._stack.push_async_callback(self._probe.close)
        self.source = HubProcess("source", self.files["berlin"], self.plan.size)
        self.sink = HubProcess("sink", self.files["vienna"], self.plan.size)
        self.hubs = {"berlin": self.source, "vienna": self.sink}
        for hub in self.hubs.values():
            self._stack.push_async_callback(hub.kill)
            await hub.start()
        self._stack.push_async_callback(self._show_progress())

    def _amend(self, berlin: str, relay: str) -> None:
        """Vienna dials the relay; both rekey as planned, say what they do, and keep every reading."""
        keep = int(self.plan.rate * self.plan.seconds * 2) + 10_000
        for name, file in self.files.items():
            text = file.read_text().replace('level = "error"', 'level = "info"')
            text = text.replace("rekey_seconds = 2", f"rekey_seconds = {self.plan.rekey:g}")
            if name == "vienna":
                assert berlin in text
                text = text.replace(berlin, relay)
            file.write_text(f"{text}[retention]\nreadings = {keep}\n")

    def _show_progress(self) -> Callable[[], Awaitable[None]]:
        async def show() -> None:
            while True:
                await asyncio.sleep(max(1.0, self.plan.seconds / 60))
                there, here = self._sums()
                lost = sum(self.network.dropped.values())
                self.tell(
                    f"{there} recorded, {here} arrived, {there - here} on their way, {lost} frames lost"
                )

        task = asyncio.create_task(show())

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        return stop

    # Waiting ----------------------------------------------------------------------------------

    async def _wait(self, at: float) -> None:
        while (left := self._began + at - time.monotonic()) > 0:
            for hub in self.hubs.values():
                hub.check()
            await asyncio.sleep(min(LOOK, left))

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await condition():
                    for hub in self.hubs.values():
                        hub.check()
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            sums = [{**hub.counts} for hub in self.hubs.values()]
            raise Ended(f"waited {PATIENCE:g} s for {what}; recorded and arrived: {sums}") from None

    async def _open(self) -> bool:
        with suppress(Error):
            if (await self._probe.status("hub-vienna")).stored_key_count < KEYS_FIRST:
                return False
            found = [(await hub.ask())["status"] for hub in self.hubs.values()]
            return all(status["secret_open"] and status["epochs"]["bulk"] for status in found)
        return False

    async def _drained(self) -> bool:
        """All that was begun is there, its sender knows it, and nothing has moved since the last look."""
        # What a hub reports by itself may be half a second old.
        there, here = await self.source.ask(), await self.sink.ask()
        moved = [found["status"][name] for found in (there, here) for name in COUNTS]
        still, self._moved = moved == self._moved, moved
        known = all(each["acknowledged"] == each["sent"] for each in there["status"]["readings"].values())
        return still and known and here["begun"] == {**here["begun"], **there["begun"]}

    def _sums(self) -> tuple[int, int]:
        return sum(self.source.counts.values()), sum(self.sink.counts.values())

    # What is done -----------------------------------------------------------------------------

    async def _stop_kme(self, event: Event) -> None:
        await self.kmes[event.target].kill()

    async def _start_kme(self, event: Event) -> None:
        await self.kmes[event.target].start()

    async def _restart_kme(self, event: Event) -> None:
        await self.kmes[event.target].kill()
        await self.kmes[event.target].start()

    async def _restart_hub(self, event: Event) -> None:
        hub = self.hubs[event.target]
        await hub.kill()
        await hub.start()
        if hub is self.source:
            hub.tell("rate", self.plan.rate)

    async def _without(self, event: Event) -> None:
        async def without() -> bool:
            found = [(await hub.ask())["status"]["epochs"]["hybrid"] for hub in self.hubs.values()]
            return all(epoch is not None and not epoch["qkd"] for epoch in found)

        await self._until("an epoch of ML-KEM alone", without)

    async def _cut(self, event: Event) -> None:
        await self.relay.cut()

    async def _replay(self, event: Event) -> None:
        """While everything goes on: what is refused is at least what was played."""
        await self._play("while the load goes on", quiet=False)

    async def _replay_in_quiet(self) -> None:
        """When nothing else moves: what is taken is nothing at all."""
        await self._play("in quiet", quiet=True)

    async def _play(self, when: str, *, quiet: bool) -> None:
        """Play recorded records to both hubs; when the connection ends meanwhile nobody knows what came of
        them, and others are played."""
        for _ in range(ATTEMPTS):
            calls = self.relay.calls
            before = {name: await hub.ask() for name, hub in self.hubs.items()}
            played = await self._play_all()
            growth: dict[str, dict[str, int]] = {}

            async def refused(
                calls: int = calls,
                before: dict[str, Any] = before,
                played: dict[str, int] = played,
                growth: dict[str, dict[str, int]] = growth,
            ) -> bool:
                for name, hub in self.hubs.items():
                    growth[name] = _grown(before[name]["status"], (await hub.ask())["status"])
                done = all(growth[name]["records_refused"] >= count for name, count in played.items())
                return done or self.relay.calls != calls

            await self._until("replays to be refused", refused)
            if sum(played.values()) == REPLAYS and self.relay.calls == calls:
                taken = sum(found["records_received"] for found in growth.values())
                detail = f"{REPLAYS} played and refused" + (f", {taken} records taken" if quiet else "")
                self.checks.append(
                    Check(f"{REPLAYS} replays {when} are refused", not (quiet and taken), detail)
                )
                return
            # The connection broke under it: the next try plays to one that had time to come.
            await asyncio.sleep(1.0)
        raise Ended(f"no connection lasted for {REPLAYS} replays {when}")

    async def _play_all(self) -> dict[str, int]:
        """How many were played to each hub, by a thief of the secret, and on the live connection."""
        third = REPLAYS // 3
        stolen = self.network.recorded(UP, third)
        # Without the pairing secret nobody gets as far as to be refused for what he plays.
        await replay_as_thief(self.relay.scheme, self.relay.target, self.relay.thief, stolen)
        played = {"berlin": len(stolen), "vienna": 0}
        for name, direction, count in (("berlin", UP, third), ("vienna", DOWN, REPLAYS - 2 * third)):
            played[name] += self.relay.inject(direction, self.network.recorded(direction, count))
        return played

    # Judging ----------------------------------------------------------------------------------

    def _count(self, took: float) -> None:
        there, _ = self._sums()
        self.numbers["recorded_a_second"] = there / took
        self.numbers["frames"] = dict(self.network.carried)
        self.numbers["frames_lost"] = dict(self.network.dropped)
        self.numbers["cpu"] = {name: hub.seconds for name, hub in self.hubs.items()}

    def _judge(self) -> None:
        databases = [self.folder / name / "hub.sqlite" for name in ("berlin", "vienna")]
        outage = any(event.what.startswith("wait for an epoch") for event in self.plan.events)
        wrong = {name: count for name, count in self.sink.wrong.items() if count}
        self.checks.append(Check("bridged() gives each reading once, in order", not wrong, str(wrong or "")))
        for checks, numbers in (
            judge_readings(*databases),
            judge_epochs(self.folder / "berlin", self.network.spans, outage=outage),
        ):
            self.checks += checks
            self.numbers.update(numbers)


ACTIONS: dict[str, Callable[[Load, Event], Awaitable[None]]] = {
    "stop kme": Load._stop_kme,
    "start kme": Load._start_kme,
    "restart kme": Load._restart_kme,
    "restart hub": Load._restart_hub,
    "wait for an epoch of ML-KEM alone": Load._without,
    "cut the carrier": Load._cut,
    "replay": Load._replay,
}


def _grown(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in ("records_refused", "records_received")}
