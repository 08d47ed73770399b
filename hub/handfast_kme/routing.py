"""Which way the keys of two SAEs go: what the file says, and of that what may be used now."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from handfast_kme.alarms import Level
from handfast_kme.budgets import OTHERS, payer
from handfast_kme.cells import CELL
from handfast_kme.link_states import UNKNOWN, LinkStates, Report
from handfast_kme.messages import MANDATORY_UNMET, BadRequest, Demands, Unavailable
from handfast_kme.network import Network
from handfast_kme.one_time_pad import cells_of
from handfast_kme.paths import Hop, Path
from handfast_kme.tables import ConsumerLink, ProviderLink


class Wanted(NamedTuple):
    """What is to be sent: how many keys of how many bytes, and under which demands."""

    number: int
    size: int
    demands: Demands

    @property
    def direct(self) -> int:
        """Cells that it costs over one link without a relay."""
        return self.number * -(-self.size // CELL)

    @property
    def relayed(self) -> int:
        """Cells that it costs on every hop of a path with relays."""
        return cells_of(self.number * self.size)


class Router:
    """The ways of one network, seen from a KME that knows its links."""

    def __init__(
        self, network: Network, states: LinkStates, shares: Mapping[str, Mapping[str, float]]
    ) -> None:
        """`shares`: those of `network`, from which is read who may come over a link."""
        self._network, self._states = network, states
        self._payers = {link: set(accounts) for link, accounts in shares.items()}

    async def look(self) -> None:
        """Look at the links of this KME before a choice."""
        await self._states.look()

    def state(self, link: str) -> Report:
        """What is known of a link; one that is down when nothing is."""
        return self._states.of(link) or Report(0, Level.CLEAR, 0, UNKNOWN, 0)

    def planned(self, pair: ConsumerLink, start: str, wanted: Wanted) -> Path | None:
        """The path that would be taken now, or else the file's; None when there is none at all."""
        try:
            return self.choose(pair, start, wanted)[0]
        except (BadRequest, Unavailable):
            return next(iter(self._network.paths(pair, start)), None)

    def ways(self, pair: ConsumerLink, start: str, wanted: Wanted) -> int:
        """How many paths without a common relay could be taken now: 0, 1 or 2."""
        for count in (2, 1):
            demands = wanted.demands._replace(disjoint_paths=count)
            with contextlib.suppress(BadRequest, Unavailable):
                return len(self.choose(pair, start, wanted._replace(demands=demands)))
        return 0

    def spare(self, path: Path, link: str) -> int:
        """Cells of one link of a path that its keys may take."""
        reserved = self._network.named("provider_link", link).reserved if path.relays else 0
        return max(0, self.state(link).cells - reserved)

    def alarmed(self, pair: ConsumerLink) -> list[str]:
        """Links in alarm over which the keys of `pair` may go, if only at times."""
        return [name for name in self._over(pair) if self.state(name).level >= Level.ALARM]

    def alarms(self, pair: ConsumerLink) -> int:
        """How many alarms those links had; it only grows while this KME runs."""
        return sum(self._states.alarms(name) for name in self._over(pair))

    def _over(self, pair: ConsumerLink) -> list[str]:
        """Links over which the keys of `pair` may go."""
        who = {payer(*pair.consumers), OTHERS}
        return [link for link, payers in self._payers.items() if who & payers]

    def choose(
        self, pair: ConsumerLink, start: str, wanted: Wanted, avoid: Collection[str] = ()
    ) -> tuple[Path, ...]:
        """The one or two paths to take now from node `start`; BadRequest when the file has none, Unavailable
        when none may be used at the moment.

        A link without a relay comes before every path with one, whatever it costs: nobody else sees the key.
        """
        two = wanted.demands.disjoint_paths == 2
        if not self._network.paths(pair, start, two):
            if two:
                raise BadRequest(MANDATORY_UNMET)
            raise BadRequest(f"there is no way over QKD links between {' and '.join(pair.consumers)}")
        links = [link for link in self._network.provider_link if link.name not in avoid]
        limit = wanted.demands.max_qber
        if limit is not None:
            links = [link for link in links if self._within(link, limit)]
            if not self._network.paths(pair, start, two, self._hops(links, lambda link, state: 1.0)):
                raise BadRequest(MANDATORY_UNMET)

        def direct(link: ProviderLink, state: Report) -> float | None:
            alone = {node.name for node in self._network.ends(link)} == self._network.nodes_of(pair)
            return link.cost if alone and state.sound and state.cells >= wanted.direct else None

        def relayed(link: ProviderLink, state: Report) -> float | None:
            spare = state.cells - link.reserved
            return link.cost / spare if state.sound and spare >= wanted.relayed else None

        for price in (relayed,) if two else (direct, relayed):
            found = self._network.paths(pair, start, two, self._hops(links, price))
            if found:
                return found
        raise self._why_not(pair, start, two, links)

    def _why_not(
        self, pair: ConsumerLink, start: str, two: bool, links: Sequence[ProviderLink]
    ) -> Unavailable:
        """What would have to be otherwise: more keys, no alarm, or a link that is up."""

        def starved(link: ProviderLink, state: Report) -> float | None:
            return 1.0 if state.sound else None

        def alarmed(link: ProviderLink, state: Report) -> float | None:
            return 1.0 if state.up or state.level >= Level.ALARM else None

        if self._network.paths(pair, start, two, self._hops(links, starved)):
            return Unavailable("key_exhausted", "the QKD links have made too few keys so far")
        if self._network.paths(pair, start, two, self._hops(links, alarmed)):
            bad = [
                link.name for link in links if (s := self._states.of(link.name)) and s.level >= Level.ALARM
            ]
            return Unavailable("qber_alarm", f"in alarm: {', '.join(bad)}")
        return Unavailable("link_down", "no way to the KME of the slave SAE is up")

    def _within(self, link: ProviderLink, limit: float) -> bool:
        state = self._states.of(link.name)
        return state is not None and 0 <= state.error_ppm <= limit * 1e6

    def _hops(
        self, links: Sequence[ProviderLink], price: Callable[[ProviderLink, Report], float | None]
    ) -> list[Hop]:
        """The links that have a price now."""
        found = []
        for link in links:
            state = self._states.of(link.name)
            cost = None if state is None else price(link, state)
            if cost is not None:
                found.append(self._network.hop(link, cost))
        return found
