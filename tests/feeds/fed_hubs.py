"""Berlin and Vienna with a trunk keyed by simulated QKD, real KME processes, and key feeds on top."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from installation import client, installed, process, trunk_lines
from installation import until as eventually
from two_hubs import running, two_hubs, until

from handfast_hub.hub import Hub
from handfast_hub.trunk.kme_answers import KmeUnreachable
from handfast_kme.network import Network

FEED = "tunnel"
PEERS = {"berlin": "vienna", "vienna": "berlin"}


class Fed:
    """Both hubs, by name, and the processes of their KMEs."""

    def __init__(self, hubs: dict[str, Hub], kmes: list["subprocess.Popen[bytes]"]) -> None:
        self.hubs = hubs
        self.kmes = kmes

    def status(self, name: str) -> dict[str, Any]:
        """How the feed of a hub fares."""
        trunk: dict[str, Any] = self.hubs[name].trunks.status()[PEERS[name]]
        return trunk["feeds"][FEED]  # type: ignore[no-any-return]

    async def reach(self, state: str, reason: str = "") -> None:
        """Until both feeds are in a state, for a reason."""
        await until(
            lambda: all(
                self.status(name)["state"] == state and reason in self.status(name)["reason"]
                for name in self.hubs
            )
        )

    async def rotate(self, times: int) -> None:
        """Until both feeds have handed on so many more keys, and the last is the same."""
        for _ in range(times):
            before = {name: self.status(name)["key"] for name in self.hubs}
            await until(
                lambda: all(self.status(name)["key"] != before[name] for name in self.hubs)  # noqa: B023
            )
        await until(lambda: len({self.status(name)["key"] for name in self.hubs}) == 1)

    def alarm(self, name: str) -> None:
        """A program of the operator distrusts the QKD key in use."""
        self.hubs[name].trunks._trunks[PEERS[name]].link.alarm()

    def lose_kmes(self) -> None:
        """Kill everything that makes and holds QKD keys."""
        for child in self.kmes:
            child.kill()
            child.wait()


class _Died(Exception):
    """A KME ended by itself."""


@contextlib.asynccontextmanager
async def serving_kmes(folder: Path) -> AsyncIterator[tuple[Network, list["subprocess.Popen[bytes]"]]]:
    """Both KMEs and their line, with keys in store."""
    for attempt in range(5):
        place = folder / f"kmes{attempt}"
        place.mkdir()
        network, file = installed(place)
        with contextlib.ExitStack() as stack:
            options = (("--line", "fibre"), ("--node", "berlin"), ("--node", "vienna"))
            children = [stack.enter_context(process(file, *option)) for option in options]
            try:
                await eventually(partial(_stored, network, place, children))
            except _Died:
                # A port that was free a moment ago is not free now: once more with others.
                continue
            yield network, children
            return
    raise AssertionError(f"the KMEs do not start; see the logs in {folder}")


async def _stored(network: Network, place: Path, children: list["subprocess.Popen[bytes]"]) -> bool:
    if any(child.poll() is not None for child in children):
        raise _Died
    probe = client(network, "hub-berlin", place / "probe")
    try:
        return (await probe.status("hub-vienna")).stored_key_count >= 16
    except KmeUnreachable:
        return False
    finally:
        await probe.close()


@contextlib.asynccontextmanager
async def fed_hubs(folder: Path, feed: Callable[[str], str]) -> AsyncIterator[Fed]:
    """Both hubs serving; `feed(name)` gives the lines of `[feed.tunnel]` of a hub, but for its trunk."""
    async with serving_kmes(folder) as (network, kmes):

        def more(name: str, peer: str) -> str:
            return f'{trunk_lines(network, name, peer)}[feed.{FEED}]\ntrunk = "{peer}"\n{feed(name)}'

        berlin, vienna = two_hubs(folder, more)
        async with running(berlin) as first, running(vienna) as second:
            yield Fed({"berlin": first, "vienna": second}, kmes)
