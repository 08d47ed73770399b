"""`handfast swarm`: a swarm of simulated devices against a hub that is running somewhere."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from handfast.core.errors import LocalError
from handfast.ports import Link
from handfast_cpython.mqtt import MqttLink
from handfast_cpython.swarm import Summary, Swarm


class LiveHub:
    """A hub behind a broker, known by its code; tokens are those that its operator has handed out."""

    def __init__(self, code: str, broker: str, ca: Path | None, tokens: Sequence[str]) -> None:
        self.code = code
        self._broker = broker
        self._ca = ca
        self._tokens = tokens

    def link(self) -> Link:
        """A new connection to the broker, for one device."""
        return MqttLink.from_url(self._broker, ca=self._ca)

    async def tokens(self, count: int) -> Sequence[str | None]:
        """One for each; a single one serves all, as a shared token may."""
        if not self._tokens:
            return [None] * count
        if len(self._tokens) == 1:
            return [self._tokens[0]] * count
        if len(self._tokens) < count:
            raise LocalError(
                f"{count} devices need {count} tokens, or one shared; there are {len(self._tokens)}"
            )
        return self._tokens[:count]


async def run_swarm(
    devices: int,
    hub: str,
    broker: str,
    ca: Path | None,
    tokens: Sequence[str],
    seconds: float,
    quiet: bool,
) -> Summary:
    """Onboard `devices` devices with a progress bar, within `seconds`."""
    seed = int.from_bytes(os.urandom(8), "big")
    columns = (TextColumn("onboarding"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("onboarding", total=devices)
        async with Swarm(devices, LiveHub(hub, broker, ca, tokens), seed=seed) as swarm:
            return await swarm.onboard(seconds, lambda count: progress.update(task, completed=count))


def show_summary(devices: int, summary: Summary) -> None:
    """The table at the end."""
    table = Table("devices", "onboarded", "refused", "failed", "retries", "p50 s", "p95 s", "p99 s")
    times = ["-" if value is None else f"{value:.2f}" for value in (summary.p50, summary.p95, summary.p99)]
    counts = (devices, summary.onboarded, summary.refused, summary.failed, summary.retries)
    table.add_row(*(str(value) for value in counts), *times)
    Console().print(table)
