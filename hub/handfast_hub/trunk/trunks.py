"""All trunks of a hub, put together: links, bridges, the port where other hubs connect.

trunks = Trunks(config, registry, crypto, random, ...)
await trunks.start()
"""

import asyncio
import contextlib
import importlib.util
import json
import stat
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

import structlog

from handfast.core.base32 import b32encode
from handfast.core.codes import b32decode, decode_hub_code
from handfast.core.constants import KID_LENGTH
from handfast.core.errors import DecodeError, Error, LinkError, LocalError
from handfast.core.plaintexts import Response
from handfast.ports import Crypto
from handfast_hub.config import HubConfig
from handfast_hub.feeds.feeds import Feeds
from handfast_hub.limits import TokenBucket
from handfast_hub.registry.arriving import Arrival
from handfast_hub.registry.engine import RegistryError
from handfast_hub.registry.operator import CommandInfo
from handfast_hub.registry.registry import Registry
from handfast_hub.trunk.bridge import Bridge
from handfast_hub.trunk.carrier import Called, Carrier, Port
from handfast_hub.trunk.greeting import Caller, Door, Places, caller
from handfast_hub.trunk.link import Link, keep_dialling
from handfast_hub.trunk.opening import Party, Peer
from handfast_hub.trunk.paths import Path
from handfast_hub.trunk.policy import CLASSES, DEFAULT_TIMING, HYBRID, LANES, NUMBERS
from handfast_hub.trunk.settings import Address, Trunk, address, channels_by_class
from handfast_hub.trunk.supply import KeySource
from handfast_hub.trunk.tasks import Tasks
from handfast_hub.trunk.tcp import dial_tcp, listen_tcp

_LOG = structlog.get_logger("handfast.hub.trunks")

SECRET_LENGTH = 32
# Connections to the trunk port that have not said who calls.
GREETINGS_LIMIT = 256
# How often a serving hub notes how its trunks fare, in seconds.
STATUS_SECONDS = 1.0


class _Trunk:
    """One of them: its settings, the peer, the link and the bridge."""

    def __init__(self, settings: Trunk, peer: Peer, link: Link, bridge: Bridge) -> None:
        self.settings = settings
        self.peer = peer
        self.link = link
        self.bridge = bridge


class Trunks:
    """Every `[trunk.NAME]` of the configuration."""

    def __init__(
        self,
        config: HubConfig,
        registry: Registry,
        crypto: Crypto,
        random: Callable[[int], bytes],
        arrived: Callable[[Arrival], None],
    ) -> None:
        """LocalError, in one sentence, for a hub code, a secret or a certificate that cannot be read."""
        self._config = config
        self._registry = registry
        self._crypto = crypto
        self._random = random
        self._arrived = arrived
        self._sources: list[KeySource] = []
        self._feeds = Feeds(config.feed, crypto, random)
        self._trunks = {name: self._make(name, settings) for name, settings in config.trunk.items()}
        if self._trunks and not config.retention.readings:
            raise LocalError("bridging needs readings to be kept: set retention.readings above 0")
        self._ports: list[Port] = []
        _check_quic(config)
        self._ungreeted: Places[Carrier] = Places(GREETINGS_LIMIT)
        # What is said in the log of strangers: so much a second, however many there are.
        self._sayings = TokenBucket(1.0, time.monotonic(), 10)
        self._tasks: list[Tasks] = []

    def _make(self, name: str, settings: Trunk) -> _Trunk:
        try:
            peer = Peer(decode_hub_code(self._crypto, settings.hub), read_secret(settings))
        except DecodeError as error:
            raise LocalError(f"the hub code of trunk '{name}' cannot be read: {error.detail}") from None
        parties = {
            lane: Party(
                self._crypto, self._random, self._registry.identity, peer, lane, settings.disjoint_paths
            )
            for lane in LANES
        }
        timing = DEFAULT_TIMING._replace(
            rekey=settings.rekey_seconds, fresh=max(3 * settings.rekey_seconds, 30.0)
        )
        source = self._source(settings)
        keyed = self._feeds.join(name, parties[HYBRID].hub_ids(), timing.fresh)
        link = Link(
            name, parties, source, self._received(name), self._woken(name), timing, self._moved(name), keyed
        )
        channels = {NUMBERS[kind]: numbers for kind, numbers in channels_by_class(settings).items()}
        bridge = Bridge(
            name,
            peer.hub_id,
            self._registry.bridging,
            link.send,
            lambda kind: link.fresh() if CLASSES[kind].fail_closed else link.up,
            channels,
            self._random,
            self._find,
            self._arrived,
            obey=settings.commands,
            command_class=NUMBERS[settings.command_class],
        )
        return _Trunk(settings, peer, link, bridge)

    def _source(self, settings: Trunk) -> KeySource | None:
        if not settings.kme:
            return None
        try:
            # Only hubs with a KME need its libraries.
            from handfast_hub.trunk.key_source import open_source
        except ModuleNotFoundError as error:
            raise LocalError(f"a trunk with kme needs {error.name}: install handfast[hub,qkd]") from None
        source = open_source(settings, self._config.bridge.used_keys)
        if source is not None:
            self._sources.append(source)
        return source

    async def start(self) -> None:
        """Listen, dial and bridge; LinkClosed when a port is taken."""
        if not self._trunks:
            return
        for trunk in self._trunks.values():
            trunk.link.start()
            await trunk.bridge.start()
        where = self._config.bridge
        door = Door(
            caller(self._crypto, trunk.peer.hub_id[:KID_LENGTH], trunk.peer.pairing)
            for trunk in self._trunks.values()
        )
        if where.port:
            self._ports.append(await listen_tcp(where.host, where.port, self._called, door))
        if where.quic_port:
            self._ports.append(await _listen_quic(where.host, where.quic_port, self._called, door))
        kid = self._registry.hub_id[:KID_LENGTH]
        for trunk in self._trunks.values():
            we = caller(self._crypto, kid, trunk.peer.pairing)
            for rank, text in enumerate(trunk.settings.connect):
                connect = partial(_dial, address(text), we)
                self._keep(trunk.link.name, partial(keep_dialling, trunk.link, connect, rank))
        self._keep("", self._note_status)
        self._feeds.start()

    def _keep(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._tasks.append(Tasks(name))
        self._tasks[-1].keep(work)

    async def close(self) -> None:
        """Stop; may be called twice."""
        for tasks in self._tasks:
            await tasks.close()
        for port in self._ports:
            port.refuse()
        for trunk in self._trunks.values():
            await trunk.bridge.close()
            await trunk.link.close()
        for port in self._ports:
            await port.close()
        await self._feeds.close()
        for source in self._sources:
            await source.close()

    def wake(self) -> None:
        """A reading was committed."""
        for trunk in self._trunks.values():
            trunk.bridge.wake()

    async def command(self, name: str, device_id: bytes, data: bytes, expires: float) -> Response:
        """Have the hub at the other end of trunk `name` command its device."""
        trunk = self._trunks.get(name)
        if trunk is None:
            known = ", ".join(sorted(self._trunks)) or "none"
            raise LocalError(f"there is no trunk '{name}'; there are: {known}")
        return await trunk.bridge.command(device_id, data, expires)

    def status(self) -> dict[str, dict[str, object]]:
        """How each trunk fares."""
        return {name: self._status(trunk) for name, trunk in self._trunks.items()}

    def _status(self, trunk: _Trunk) -> dict[str, object]:
        counts = trunk.link.counts
        epochs: dict[str, dict[str, object] | None] = {}
        for lane, name in LANES.items():
            epoch = trunk.link.epoch(lane)
            epochs[name] = (
                None if epoch is None else {"number": epoch[0], "qkd": epoch[1] > 0, "ways": epoch[1]}
            )
        return {
            "peer": trunk.peer.hub_id.hex(),
            "up": trunk.link.up,
            "secret_open": trunk.link.fresh(),
            "secret_ways": trunk.link.secret_ways,
            "epochs": epochs,
            "qkd_keys": trunk.link.supply(),
            "readings": {
                CLASSES[kind].name: {"acknowledged": acked, "sent": sent}
                for kind, (acked, sent) in trunk.bridge.waiting().items()
            },
            "paths": [_path_status(path, used) for path, used in trunk.link.paths()],
            "records_sent": counts.sent,
            "records_received": counts.received,
            "records_refused": counts.refused,
            "frames_dropped": counts.dropped,
            "epochs_with_qkd": counts.epochs[True],
            "epochs_without_qkd": counts.epochs[False],
            "failures": counts.failures,
            "feeds": self._feeds.status(trunk.link.name),
        }

    async def _note_status(self) -> None:
        while True:
            for name, status in self.status().items():
                with contextlib.suppress(RegistryError):
                    await self._registry.bridging.say(name, json.dumps(status))
            await asyncio.sleep(STATUS_SECONDS)

    async def _called(self, carrier: Carrier) -> None:
        crowded = self._ungreeted.take(carrier, carrier.address)
        if crowded is not None:
            await crowded.close()
        try:
            kid = await carrier.greeting()
        except Error as error:
            if self._sayings.take(time.monotonic()):
                _LOG.info("a caller at the trunk port was sent away", reason=error.detail)
            await carrier.close()
            return
        finally:
            self._ungreeted.leave(carrier)
        for trunk in self._trunks.values():
            if trunk.peer.hub_id[:KID_LENGTH] == kid:
                with contextlib.suppress(LinkError):
                    await trunk.link.adopt(carrier)
                return

    def _received(self, name: str) -> Callable[[int, bytes, bool], None]:
        def received(kind: int, data: bytes, degraded: bool) -> None:
            try:
                self._trunks[name].bridge.receive(kind, data, degraded)
            except DecodeError as error:
                _LOG.warning("the other hub said something strange", trunk=name, reason=error.detail)

        return received

    def _woken(self, name: str) -> Callable[[], None]:
        def woken() -> None:
            # The bridge is made after the link that calls it.
            self._trunks[name].bridge.hurry()

        return woken

    def _moved(self, name: str) -> Callable[[], None]:
        def moved() -> None:
            self._trunks[name].bridge.resend()

        return moved

    def _find(self, number: int) -> Awaitable[CommandInfo]:
        return self._registry.operator.find_command(number)


def _path_status(path: Path, used: bool) -> dict[str, object]:
    measured = path.carrier.measured()
    return {
        "carrier": path.carrier.name,
        "in_use": used,
        "proven": path.carrier.proven,
        "state": path.state,
        "rtt_seconds": measured.rtt,
        "loss": measured.loss,
        "fec": measured.fec,
    }


def _check_quic(config: HubConfig) -> None:
    """LocalError when QUIC is wanted, and is not installed."""
    dialled = [address(text) for trunk in config.trunk.values() for text in trunk.connect]
    if config.bridge.quic_port or any(to.scheme == "quic" for to in dialled):
        for name in ("aioquic", "raptorq"):
            if importlib.util.find_spec(name) is None:
                raise LocalError(f"a trunk over QUIC needs {name}: install handfast[hub,quic]")


async def _dial(to: Address, we: Caller) -> Carrier:
    """A carrier to another hub, greeted."""
    if to.scheme == "tcp":
        return await dial_tcp(to.host, to.port, we)
    # Only hubs with QUIC have its library.
    from handfast_hub.trunk.quic import dial_quic

    return await dial_quic(to.host, to.port, we)


async def _listen_quic(host: str, port: int, called: Called, door: Door) -> Port:
    from handfast_hub.trunk.quic_port import listen_quic

    return await listen_quic(host, port, called, door)


def read_secret(settings: Trunk) -> bytes:
    """The pairing secret out of its file; LocalError when it is not there or mistyped."""
    path = settings.secret_file
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            _LOG.warning("the pairing secret may be read by others on this machine", run=f"chmod 600 {path}")
        secret = b32decode(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError, DecodeError):
        secret = b""
    if len(secret) != SECRET_LENGTH:
        raise LocalError(
            f"expected a pairing secret in {path}; make one with 'handfast-hub trunk pair {path}'"
        )
    return secret


def encode_secret(secret: bytes) -> str:
    """A pairing secret as text."""
    return b32encode(secret)
