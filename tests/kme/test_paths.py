"""Paths through networks: the cheapest, and two without a common relay, against trying all of them."""

import itertools
import random

import pytest

from handfast_kme.paths import Hop, along, cheapest, disjoint_pair, leads_over

Way = tuple[float, tuple[str, ...], tuple[str, ...]]


def every_way(hops: list[Hop], start: str, goal: str) -> list[Way]:
    found: list[Way] = []

    def walk(here: str, nodes: tuple[str, ...], taken: tuple[Hop, ...]) -> None:
        if here == goal:
            found.append((sum(hop.cost for hop in taken), tuple(hop.link for hop in taken), nodes))
            return
        for hop in hops:
            for one, other in (hop.ends, hop.ends[::-1]):
                if one == here and other not in nodes:
                    walk(other, (*nodes, other), (*taken, hop))

    walk(start, (start,), ())
    return found


def apart(one: Way, other: Way) -> bool:
    return not set(one[2][1:-1]) & set(other[2][1:-1]) and not set(one[1]) & set(other[1])


@pytest.mark.parametrize("seed", range(10))
def test_no_way_is_cheaper_and_no_two_ways_that_share_no_relay_are(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(50):
        check_against_every_way(dice)


def check_against_every_way(dice: random.Random) -> None:
    nodes = [str(number) for number in range(dice.randint(2, 7))]
    hops = []
    for number in range(dice.randint(1, 11)):
        one, other = dice.sample(nodes, 2)
        hops.append(Hop(f"l{number}", (one, other), dice.choice([1.0, 2.0, 3.0, 0.5, 1 / 7])))
    cost = {hop.link: hop.cost for hop in hops}
    ways = every_way(hops, "0", "1")
    path = cheapest(hops, "0", "1")
    assert (path is None) == (not ways)
    if path is not None:
        assert sum(cost[link] for link in path.links) == pytest.approx(min(ways)[0])
        assert (path.links, path.nodes) in [way[1:] for way in ways]
    for hop in hops:
        assert leads_over(hops, hop.link, "0", "1") == any(hop.link in way[1] for way in ways)
    pairs = [
        (one[0] + other[0], one, other) for one, other in itertools.combinations(ways, 2) if apart(one, other)
    ]
    found = disjoint_pair(hops, "0", "1")
    assert (found is None) == (not pairs)
    if found is not None:
        one, other = found
        assert apart((0, one.links, one.nodes), (0, other.links, other.nodes))
        assert sum(cost[link] for path in found for link in path.links) == pytest.approx(min(pairs)[0])


def test_the_cheapest_path_is_given_up_where_it_would_cut_off_the_second() -> None:
    # The trap of Suurballe: a-b-c-d is cheapest, and without b and c nothing is left.
    hops = [
        Hop("ab", ("a", "b"), 1), Hop("bc", ("b", "c"), 1), Hop("cd", ("c", "d"), 1),
        Hop("ac", ("a", "c"), 3), Hop("bd", ("b", "d"), 3),
    ]  # fmt: skip
    alone, pair = cheapest(hops, "a", "d"), disjoint_pair(hops, "a", "d")
    assert alone is not None
    assert pair is not None
    assert alone.nodes == ("a", "b", "c", "d")
    assert {path.nodes for path in pair} == {("a", "b", "d"), ("a", "c", "d")}


def test_no_path_leads_through_a_node_that_does_not_relay() -> None:
    hops = [Hop("ab", ("a", "b"), 1), Hop("bc", ("b", "c"), 1)]
    assert cheapest(hops, "a", "c") is not None
    assert cheapest(hops, "a", "c", ["b"]) is None
    assert cheapest(hops, "a", "b", ["b", "a"]) is not None


def test_of_the_ways_that_the_file_gives_the_cheapest_usable_one_is_taken() -> None:
    hops = [Hop("ab", ("a", "b"), 1), Hop("bd", ("b", "d"), 1), Hop("ac", ("a", "c"), 3)]
    hops += [Hop("cd", ("c", "d"), 3), Hop("ad", ("a", "d"), 0.1)]
    given = [("a", "c", "d"), ("a", "b", "d")]
    assert [path.nodes for path in along(given, hops)] == [("a", "b", "d")]
    assert [path.nodes for path in along(given, hops[2:])] == [("a", "c", "d")]
    assert {path.nodes for path in along(given, hops, two=True)} == set(given)
    assert along(given, hops[1:], two=True) == ()
