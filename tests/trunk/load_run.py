"""The trunk under load: two hubs, two KMEs, a simulated link, a bad network, and all that can be killed.

    python tests/trunk/load_run.py                  the whole run: ten minutes, 2,000 readings a second
    python tests/trunk/load_run.py --short          the run of `make test`: half a minute
    python tests/trunk/load_run.py --rate 500 --seconds 60 --loss 0

Berlin records readings of three classes, Vienna counts what comes over the trunk. Between them stands
a relay that drops frames; load_plan.py says what is killed when. At the end the databases of both hubs
are compared: nothing lost, nothing twice, in order, and no `secret` reading in an epoch without a QKD
key. Exit: 0 when all of it holds, 1 when not, 130 after Ctrl-C. Everything is on this machine, in a
temporary folder, on ports of 127.0.0.1.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Under pytest these folders are on the path already.
    sys.path += [str(Path(__file__).parents[1] / "kme"), str(Path(__file__).parents[1])]

from installation import client, free_ports, installed
from load_audit import Check, judge_epochs, judge_readings
from load_plan import REPLAYS, SHORT, WHOLE, Event, Plan
from load_processes import HUB, PATIENCE, Ended, HubProcess, kme_process, run
from load_relay import DOWN, UP, Network, Relay, replay_as_stranger
from two_hubs import two_hubs

from handfast.core.constants import KID_LENGTH
from handfast.core.errors import Error
from handfast_kme.installed import Folder
from handfast_kme.network import Network as Installation

# Keys in store before the load begins.
KEYS_FIRST = 50
# How often is looked, in seconds.
LOOK = 0.1


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
        configs = await asyncio.to_thread(two_hubs, self.folder, self._kme_lines(installation))
        self.files = {name: self.folder / name / "hub.toml" for name in ("berlin", "vienna")}
        self.kmes = {name: kme_process(network_file, "node", name) for name in self.files}
        self.relay = Relay(self.port, configs[0].bridge.port, self.network)
        self._stack.push_async_callback(self.relay.close)
        await self.relay.start()
        self._amend(configs[0].bridge.port)
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

    def _kme_lines(self, installation: Installation) -> Callable[[str, str], str]:
        def lines(name: str, peer: str) -> str:
            folder = Folder(installation.group.folder).consumer(f"hub-{name}")
            node = installation.named("node", name)
            return (
                f'kme = "https://{node.address}:{node.port}"\nkme_id = "{node.kme_id}"\n'
                f'peer_sae = "hub-{peer}"\nkme_ca = "{folder / "ca.pem"}"\n'
                f'kme_certificate = "{folder / "sae.pem"}"\nkme_key = "{folder / "sae.key"}"\n'
            )

        return lines

    def _amend(self, listens: int) -> None:
        """Vienna dials the relay; both rekey as planned, say what they do, and keep every reading."""
        keep = int(self.plan.rate * self.plan.seconds * 2) + 10_000
        for name, file in self.files.items():
            text = file.read_text().replace('level = "error"', 'level = "info"')
            text = text.replace("rekey_seconds = 2", f"rekey_seconds = {self.plan.rekey:g}")
            if name == "vienna":
                assert f"tcp://127.0.0.1:{listens}" in text
                text = text.replace(f"tcp://127.0.0.1:{listens}", f"tcp://127.0.0.1:{self.port}")
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
        return bool(self.sink.counts) and self.sink.counts == {**self.sink.counts, **self.source.counts}

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

    async def _cut(self, event: Event) -> None:
        await self.relay.cut()

    async def _replay(self, event: Event) -> None:
        """While everything goes on: what is refused is at least what was played."""
        await self._play("while the load goes on", quiet=False)

    async def _replay_in_quiet(self) -> None:
        """When nothing else moves: what is taken is nothing at all."""
        await self._play("in quiet", quiet=True)

    async def _play(self, when: str, *, quiet: bool) -> None:
        before = {name: await hub.ask() for name, hub in self.hubs.items()}
        third = REPLAYS // 3
        kid = bytes.fromhex(before["vienna"]["hub_id"])[:KID_LENGTH]
        stranger = self.network.recorded(UP, third)
        await replay_as_stranger(self.relay.target, kid, stranger)
        played = {"berlin": len(stranger), "vienna": 0}
        for name, direction, count in (("berlin", UP, third), ("vienna", DOWN, REPLAYS - 2 * third)):
            played[name] += self.relay.inject(direction, self.network.recorded(direction, count))
        after = before

        async def refused() -> bool:
            nonlocal after
            after = {name: await hub.ask() for name, hub in self.hubs.items()}
            return all(
                self._grown(before, after, name, "records_refused") >= count for name, count in played.items()
            )

        await self._until("replays to be refused", refused)
        taken = sum(self._grown(before, after, name, "records_received") for name in played)
        total = sum(played.values())
        self.checks.append(
            Check(
                f"{REPLAYS} replays {when} are refused",
                total == REPLAYS and not (quiet and taken),
                f"{total} played and refused" + (f", {taken} records taken" if quiet else ""),
            )
        )

    def _grown(self, before: dict[str, Any], after: dict[str, Any], name: str, field: str) -> int:
        return int(after[name]["status"][field]) - int(before[name]["status"][field])

    # Judging ----------------------------------------------------------------------------------

    def _count(self, took: float) -> None:
        there, _ = self._sums()
        self.numbers["recorded_a_second"] = there / took
        self.numbers["frames"] = dict(self.network.carried)
        self.numbers["frames_lost"] = dict(self.network.dropped)
        self.numbers["cpu"] = {name: hub.seconds for name, hub in self.hubs.items()}

    def _judge(self) -> None:
        databases = [self.folder / name / "hub.sqlite" for name in ("berlin", "vienna")]
        wrong = {name: count for name, count in self.sink.wrong.items() if count}
        self.checks.append(Check("bridged() gives each reading once, in order", not wrong, str(wrong or "")))
        for checks, numbers in (
            judge_readings(*databases),
            judge_epochs([self.folder / "berlin", self.folder / "vienna"], self.network.sent),
        ):
            self.checks += checks
            self.numbers.update(numbers)


ACTIONS: dict[str, Callable[[Load, Event], Awaitable[None]]] = {
    "stop kme": Load._stop_kme,
    "start kme": Load._start_kme,
    "restart kme": Load._restart_kme,
    "restart hub": Load._restart_hub,
    "cut the carrier": Load._cut,
    "replay": Load._replay,
}


def parse(arguments: list[str] | None) -> tuple[Plan, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="half a minute at 300 readings a second")
    parser.add_argument("--seconds", type=float, help="end the load then; later events do not happen")
    parser.add_argument("--rate", type=float, help="readings a second")
    parser.add_argument("--loss", type=float, help="share of the carrier's frames that is dropped, 0 to 0.5")
    parser.add_argument("--calm", action="store_true", help="kill nothing and replay nothing under load")
    parser.add_argument("--seed", type=int, help="of the network's randomness")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave databases and logs in this new folder"
    )
    parser.add_argument("--json", action="store_true", help="print the result for a program")
    options = parser.parse_args(arguments)
    plan = SHORT if options.short else WHOLE
    given = {name: getattr(options, name) for name in ("seconds", "rate", "loss")}
    plan = plan._replace(**{name: value for name, value in given.items() if value is not None})
    if not 0 <= plan.loss <= 0.5 or plan.rate <= 0 or plan.seconds <= 0:
        parser.error("expected --loss from 0 to 0.5, and --rate and --seconds above 0")
    events = [] if options.calm else [event for event in plan.events if event.at < plan.seconds]
    return plan._replace(events=tuple(events)), options


def print_result(load: Load) -> None:
    for check in load.checks:
        print(f"{'holds ' if check.held else 'FAILS '} {check.name}: {check.detail}")
    for name, value in load.numbers.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


def main(arguments: list[str] | None = None) -> int:
    """0 when everything holds."""
    plan, options = parse(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    tell(
        f"--seed {seed}: {plan.rate:g} readings a second for {plan.seconds:g} s,"
        f" {plan.loss:.0%} of frames lost"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        load = Load(plan, seed, folder, tell)
        try:
            asyncio.run(load.run())
        except KeyboardInterrupt:
            tell("stopped; every process was ended")
            return 130
        except Ended as error:
            print(error, file=sys.stderr)
            return 1
    if options.json:
        checks = [check._asdict() for check in load.checks]
        print(json.dumps({**load.numbers, "checks": checks}, indent=1))
    else:
        print_result(load)
    return 0 if all(check.held for check in load.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
