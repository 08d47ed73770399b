"""network.toml: a whole installation in one file, every noun a table. Checked before anything is touched.

[group]            what it is called and where it lives
[[node]]           a site: one KME
[[node_link]]      two sites that talk, and the algorithm between their encryptors
[[provider]]       a QKD module at a node
[[provider_link]]  two modules and the fibre, or satellite, between them
[[consumer]]       an SAE of ETSI GS QKD 014, known by the subject of its certificate
[[consumer_link]]  two SAEs that may share keys
[[path]]           over which nodes; found by itself for a consumer link that has none
[certificates]     who signs them and how long they hold
"""

import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from handfast.core.errors import LocalError
from handfast_kme.entangled import ATTACKS as PAIR_ATTACKS
from handfast_kme.entangled import Pairs
from handfast_kme.optics import Optics
from handfast_kme.satellite import Passes

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


class NetworkError(LocalError):
    """network.toml cannot be used; the text names the table and what to write instead."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Group(_Table):
    """The installation: `[group]`."""

    name: str = Field(pattern=NAME)
    """What it is called; part of every certificate."""
    folder: Path = Path("installation")
    """Where certificates, keys and stores lie."""


class Certificates(_Table):
    """`[certificates]`: a CA of the installation's own signs everything."""

    days: int = Field(default=365, ge=1, le=3650)
    """How long a certificate holds; `apply` renews it in its last third."""


class Node(_Table):
    """A site: `[[node]]`."""

    name: str = Field(pattern=NAME)
    uid: int = Field(ge=1)
    """The number of the site, unique in the group."""
    address: str = "127.0.0.1"
    """Where its KME listens: an IP address or a host name. It stands in the certificate."""
    port: int = Field(ge=1, le=65535)
    """The key delivery API."""
    peer_port: int = Field(ge=1, le=65535)
    """The classical channel to the other KMEs."""

    @property
    def kme_id(self) -> str:
        """The KME ID, as in the certificate's common name."""
        return f"kme-{self.name}"


class NodeLink(_Table):
    """Two sites that talk: `[[node_link]]`."""

    nodes: tuple[str, str]
    algorithm: Literal["AES-256-GCM"] = "AES-256-GCM"
    """What the encryptors at both ends run under the keys."""


class Provider(_Table):
    """A QKD module: `[[provider]]`."""

    name: str = Field(pattern=NAME)
    node: str


class ProviderLink(_Table):
    """Two modules and the light between them: `[[provider_link]]`. SIMULATED."""

    name: str = Field(pattern=NAME)
    providers: tuple[str, str]
    """The first is Alice and sends, the second is Bob and measures. BBM92 measures at both."""
    line_address: str = "127.0.0.1"
    line_port: int = Field(ge=1, le=65535)
    """Where the process listens that plays the light."""
    model: Literal["bb84", "bbm92"] = "bb84"
    key_request_interval: float = Field(default=60.0, gt=0)
    """Seconds between two keys that a consumer is expected to ask for; `status` forecasts starvation by
    it."""
    pulses: int = Field(default=1_000_000_000, ge=1000)
    """Pulses (or pairs) of a block. Large blocks lose less to finite statistics."""
    max_keys: int = Field(default=4096, ge=1)
    """Keys of 256 bits in the store; when it is full the link rests."""
    pace: float = Field(default=1.0, ge=0)
    """Link seconds a wall second; 0 as fast as the machine can, for tests."""
    optics: dict[str, Any] = {}
    """Any field of `Optics`, of `Pairs` for bbm92: length_km, loss_db_per_km, misalignment, ..."""
    passes: dict[str, Any] | None = None
    """When the satellite of a bbm92 link is in sight: period, duration, start, in seconds."""

    @model_validator(mode="after")
    def _physics(self) -> "ProviderLink":
        try:
            self.light()
            self.windows()
        except (TypeError, ValueError) as error:
            raise ValueError(str(error).replace("Optics.__init__() ", "optics ")) from None
        return self

    def light(self) -> Optics | Pairs:
        """The optics of the link."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.optics.items()
        }
        return Pairs(**values) if self.model == "bbm92" else Optics(**values)

    def allows(self, attack: str) -> None:
        """NetworkError for an attack that means nothing to this kind of light."""
        if self.model == "bbm92" and attack not in ("none", *PAIR_ATTACKS):
            raise NetworkError(f"a bbm92 link knows the attacks {', '.join(PAIR_ATTACKS)}, not {attack!r}")

    def windows(self) -> Passes | None:
        """When there is light at all; None for always."""
        return None if self.passes is None else Passes(**self.passes)


class Consumer(_Table):
    """An SAE: `[[consumer]]`."""

    name: str = Field(pattern=NAME)
    """Its SAE ID."""
    node: str
    subject: str = ""
    """The subject of its certificate, RFC 4514; CN=<name>,O=<group> when it is left out."""
    key_type: Literal["AES-256"] = "AES-256"
    """What it uses the keys for."""
    port: int = Field(default=0, ge=0, le=65535)
    """Where the SAE itself listens for its peer; 0 when it does not matter here."""

    @field_validator("subject")
    @classmethod
    def _name(cls, value: str) -> str:
        return x509.Name.from_rfc4514_string(value).rfc4514_string() if value else value


class ConsumerLink(_Table):
    """Two SAEs that may share keys: `[[consumer_link]]`."""

    consumers: tuple[str, str]
    bidirectional: bool = True
    """Whether either may ask first; else only the first one is ever master."""
    key_size: int = Field(default=256, ge=64, le=65536, multiple_of=8)
    """Default size of a key in bits."""


class Route(_Table):
    """The way of a consumer link's keys: `[[path]]`."""

    consumers: tuple[str, str]
    nodes: tuple[str, ...]
    """From the first consumer's node to the second's."""


class Network(_Table):
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
        subjects = [self.subject(consumer) for consumer in self.consumer]
        if len(set(subjects)) < len(subjects):
            yield "two consumers have one subject: a certificate could not tell them apart"

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

    def links_of(self, node: str) -> list[ProviderLink]:
        """Provider links that end at a node."""
        return [link for link in self.provider_link if node in {end.name for end in self.ends(link)}]

    def link_between(self, one: str, other: str) -> ProviderLink | None:
        """The first provider link between two nodes."""
        for link in self.provider_link:
            if {end.name for end in self.ends(link)} == {one, other}:
                return link
        return None

    def route(self, link: ConsumerLink) -> tuple[str, ...]:
        """The nodes of a consumer link's keys: its [[path]], or the one with the fewest hops. () when there
        is none."""
        for path in self.path:
            if set(path.consumers) == set(link.consumers):
                return path.nodes
        start, goal = (self.named("consumer", name).node for name in link.consumers)
        return self._fewest_hops(start, goal)

    def _fewest_hops(self, start: str, goal: str) -> tuple[str, ...]:
        before: dict[str, str] = {start: start}
        waiting = deque([start])
        while waiting and goal not in before:
            here = waiting.popleft()
            for link in self.links_of(here):
                for end in self.ends(link):
                    if end.name not in before:
                        before[end.name] = here
                        waiting.append(end.name)
        if goal not in before or goal == start:
            return ()
        nodes = [goal]
        while nodes[-1] != start:
            nodes.append(before[nodes[-1]])
        return tuple(reversed(nodes))


_REFERENCES = (
    ("node_link", "nodes", "node"),
    ("provider", "node", "node"),
    ("provider_link", "providers", "provider"),
    ("consumer", "node", "node"),
    ("consumer_link", "consumers", "consumer"),
    ("path", "consumers", "consumer"),
    ("path", "nodes", "node"),
)


def load_network(path: Path) -> Network:
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


def _sentence(path: Path, place: Sequence[int | str], message: str) -> str:
    where = ".".join(str(part) for part in place)
    return f"{path}: {where + ': ' if where else ''}{message.removeprefix('Value error, ')}"
