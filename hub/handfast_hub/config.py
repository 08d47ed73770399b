"""The hub's configuration: one hub.toml into frozen models, checked before anything is opened.

Every key has a default except `name`. An environment variable HANDFAST_HUB_<KEY> or
HANDFAST_HUB_<SECTION>__<KEY> wins over the file. An unknown key is an error that names the
nearest right one. Paths are relative to the folder of the file. Secrets stand in files of their
own, never in here.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from handfast.core.constants import MIN_PACKET_LIMIT
from handfast.core.errors import LocalError
from handfast.core.suites import DEFAULT_SUITES, SUITES
from handfast_hub.feeds.settings import KINDS, Feed
from handfast_hub.trunk.settings import Bridge, TopicRule, Trunk

ENV_PREFIX = "HANDFAST_HUB_"
ENV_FILE = ENV_PREFIX + "CONFIG"

# Where the rules of a trunk stand, in documents and in what is said of a wrong one.
_RULES = "trunk.policy"

# What a hub may be called.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


class ConfigError(LocalError):
    """hub.toml cannot be used; the text names the key and what to write instead."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Mqtt(_Section):
    """The broker: `[mqtt]`."""

    broker: Literal["embedded", "external"] = "embedded"
    """`embedded` runs a small broker inside the hub, for demos and a few hundred devices; `external`
    connects to Mosquitto or any other MQTT 3.1.1 broker."""

    host: str = "127.0.0.1"
    """Where the broker is, or where the embedded one listens."""

    port: int = Field(default=1883, ge=0, le=65535)
    """Its TCP port; 0 lets the embedded broker take a free one."""

    username: str | None = None
    """The hub's user name at the broker."""

    password_file: Path | None = None
    """A file whose first line is the hub's password at the broker."""

    tls: bool = False
    """Speak TLS with the broker. Security does not rest on it; it hides who talks when."""

    ca: Path | None = None
    """PEM file with the roots to trust instead of the machine's own."""

    certificate: Path | None = None
    """PEM file with the hub's client certificate, or the embedded broker's certificate."""

    key: Path | None = None
    """PEM file with the private key of `certificate`."""

    unacknowledged: int = Field(default=1024, ge=1, le=65535)
    """How many PUBLISH packets may wait for their acknowledgement before the hub stops reading."""

    packet_limit: int = Field(default=0)
    """The largest payload in bytes that the broker carries, at least 1024; longer answers to joining devices
    go out in fragments. 0 sends them whole. Fragments that come are always understood."""

    @field_validator("packet_limit")
    @classmethod
    def _fragments_suffice(cls, value: int) -> int:
        if value != 0 and value < MIN_PACKET_LIMIT:
            raise ValueError(f"expected 0 or at least {MIN_PACKET_LIMIT}, got {value}")
        return value


class Policy(_Section):
    """Who may join: `[policy]`."""

    admit: frozenset[Literal["thumbprint", "token", "approval"]] = frozenset(
        ("thumbprint", "token", "approval")
    )
    """The ways in. `thumbprint`: the operator entered the claim code before. `token`: the device proves a
    token. `approval`: an unknown device waits until an operator approves it; without this it is refused."""

    entropy: Literal["any", "quantum"] = "any"
    """`quantum` takes only devices whose DEVINFO claims a quantum source that passed its health tests; a
    simulated source never satisfies it. It is a claim by the device, authenticated, but not proof."""

    reenrol: bool = True
    """Whether an onboarded device may enrol again by itself, with the same identity."""

    retry_seconds: int = Field(default=15, ge=1, le=86400)
    """How long a device that waits for approval is told to wait before it asks again."""


class Limits(_Section):
    """What the hub spends on strangers: `[limits]`."""

    half_open: int = Field(default=4096, ge=1)
    """Handshakes that may be under way at once; random early drop begins at half of it."""

    signatures_per_second: float = Field(default=2000.0, gt=0)
    """The rate of the bucket that message_1 draws from."""

    verifications_per_second: float = Field(default=2000.0, gt=0)
    """The rate of the bucket that message_3 draws from."""

    session_seconds: float = Field(default=60.0, ge=1, le=600)
    """How long a handshake may take."""

    workers: int = Field(default=0, ge=0, le=256)
    """Threads for signing and verifying; 0 means one for each processor, and none where there is one
    processor: the hub computes between two looks at the network then."""


class Entropy(_Section):
    """Where the hub's random bytes come from: `[entropy]`."""

    source: str = "os"
    """A quantum source: `/dev/hwrng` or another device, `serial:/dev/ttyUSB0`, `https://...`, `os` for
    the operating system, or `simulated`. It is tested at start and mixed with the machine's own."""

    state: Path = Path("entropy")
    """A folder for the secret state of the generator."""


class Retention(_Section):
    """What the registry keeps: `[retention]`."""

    readings: int = Field(default=100_000, ge=0)
    """Readings kept for `listen`; the oldest go first. 0 delivers without keeping."""

    events: int = Field(default=100_000, ge=1000)
    """Rows of the audit log that are kept."""

    commands: int = Field(default=100_000, ge=0)
    """Commands that are over (answered, expired, unanswered) and are kept; the oldest go first."""

    tokens: int = Field(default=100_000, ge=0)
    """Tokens that nobody can use any more and are kept; a device with one that went gets no answer."""


class Log(_Section):
    """What the hub writes to standard error: `[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious message that is written."""

    format: Literal["console", "json"] = "console"
    """`json` writes one object a line."""


class HubConfig(BaseSettings):
    """The whole of hub.toml."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    name: str = Field(pattern=NAME)
    """The hub's name: letters, digits, dot, dash and underscore, at most 63. Part of its credential."""

    database: str = "hub.sqlite"
    """The registry: the path of a SQLite file, or a SQLAlchemy URL."""

    master_key: Path = Path("master.key")
    """The file with the key that seals every secret in the database. Keep a copy, apart from the backups."""

    suites: tuple[int, ...] = DEFAULT_SUITES
    """Cipher suites that are accepted; all need the same signature algorithm, that of the hub's key."""

    linger_seconds: float = Field(default=0.1, ge=0, le=1)
    """Under load a database transaction waits for company, at most this long; it trades latency for CPU."""

    mqtt: Mqtt = Mqtt()
    policy: Policy = Policy()
    limits: Limits = Limits()
    entropy: Entropy = Entropy()
    retention: Retention = Retention()
    log: Log = Log()
    bridge: Bridge = Bridge()
    # As many as there are slots in `readings.classes`.
    trunk: dict[Annotated[str, Field(pattern=NAME)], Trunk] = Field(default_factory=dict, max_length=31)
    feed: dict[Annotated[str, Field(pattern=NAME)], Feed] = Field(default_factory=dict)

    @field_validator("suites")
    @classmethod
    def _suites_exist(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        unknown = [number for number in value if number not in SUITES]
        if unknown or not value:
            raise ValueError(f"expected some of {sorted(SUITES, reverse=True)}, got {list(value)}")
        if len({SUITES[number].signature for number in value}) > 1:
            raise ValueError(f"{list(value)} need different signature keys; a hub has one")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file, and nothing else."""
        return env_settings, init_settings


def load_config(path: Path) -> HubConfig:
    """Read and check `path`; ConfigError with one line for each thing that is wrong."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}; run 'handfast-hub init --name NAME', or name another file with --config"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    unknown = list(_unknown_variables(os.environ))
    if unknown:
        raise ConfigError("\n".join(unknown))
    try:
        config = HubConfig(**content)
    except ValidationError as error:
        sentences = [_sentence(str(path), dict(item)) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(sentences)) from None
    for name, feed in config.feed.items():
        trunk = config.trunk.get(feed.trunk)
        if trunk is None or not trunk.kme:
            raise ConfigError(
                f"{path}: 'feed.{name}.trunk' is '{feed.trunk}': expected the NAME of a [trunk.NAME] with kme"
            )
    return _anchored(config, path.resolve().parent)


def fields() -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections in the order of the file, ("", HubConfig) first; for documents and suggestions."""
    yield "", HubConfig
    for name, field in HubConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation
    yield "trunk", Trunk
    yield _RULES, TopicRule
    yield from (("feed", kind) for kind in KINDS)


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section as they stand in the file; not all of them can be names in Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _anchored(config: HubConfig, folder: Path) -> HubConfig:
    """`config` with every relative path resolved from `folder`."""
    update: dict[str, Any] = {"master_key": folder / config.master_key}
    if "://" not in config.database:
        update["database"] = str(folder / config.database)
    for section, _ in fields():
        model = getattr(config, section, None)
        if isinstance(model, BaseModel):
            update[section] = _anchored_section(model, folder)
    for tables in ("trunk", "feed"):
        models = getattr(config, tables)
        update[tables] = {name: _anchored_section(model, folder) for name, model in models.items()}
    return config.model_copy(update=update)


def _anchored_section(model: BaseModel, folder: Path) -> BaseModel:
    paths = {key: folder / value for key, value in model if isinstance(value, Path)}
    return model.model_copy(update=paths)


def _sentence(file: str, error: dict[str, Any]) -> str:
    *section, key = (str(part) for part in error["loc"]) if error["loc"] else ("",)
    table = _RULES if section[:1] == ["trunk"] and section[2:3] == ["policy"] else "".join(section[:1])
    where = f"{file}: [{table}] " if table else f"{file}: "
    if error["type"] == "extra_forbidden":
        return f"{where}has no key '{key}'; {_nearest(table, key)}"
    if error["type"] == "missing":
        return f"{where}needs the key '{key}'"
    path = ".".join([*section, key])
    expected = (
        "expected a table"
        if error["type"] == "model_type"
        else error["msg"].removeprefix("Value error, ").replace("Input", "it", 1)
    )
    given = error.get("input")
    # A whole table says no more than its name.
    shown = "" if isinstance(given, Mapping | Sequence) and not isinstance(given, str) else f" is {given!r}"
    return f"{file}: '{path}'{shown}: {expected}"


def _nearest(section: str, key: str) -> str:
    """What the writer of an unknown `key` most likely meant."""
    names: dict[str, list[str]] = {}
    for name, model in fields():
        names.setdefault(name, []).extend(keys_of(model))
    here = difflib.get_close_matches(key, names.get(section, []), n=1, cutoff=0.5)
    # The right key in the wrong place: of all sections the nearest one, the first in the file of equal ones.
    everywhere = {entry: name for name in reversed(names) for entry in names[name]}
    there = difflib.get_close_matches(key, everywhere, n=1, cutoff=0.7)
    if there and not (here and _likeness(key, here[0]) >= _likeness(key, there[0])):
        name = everywhere[there[0]]
        return f"did you mean '{name}.{there[0]}'?" if name else f"did you mean '{there[0]}'?"
    if here:
        return f"did you mean '{here[0]}'?"
    return f"the keys are {', '.join(names.get(section, []))}"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = {ENV_FILE}
    for section, model in fields():
        # A rule is one of a list, which has no names.
        if section == _RULES:
            continue
        prefix = ENV_PREFIX + (f"{section.upper()}__" if section else "")
        known.update(prefix + key.upper() for key in model.model_fields)
    for name in sorted(environment):
        if name.startswith(ENV_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"the environment variable {name} is no setting of the hub{hint}"
