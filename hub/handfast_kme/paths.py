"""Ways through a network of links: the cheapest one, and two that share no relay. Pure; graphs are small.

A hop's cost is what its owner wrote down over the keys that may be spent there, so that keys flow where there
are many.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple


class Hop(NamedTuple):
    """A link that may be used: its name, the nodes at its ends, what it costs (> 0)."""

    link: str
    ends: tuple[str, str]
    cost: float


class Path(NamedTuple):
    """A way from one node to another: `links` in order, and the `nodes` that they join."""

    links: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def relays(self) -> tuple[str, ...]:
        """The nodes in between: each of them sees what passes."""
        return self.nodes[1:-1]


# An arc of the graph in which every node is split in two, so that a path can pass it only once: into a node,
# then out of it. (node, False) is its entrance.
_Place = tuple[str, bool]


class _Arc(NamedTuple):
    start: _Place
    end: _Place
    cost: int
    link: str


# Costs are counted in whole units of this, so that sums of them are exact.
_UNIT = 1e-9

# Nodes that no file can name.
_MIDDLE, _OUTSIDE = "(middle)", "(outside)"


def cheapest(hops: Sequence[Hop], start: str, goal: str, closed: Collection[str] = ()) -> Path | None:
    """The path of least cost, the one with fewer relays of two equal ones; it passes no node in `closed`."""
    arcs = _shortest(_split(hops, start, goal, closed), (start, True), (goal, False))
    return None if arcs is None else _path(arcs, start)


def disjoint_pair(
    hops: Sequence[Hop], start: str, goal: str, closed: Collection[str] = ()
) -> tuple[Path, Path] | None:
    """The two paths of least cost together that share no relay and no link; None when there are not two.

    Bhandari, Survivable Networks (1999): the first path's arcs are turned round, at negative cost, before the
    second is looked for; what both walk in opposite directions falls out. Taking the cheapest path away and
    looking again would miss pairs.
    """
    arcs = _split(hops, start, goal, closed)
    source, sink = (start, True), (goal, False)
    first = _shortest(arcs, source, sink)
    if first is None:
        return None
    turned = {_Arc(arc.end, arc.start, -arc.cost, arc.link): arc for arc in first}
    second = _shortest([arc for arc in arcs if arc not in first] + list(turned), source, sink)
    if second is None:
        return None
    undone = {turned[arc] for arc in second if arc in turned}
    together = [arc for arc in first if arc not in undone]
    together += [arc for arc in second if arc not in turned]
    paths = []
    for _ in range(2):
        walked = _shortest(together, source, sink)
        if walked is None:
            return None
        together = [arc for arc in together if arc not in walked]
        paths.append(_path(walked, start))
    shorter, longer = sorted(paths, key=lambda path: len(path.links))
    return shorter, longer


def leads_over(hops: Sequence[Hop], link: str, start: str, goal: str, closed: Collection[str] = ()) -> bool:
    """Whether any path from `start` to `goal` leads over `link`."""
    # From its middle there must be two ways that share no node: one to either end.
    halves = [
        half
        for hop in hops
        if hop.link == link
        for half in (Hop(link, (hop.ends[0], _MIDDLE), 1), Hop(link, (_MIDDLE, hop.ends[1]), 1))
    ]
    ends = [Hop(_OUTSIDE, (start, _OUTSIDE), 1), Hop(_OUTSIDE, (goal, _OUTSIDE), 1)]
    others = [hop for hop in hops if hop.link != link]
    shut = set(closed) - {start, goal}
    return disjoint_pair([*others, *halves, *ends], _MIDDLE, _OUTSIDE, shut) is not None


def along(ways: Sequence[Sequence[str]], hops: Sequence[Hop], two: bool = False) -> tuple[Path, ...]:
    """The cheapest of some given ways, each a row of nodes, or the cheapest two that share no relay; () when
    there is none."""
    costs = {hop.link: hop.cost for hop in hops}
    found = []
    for nodes in ways:
        path = _follow(nodes, hops)
        if path is not None:
            found.append((sum(costs[link] for link in path.links), path))
    found.sort(key=lambda row: (row[0], len(row[1].links)))
    if not two:
        return tuple(path for _, path in found[:1])
    pairs = [
        (one[0] + other[0], one[1], other[1])
        for number, one in enumerate(found)
        for other in found[number + 1 :]
        if not set(one[1].relays) & set(other[1].relays) and not set(one[1].links) & set(other[1].links)
    ]
    return min(pairs, key=lambda row: row[0])[1:] if pairs else ()


def _follow(nodes: Sequence[str], hops: Sequence[Hop]) -> Path | None:
    links = []
    for here, there in pairwise(nodes):
        between = [hop for hop in hops if set(hop.ends) == {here, there}]
        if not between:
            return None
        links.append(min(between, key=lambda hop: hop.cost).link)
    return Path(tuple(links), tuple(nodes))


def _split(hops: Sequence[Hop], start: str, goal: str, closed: Collection[str]) -> list[_Arc]:
    inner = {end for hop in hops for end in hop.ends} - {start, goal} - set(closed)
    arcs = [_Arc((node, False), (node, True), 0, "") for node in sorted(inner)]
    for hop in hops:
        for here, there in (hop.ends, hop.ends[::-1]):
            if here != goal and there != start and {here, there} <= inner | {start, goal}:
                arcs.append(_Arc((here, True), (there, False), max(1, round(hop.cost / _UNIT)), hop.link))
    return arcs


def _shortest(arcs: Sequence[_Arc], source: _Place, sink: _Place) -> list[_Arc] | None:
    """Bellman and Ford: costs may be negative, circles of negative cost do not come up."""
    best: dict[_Place, tuple[int, int]] = {source: (0, 0)}
    came: dict[_Place, _Arc] = {}
    for _ in range(len(arcs) + 1):
        changed = False
        for arc in arcs:
            if arc.start not in best:
                continue
            cost, steps = best[arc.start]
            reached = (cost + arc.cost, steps + 1)
            if arc.end not in best or reached < best[arc.end]:
                best[arc.end], came[arc.end] = reached, arc
                changed = True
        if not changed:
            break
    if sink not in came:
        return None
    walked = [came[sink]]
    while walked[-1].start != source:
        walked.append(came[walked[-1].start])
    return walked[::-1]


def _path(arcs: Sequence[_Arc], start: str) -> Path:
    hops = [arc for arc in arcs if arc.link]
    return Path(tuple(arc.link for arc in hops), (start, *(arc.end[0] for arc in hops)))
