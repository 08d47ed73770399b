"""The tables of network.toml, each by itself. What they say to each other is checked in network.py."""

from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from handfast.core.errors import LocalError
from handfast_kme.cells import A_KEY
from handfast_kme.entangled import ATTACKS as PAIR_ATTACKS
from handfast_kme.entangled import Pairs
from handfast_kme.optics import Optics
from handfast_kme.satellite import Passes

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


class NetworkError(LocalError):
    """network.toml cannot be used; the text names the table and what to write instead."""


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Group(Table):
    """The installation: `[group]`."""

    name: str = Field(pattern=NAME)
    """What it is called; part of every certificate."""
    folder: Path = Path("installation")
    """Where certificates, keys and stores lie."""


class Certificates(Table):
    """`[certificates]`: a CA of the installation's own signs everything."""

    days: int = Field(default=365, ge=1, le=3650)
    """How long a certificate holds; `apply` renews it in its last third."""


class Node(Table):
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
    relay: bool = True
    """Whether keys between other nodes may pass here. The KME sees every key that it relays."""

    @property
    def kme_id(self) -> str:
        """The KME ID, as in the certificate's common name."""
        return f"kme-{self.name}"


class NodeLink(Table):
    """Two sites that talk: `[[node_link]]`."""

    nodes: tuple[str, str]
    algorithm: Literal["AES-256-GCM"] = "AES-256-GCM"
    """What the encryptors at both ends run under the keys."""


class Provider(Table):
    """A QKD module: `[[provider]]`."""

    name: str = Field(pattern=NAME)
    node: str


class ProviderLink(Table):
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
    cost: float = Field(default=1.0, gt=0)
    """What a path pays for passing here, over the keys that may be spent: dear links are passed by."""
    reserve: int = Field(default=0, ge=0)
    """Keys of 256 bits that stay for the SAEs at its two ends; paths with relays leave it alone."""
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

    @property
    def capacity(self) -> int:
        """Cells of a full store."""
        return self.max_keys * A_KEY

    @property
    def reserved(self) -> int:
        """Cells that stay for the SAEs at its two ends."""
        return self.reserve * A_KEY

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


class Consumer(Table):
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


class ConsumerLink(Table):
    """Two SAEs that may share keys: `[[consumer_link]]`."""

    consumers: tuple[str, str]
    bidirectional: bool = True
    """Whether either may ask first; else only the first one is ever master."""
    share: float = Field(default=1.0, gt=0)
    """Its part of what a link makes, beside those of the other consumer links whose keys go there."""
    key_size: int = Field(default=256, ge=64, le=65536, multiple_of=8)
    """Default size of a key in bits."""


class Route(Table):
    """A way that a consumer link's keys may go: `[[path]]`. Where there is one, they go no other way."""

    consumers: tuple[str, str]
    nodes: tuple[str, ...] = Field(min_length=2)
    """From the first consumer's node to the second's."""
