"""What every KME knows of every link: its own by looking, the others' by what their ends say.

Each KME tells its neighbours once a second what it knows, with its age; the younger one of two reports wins.
So news travels a hop a second, and what nobody renews is forgotten. A KME on the way could lie here. It could
draw keys towards itself or away, and sees what it relays anyway; which paths there are at all, and which of
them share no relay, is read from the file and never from here.
"""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from handfast.core.errors import PeerError
from handfast_kme.alarms import Level
from handfast_kme.control import is_row
from handfast_kme.link_end import LinkEnd
from handfast_kme.network import Network
from handfast_kme.store import Store
from handfast_kme.tasks import again_and_again

# Seconds between two reports, and the age at which a report counts no more.
SPREAD, STALE = 1.0, 30.0
# Added to the age at every hop, so that no report can be kept young by being passed around.
_HOP = 0.05
UNKNOWN = -1
# Link, node, age in milliseconds, and a Report.
_ROW = (str, str, int, int, int, int, int, int)


class Report(NamedTuple):
    """What one end says of its link."""

    cells: int
    level: int
    up: int
    error_ppm: int
    """QBER of the last block in millionths; UNKNOWN before the first."""
    rate: int
    """Bits a link second that the last block gave."""

    @property
    def sound(self) -> bool:
        """Whether keys may go over it now, if it has any."""
        return bool(self.up) and self.level < Level.ALARM


class LinkStates:
    """The reports of one KME, its own among them."""

    def __init__(self, network: Network, node: str, store: Store, links: Mapping[str, LinkEnd]) -> None:
        self._node, self._store, self._links = node, store, links
        self._ends = {link.name: {end.name for end in network.ends(link)} for link in network.provider_link}
        # By link and the node that reports; with the time at which it was true.
        self._reports: dict[tuple[str, str], tuple[float, Report]] = {}
        self._alarms = dict.fromkeys(self._ends, 0)
        for end in links.values():
            end.answers["links"] = self._heard

    async def run(self) -> None:
        """Report until cancelled."""
        async with asyncio.TaskGroup() as group:
            for end in self._links.values():
                # One for each: a neighbour that does not answer keeps no news from the others.
                group.create_task(again_and_again(partial(self._tell, end), SPREAD))

    async def _tell(self, end: LinkEnd) -> None:
        await self.look()
        if end.control is not None:
            await end.control.call("links", self._rows())

    def _rows(self) -> list[list[Any]]:
        now = time.monotonic()
        return [
            [link, reporter, round(1000 * (now - at)), *report]
            for (link, reporter), (at, report) in self._reports.items()
            if now - at < STALE
        ]

    async def look(self) -> None:
        """Look at our own links."""
        for name, end in self._links.items():
            cells = await asyncio.to_thread(self._store.count, name)
            rate = end.blocks.error_rate
            ppm = UNKNOWN if rate is None else round(1e6 * rate)
            report = Report(
                cells, end.watch.level, int(end.control is not None), ppm, round(end.blocks.key_rate)
            )
            self._note((name, self._node), time.monotonic(), report)

    def of(self, link: str) -> Report | None:
        """The worst that either end says of a link, of our own what this end sees; None when nobody says
        anything."""
        now = time.monotonic()
        if (link, self._node) in self._reports:
            return self._reports[(link, self._node)][1]
        found = [r for (name, _), (at, r) in self._reports.items() if name == link and now - at < STALE]
        if not found:
            return None
        return Report(
            min(report.cells for report in found),
            max(report.level for report in found),
            min(report.up for report in found),
            max(report.error_ppm for report in found),
            min(report.rate for report in found),
        )

    async def _heard(self, end: LinkEnd, values: list[Any]) -> bool:
        if not is_row(values, (list,)):
            raise PeerError("expected reports of links")
        for row in values[0]:
            self._take(row)
        return True

    def _take(self, row: object) -> None:
        if not is_row(row, _ROW):
            raise PeerError("expected reports of links")
        link, reporter, age = row[:3]
        # Of our own links nobody knows more than we do.
        if reporter == self._node or reporter not in self._ends.get(link, ()) or age < 0:
            return
        report = Report(*row[3:])
        if not (report.cells >= 0 and report.level in tuple(Level) and report.error_ppm >= UNKNOWN):
            raise PeerError("a report of a link says what cannot be")
        at = time.monotonic() - age / 1000 - _HOP
        before = self._reports.get((link, reporter))
        if before is None or at > before[0]:
            self._note((link, reporter), at, report)

    def alarms(self, link: str) -> int:
        """How often a link was seen to fall into alarm since this KME began; that its other end says so too,
        sooner or later, is the same alarm.

        So who asks seldom hears of an alarm that has ended meanwhile."""
        return self._alarms[link]

    def _note(self, name: tuple[str, str], at: float, report: Report) -> None:
        before = self._in_alarm(name[0])
        self._reports[name] = (at, report)
        if self._in_alarm(name[0]) and not before:
            self._alarms[name[0]] += 1

    def _in_alarm(self, link: str) -> bool:
        now = time.monotonic()
        return any(
            name == link and report.level >= Level.ALARM and now - at < STALE
            for (name, _), (at, report) in self._reports.items()
        )
