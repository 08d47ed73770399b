"""The sections of hub.toml that are about trunks: `[bridge]` and `[trunk.NAME]`."""

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from handfast.core.topics import CHANNEL_NAMES
from handfast_hub.trunk.topic_rules import Rule, TopicPolicy, check_pattern, check_rules

Channel = Literal["telemetry", "bulk", "alarm"]
Bridged = Literal["secret", "normal", "bulk"]
Ruled = Literal["secret", "normal", "bulk", "none"]

_DEFAULT: dict[Channel, Bridged] = {"telemetry": "normal", "alarm": "secret", "bulk": "bulk"}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Bridge(_Section):
    """Where other hubs connect, and what all trunks share: `[bridge]`."""

    host: str = "127.0.0.1"
    """The address to listen on for trunks that another hub dials."""

    port: int = Field(default=0, ge=0, le=65535)
    """Its TCP port; 0 listens nowhere, for a hub that dials all its trunks."""

    quic_port: int = Field(default=0, ge=0, le=65535)
    """Its UDP port for QUIC; 0 listens nowhere."""

    used_keys: Path = Path("used_keys.sqlite")
    """Where this hub remembers every QKD key that it ever took, by salted hashes, to refuse it when it comes
    again."""

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not _can_be_asked_for(value):
            raise ValueError("expected the name or the number of a machine")
        return value


class TopicRule(_Section):
    """One rule of a trunk, of several in their order: `[[trunk.NAME.policy]]`."""

    topic: str
    """Topics as an operator knows them, `LABEL/CHANNEL`: the label of the device, whose slashes make levels,
    then `telemetry`, `alarm` or `bulk`, or `command` for what comes back. `+` stands for one level, `#` at
    the end for all that follow. A device without a label has its device id for one."""

    name: Ruled = Field(alias="class")
    """The class of what matches, `secret`, `normal` or `bulk`; `none` keeps it here."""

    @field_validator("topic")
    @classmethod
    def _pattern(cls, value: str) -> str:
        check_pattern(value)
        return value


class Trunk(_Section):
    """A trunk to another hub: `[trunk.NAME]`."""

    hub: str
    """The hub code of the other hub, as its `handfast-hub init` or `check` prints it."""

    secret_file: Path
    """The pairing secret that both hubs hold, made by `handfast-hub trunk pair`."""

    connect: tuple[str, ...] = ()
    """Where the other hub's `[bridge]` listens, as `"quic://HOST:PORT"` or `"tcp://HOST:PORT"`, or a list of
    such, the preferred one first: the others are used while it is down. Without it that hub dials."""

    classes: dict[Channel, Bridged] = Field(default_factory=lambda: dict(_DEFAULT))
    """Which channels of devices are bridged, and as what, where no rule of `policy` speaks of them: `secret`
    waits for an epoch with a fresh QKD key, `normal` may travel under ML-KEM alone and is marked degraded
    then, `bulk` never spends a QKD key."""

    policy: tuple[TopicRule, ...] = ()
    """Rules by topic, each a table `[[trunk.NAME.policy]]`; the first that matches counts. The class of a
    reading is fixed when it is recorded, so what was recorded as `secret` stays it."""

    commands: bool = False
    """Whether the other hub may send commands to devices of this one, as far as `policy` lets it."""

    command_class: Literal["secret", "normal"] = "normal"
    """The class of commands that this hub sends to devices of the other one, and so of their answers."""

    kme: str = ""
    """URL of the KME of this end (ETSI GS QKD 014). Without it the trunk has no QKD, and `secret` waits for
    ever."""

    kme_id: str = ""
    """The KME ID of that KME: what its certificate has to bear."""

    peer_sae: str = ""
    """The SAE ID of the other hub at its KME."""

    kme_ca: Path | None = None
    """PEM file with the root of the KME's certificate."""

    kme_certificate: Path | None = None
    """PEM file with this hub's client certificate: its SAE ID is in there."""

    kme_key: Path | None = None
    """PEM file with the private key of `kme_certificate`."""

    kme_reserve: int = Field(default=8, ge=0, le=16)
    """QKD keys that both hubs hold in memory for when a KME is down, half an hour at most; 0 holds none, for
    a KME that keeps only the newest key."""

    disjoint_paths: Literal[1, 2] = 1
    """2 lets `secret` travel only under QKD keys that came in two halves over ways without a common relay, so
    that no single relay of a QKD network knows them; for KMEs that know `handfast_disjoint_paths`. When there
    is one way only, `secret` waits and `normal` goes on with keys of that one. The hub that says 2 is obeyed
    by both."""

    rekey_seconds: float = Field(default=60.0, ge=1, le=86400)
    """How long an epoch is used."""

    @field_validator("policy")
    @classmethod
    def _reached(cls, value: tuple[TopicRule, ...]) -> tuple[TopicRule, ...]:
        check_rules([Rule(rule.topic, rule.name) for rule in value])
        return value

    @field_validator("connect", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        # One address needs no list; HOST:PORT alone is TCP.
        return ((value,) if value else ()) if isinstance(value, str) else value

    @field_validator("connect")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(map(address, value))) < len(value):
            raise ValueError("the same address stands there twice")
        return value

    @model_validator(mode="after")
    def _whole_kme(self) -> "Trunk":
        needed = (self.kme_id, self.peer_sae, self.kme_ca, self.kme_certificate, self.kme_key)
        if self.kme and not all(needed):
            raise ValueError(
                "a trunk with kme needs kme_id, peer_sae, kme_ca, kme_certificate and kme_key too"
            )
        return self


class Address(NamedTuple):
    """Where a hub listens: "tcp" or "quic", a name or number of a machine, a port."""

    scheme: str
    host: str
    port: int


def address(text: str) -> Address:
    """Read an address of `connect`; ValueError for what is none."""
    scheme, _, rest = text.rpartition("://")
    host, _, port = rest.rpartition(":")
    # [::1]:7301 is how RFC 3986 section 3.2.2 writes a number of IPv6.
    host = host.removeprefix("[").removesuffix("]")
    good = scheme in ("", "tcp", "quic") and _can_be_asked_for(host)
    if not good or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"expected quic://HOST:PORT or tcp://HOST:PORT, not {text!r}")
    return Address(scheme or "tcp", host, int(port))


def _can_be_asked_for(host: str) -> bool:
    """Whether DNS can be asked for a host; not with a label that is empty or longer than 63 bytes."""
    try:
        return bool(host) and host.isprintable() and bool(host.encode("idna"))
    except UnicodeError:
        return False


def topic_policy(trunk: Trunk) -> TopicPolicy:
    """What a trunk's rules and its table of channels say together."""
    channels: dict[str, str] = dict(trunk.classes.items())
    return TopicPolicy([Rule(rule.topic, rule.name) for rule in trunk.policy], channels)


def channels_by_class(trunk: Trunk) -> dict[str, tuple[int, ...]]:
    """The numbers of the channels that go as each class."""
    numbers = {name: number for number, name in CHANNEL_NAMES.items()}
    found: dict[str, tuple[int, ...]] = {}
    for channel, name in trunk.classes.items():
        found[name] = (*found.get(name, ()), numbers[channel])
    return found
