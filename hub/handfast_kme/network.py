"""network.toml: a whole installation in one file, every noun a table. Checked before anything is touched.

[group]            what it is called and where it lives
[[node]]           a site: one KME
[[node_link]]      two sites that talk, and the algorithm between their encryptors
[[provider]]       a QKD module at a node
[[provider_link]]  two modules and the fibre, or satellite, between them
[[consumer]]       an SAE of ETSI GS QKD 014, known by the subject of its certificate
[[consumer_link]]  two SAEs that may share keys
[[path]]           over which nodes, one or several; found by itself for a consumer link that has none
[certificates]     who signs them and how long they hold
"""

import tomllib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path as File
from typing import Any

from pydantic import Field, ValidationError, model_validator

from handfast_kme.budgets import OTHERS, payer
from handfast_kme.paths import Hop, Path, along, cheapest, disjoint_pair, leads_over
from handfast_kme.tables import (
    Certificates,
    Consumer,
    ConsumerLink,
    Group,
    NetworkError,
    Node,
    NodeLink,
    Provider,
    ProviderLink,
    Route,
    Table,
)


class Network(Table):
    """The whole of network.toml."""

    group: Group
    certificates: Certificates = Certificates()
    node: tuple[Node, ...] = Field(min_length=2)
    node_link: tuple[NodeLink, ...] = ()
    provider: tuple[Provider, ...] = ()
    provider_link: tuple[ProviderLink, ...] = ()
    consumer: tuple[Consumer, ...] = ()
    consumer_link: tuple[ConsumerLink, ...] = ()
    path: tuple[Route, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "Network":
        mistakes = list(self._mistakes())
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self

    def _mistakes(self) -> Iterator[str]:
        for noun in ("node", "provider", "provider_link", "consumer"):
            names = [entry.name for entry in getattr(self, noun)]
            yield from (
                f"[[{noun}]] {name!r} is there twice" for name in sorted(set(names)) if names.count(name) > 1
            )
        ports = [(node.address, port) for node in self.node for port in (node.port, node.peer_port)]
        ports += [(link.line_address, link.line_port) for link in self.provider_link]
        yield from (
            f"{host}:{port} is given twice"
            for host, port in sorted(set(ports))
            if ports.count((host, port)) > 1
        )
        if len({node.uid for node in self.node}) < len(self.node):
            yield "two nodes have one uid"
        for noun, key, target in _REFERENCES:
            known = [entry.name for entry in getattr(self, target)]
            for entry in getattr(self, noun):
                named = getattr(entry, key)
                for name in [named] if isinstance(named, str) else named:
                    if name not in known:
                        there = ", ".join(known) or "none"
                        yield f"[[{noun}]] {key}: there is no [[{target}]] {name!r}, only {there}"
        yield from self._wrong_paths()
        subjects = [self.subject(consumer) for consumer in self.consumer]
        if len(set(subjects)) < len(subjects):
            yield "two consumers have one subject: a certificate could not tell them apart"

    def _wrong_paths(self) -> Iterator[str]:
        """[[path]] tables that no key could follow; of those whose names are right."""
        nodes = {node.name: node for node in self.node}
        at = {consumer.name: consumer.node for consumer in self.consumer}
        module_at = {provider.name: provider.node for provider in self.provider}
        joined = [{module_at.get(name) for name in link.providers} for link in self.provider_link]
        for path in self.path:
            if not (set(path.nodes) <= set(nodes) and set(path.consumers) <= set(at)):
                continue
            where = f"[[path]] {' '.join(path.nodes)}"
            if (path.nodes[0], path.nodes[-1]) != tuple(at[name] for name in path.consumers):
                yield f"{where}: should lead from the first consumer's node to the second's"
            if len(set(path.nodes)) < len(path.nodes):
                yield f"{where}: passes a node twice"
            for here, there in pairwise(path.nodes):
                if {here, there} not in joined:
                    yield f"{where}: there is no provider link between {here} and {there}"
            for name in path.nodes[1:-1]:
                if not nodes[name].relay:
                    yield f"{where}: {name} is not to relay"

    def subject(self, consumer: Consumer) -> str:
        """The subject of a consumer's certificate, RFC 4514."""
        return consumer.subject or f"CN={consumer.name},O={self.group.name}"

    def named(self, noun: str, name: str) -> Any:
        """The table of that name; NetworkError."""
        known = getattr(self, noun)
        for entry in known:
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in known)
        raise NetworkError(f"there is no {noun.replace('_', ' ')} {name!r}; there are: {names}")

    def ends(self, link: ProviderLink) -> tuple[Node, Node]:
        """The nodes of Alice and of Bob."""
        alice, bob = (self.named("node", self.named("provider", name).node) for name in link.providers)
        return alice, bob

    def hop(self, link: ProviderLink, cost: float) -> Hop:
        """A link as a hop of a path that pays `cost` for it."""
        alice, bob = self.ends(link)
        return Hop(link.name, (alice.name, bob.name), cost)

    def links_of(self, node: str) -> list[ProviderLink]:
        """Provider links that end at a node."""
        return [link for link in self.provider_link if node in {end.name for end in self.ends(link)}]

    def node_of(self, consumer: str) -> Node:
        """The node of an SAE; NetworkError."""
        found: Node = self.named("node", self.named("consumer", consumer).node)
        return found

    def nodes_of(self, pair: ConsumerLink) -> set[str]:
        """The nodes of two SAEs."""
        return {self.named("consumer", name).node for name in pair.consumers}

    def paths(
        self, pair: ConsumerLink, start: str, two: bool = False, hops: Sequence[Hop] | None = None
    ) -> tuple[Path, ...]:
        """The best path of a consumer link from node `start`, or the best two that share no relay; () when
        there is none.

        `hops`: the links that may be used, all of them at their own cost when it is left out. A consumer
        link with [[path]] tables takes those alone.
        """
        if hops is None:
            hops = self._all_hops()
        goal = next(iter(self.nodes_of(pair) - {start}), start)
        if goal == start:
            return ()
        given = self._given(pair)
        if given:
            return along([nodes if nodes[0] == start else nodes[::-1] for nodes in given], hops, two)
        if two:
            return disjoint_pair(hops, start, goal, self._closed()) or ()
        found = cheapest(hops, start, goal, self._closed())
        return (found,) if found else ()

    def shares(self) -> dict[str, dict[str, float]]:
        """Who has a part of what each link makes, by the names of link and account (`budgets`): the consumer
        links whose one or two best paths lead over it. All others that may ever come share one more."""
        found: dict[str, dict[str, float]] = {link.name: {} for link in self.provider_link}
        hops, closed = self._all_hops(), self._closed()
        for pair in self.consumer_link:
            start, goal = (self.node_of(name).name for name in pair.consumers)
            ways = (*self.paths(pair, start), *self.paths(pair, start, two=True))
            best = {link for way in ways for link in way.links}
            strays = start != goal and not self._given(pair)
            for link, accounts in found.items():
                if link in best:
                    accounts[payer(*pair.consumers)] = pair.share
                elif strays and leads_over(hops, link, start, goal, closed):
                    accounts[OTHERS] = 1.0
        return found

    def _given(self, pair: ConsumerLink) -> list[tuple[str, ...]]:
        return [path.nodes for path in self.path if set(path.consumers) == set(pair.consumers)]

    def _all_hops(self) -> list[Hop]:
        return [self.hop(link, link.cost) for link in self.provider_link]

    def _closed(self) -> list[str]:
        return [node.name for node in self.node if not node.relay]


_REFERENCES = (
    ("node_link", "nodes", "node"),
    ("provider", "node", "node"),
    ("provider_link", "providers", "provider"),
    ("consumer", "node", "node"),
    ("consumer_link", "consumers", "consumer"),
    ("path", "consumers", "consumer"),
    ("path", "nodes", "node"),
)


def load_network(path: File) -> Network:
    """Read and check `path`; NetworkError with one line for each thing that is wrong."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NetworkError(f"there is no {path}; examples/network.toml is one to begin with") from None
    except tomllib.TOMLDecodeError as error:
        raise NetworkError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(f"cannot read {path}: {error}") from None
    try:
        network = Network(**content)
    except ValidationError as error:
        found = [_sentence(path, item["loc"], item["msg"]) for item in error.errors(include_url=False)]
        raise NetworkError("\n".join(found)) from None
    folder = path.resolve().parent / network.group.folder
    return network.model_copy(update={"group": network.group.model_copy(update={"folder": folder})})


def _sentence(path: File, place: Sequence[int | str], message: str) -> str:
    where = ".".join(str(part) for part in place)
    return f"{path}: {where + ': ' if where else ''}{message.removeprefix('Value error, ')}"
