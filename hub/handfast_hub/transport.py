"""How the hub reaches its devices: a broker somewhere, or one of its own in the same process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from handfast.core.base32 import b32encode
from handfast.core.credentials import Identity
from handfast.core.errors import LinkClosed, LocalError
from handfast.ports import Crypto
from handfast_cpython.tls import client_context, server_context
from handfast_hub.config import HubConfig
from handfast_hub.mqtt.ingress import MqttIngress

if TYPE_CHECKING:
    from handfast_hub.mqtt.embedded import EmbeddedBroker

OnPublish = Callable[[str, bytes, Callable[[], None]], None]


class Transport(Protocol):
    """What the hub asks of the way to its devices; `handfast.testing.MemoryBroker` is one too."""

    @property
    def address(self) -> str:
        """Where devices find the broker, as a URL."""

    @property
    def connected(self) -> bool:
        """Whether what is published now will reach the broker."""

    async def start(self, subscriptions: Sequence[str], on_publish: OnPublish) -> None:
        """Begin; LinkError when that fails."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue `payload` for `topic`; LinkError when it cannot be."""

    def disconnect(self, client_id: str) -> None:
        """Close the connection of a client where we can; elsewhere the end of its keys must do."""

    async def close(self) -> None:
        """Leave; may be called twice."""


class ExternalTransport(MqttIngress):
    """Mosquitto, or any broker of MQTT 3.1.1, by configuration."""

    # Where the hub finds the broker, as a URL.
    address = ""

    def disconnect(self, client_id: str) -> None:
        """MQTT 3.1.1 has no way to ask a broker for it."""


class EmbeddedTransport:
    """The broker of this process and the hub's own way in."""

    def __init__(self, broker: "EmbeddedBroker", unacknowledged: int, scheme: str) -> None:
        self.broker = broker
        self._scheme = scheme
        self._unacknowledged = unacknowledged
        self._ingress: MqttIngress | None = None

    @property
    def address(self) -> str:
        """Where the broker listens."""
        return f"{self._scheme}://{self.broker.host}:{self.broker.port}"

    @property
    def connected(self) -> bool:
        """Whether the hub has joined its broker."""
        return self._ingress is not None and self._ingress.connected

    async def start(self, subscriptions: Sequence[str], on_publish: OnPublish) -> None:
        """Listen, and join; LinkError when the port is taken."""
        await self.broker.start(on_publish)
        self._ingress = self.broker.ingress(unacknowledged=self._unacknowledged)
        await self._ingress.start(subscriptions, on_publish)

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue `payload` for `topic`; LinkError when it cannot be."""
        if self._ingress is None:
            raise LinkClosed("the embedded broker is not running")
        self._ingress.publish(topic, payload)

    def disconnect(self, client_id: str) -> None:
        """Hang up on a device."""
        self.broker.disconnect(client_id)

    async def close(self) -> None:
        """Stop listening."""
        if self._ingress is not None:
            await self._ingress.close()
        await self.broker.close()


def open_transport(config: HubConfig, crypto: Crypto, identity: Identity) -> Transport:
    """The transport that `config` names; nothing is started. LocalError for an unreadable file."""
    mqtt = config.mqtt
    if mqtt.broker == "embedded":
        # Costs half a second of imports, which a hub with another broker does not pay.
        from handfast_hub.mqtt.embedded import EmbeddedBroker

        context = None
        if mqtt.tls:
            context = server_context(certificate=mqtt.certificate, key=mqtt.key)
        kid = identity.credential.kid
        broker = EmbeddedBroker(kid, host=mqtt.host, port=mqtt.port, context=context)
        return EmbeddedTransport(broker, mqtt.unacknowledged, "mqtts" if mqtt.tls else "mqtt")
    context = None
    if mqtt.tls:
        context = client_context(ca=mqtt.ca, certificate=mqtt.certificate, key=mqtt.key)
    transport = ExternalTransport(
        mqtt.host,
        mqtt.port,
        client_id=_client_id(crypto, identity),
        username=mqtt.username,
        password=_password(mqtt.password_file),
        context=context,
        unacknowledged=mqtt.unacknowledged,
    )
    transport.address = f"{'mqtts' if mqtt.tls else 'mqtt'}://{mqtt.host}:{mqtt.port}"
    return transport


def _client_id(crypto: Crypto, identity: Identity) -> str:
    """The same at every start, so that the broker keeps what comes meanwhile; guessed by nobody."""
    return "hub-" + b32encode(crypto.kmac256(identity.seed, b"client id", 11, b"handfast/1 mqtt"))


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(
            f"the password of the hub should be in {path}, which cannot be read: {error}"
        ) from None
