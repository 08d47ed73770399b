"""The embedded broker: amqtt in the hub's process, for demos, tests and small fleets.

amqtt keeps the sessions and carries what the hub sends. Isolation is ours: a Guard before amqtt lets
only lawful packets in, a plugin judges subscriptions, and what goes out is delivered by exact topic. What
devices send goes from the Guard to the hub, and is acknowledged when the hub has committed it.
docs/brokers.md says what was wrong with amqtt alone and what this broker does not promise.
"""

import asyncio
import contextlib
import logging
import secrets
import ssl
from time import monotonic
from typing import Any

from amqtt.adapters import StreamWriterAdapter  # type: ignore[import-untyped]
from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType  # type: ignore[import-untyped]
from amqtt.errors import AMQTTError, MQTTError  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]

from handfast.core.errors import LinkError
from handfast.core.topics import hub_subscriptions
from handfast_hub.mqtt.guard import Guard
from handfast_hub.mqtt.ingress import MqttIngress, OnPublish
from handfast_hub.mqtt.plugin import Rules

_LOG = logging.getLogger("handfast.hub.broker")
# amqtt reports each client that goes away as a warning; ours says what an operator can act on.
logging.getLogger("amqtt").setLevel(logging.CRITICAL)
logging.getLogger("transitions").setLevel(logging.WARNING)

LISTENER = "default"
# Seconds until a client must have said CONNECT.
CONNECT_TIMEOUT = 10.0
SWEEP_INTERVAL = 1.0
# Messages on their way to the hub: above the first, devices wait; below the second they go on.
HUB_PENDING_HIGH = 1000
HUB_PENDING_LOW = 500
# A device that leaves this much unread is hung up: messages and bytes.
DEVICE_PENDING = 64
DEVICE_UNSENT = 512 * 1024


class EmbeddedBroker:
    """A broker for the hub whose kid (8 bytes) is `hub_kid`; listens on loopback unless told otherwise.

    Port 0 takes a free one. At most `max_connections` clients, and at most `max_per_address` from one
    address; more are hung up at once.
    """

    def __init__(
        self,
        hub_kid: bytes,
        *,
        host: str = "127.0.0.1",
        port: int = 1883,
        context: ssl.SSLContext | None = None,
        max_connections: int = 10_000,
        max_per_address: int = 10_000,
    ) -> None:
        base = hub_subscriptions(hub_kid)[0].removesuffix("/up/+")
        self.host = host
        self.port = port
        # Clients that were hung up because of what they sent, for the metrics.
        self.unlawful = 0
        self._rules = Rules(
            base, "hub-" + secrets.token_hex(16), "hub-" + secrets.token_hex(8), secrets.token_urlsafe(32)
        )
        self._context = context
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._guards: dict[Guard, str] = {}
        self._clients: dict[str, Guard] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._on_publish: OnPublish | None = None
        self._unacknowledged = 0
        self._broker: _Broker | None = None
        self._servers: list[asyncio.Server] = []
        self._hub_port = 0
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected, the hub among them."""
        return len(self._guards)

    async def start(self, on_publish: OnPublish | None = None) -> None:
        """Listen; LinkError when the address is not free.

        `on_publish(topic, payload, acknowledge)` gets what devices send; `acknowledge` may be called
        later, once, in any order. Without it the hub's ingress gets it, as with any other broker.
        """
        self._on_publish = on_publish
        listener = ListenerConfig(type=ListenerType.EXTERNAL, bind="amqtt itself binds nothing")
        plugin = f"{Rules.__module__}.IsolationPlugin"
        config = BrokerConfig(listeners={LISTENER: listener}, plugins={plugin: vars(self._rules)})
        self._broker = _Broker(config, self)
        await self._broker.start()
        try:
            server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._context)
        except OSError as error:
            await self.close()
            raise LinkError(
                f"the broker should listen on {self.host}:{self.port} but cannot: {error}"
            ) from error
        self._servers.append(server)
        self._hub_port = self.port = server.sockets[0].getsockname()[1]
        if self._context is not None or self.host not in ("127.0.0.1", "localhost", "0.0.0.0"):  # noqa: S104
            # The hub speaks to its own process: no certificate, and only on loopback.
            inner = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self._servers.append(inner)
            self._hub_port = inner.sockets[0].getsockname()[1]
        self._sweeper = asyncio.create_task(self._sweep())

    def ingress(self, **options: Any) -> MqttIngress:
        """The hub's own way in; `options` as of MqttIngress. Call it after `start`."""
        return MqttIngress(
            "127.0.0.1",
            self._hub_port,
            client_id=self._rules.client_id,
            username=self._rules.username,
            password=self._rules.password,
            persistent=False,
            **options,
        )

    def disconnect(self, client_id: str) -> bool:
        """Hang up on a client (its chan or device_id as text); whether it was there."""
        guard = self._clients.get(client_id)
        if guard is None:
            return False
        guard.hang_up()
        return True

    def disconnect_all(self) -> int:
        """Hang up on every device, not on the hub; how many there were."""
        guards = [guard for guard in self._guards if not guard.hub]
        for guard in guards:
            guard.hang_up()
        return len(guards)

    async def close(self) -> None:
        """Hang up on everybody and stop listening; may be called twice."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        for server in self._servers:
            server.close()
        self._servers.clear()
        for guard in list(self._guards):
            guard.hang_up()
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.shutdown()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        address = peer[0] if peer else ""
        guard = Guard(reader, writer, self._rules, self._room, self._unlawful, self._take)
        self._guards[guard] = address
        try:
            if self._admissible(address) and await guard.admit() and guard.hello is not None:
                self._take_over(guard.hello.client_id, guard)
                if self._broker is not None:
                    await self._broker.external_connected(guard, StreamWriterAdapter(writer), LISTENER)
        except (AMQTTError, MQTTError, OSError) as error:
            _LOG.debug("a connection from %s ended: %r", address, error)
        finally:
            self._forget(guard)
            if not writer.transport.is_closing():
                guard.hang_up()

    def _take(self, guard: Guard, topic: str, payload: bytes, packet_id: int) -> bool:
        if self._on_publish is None:
            return False
        self._unacknowledged += 1
        if self._unacknowledged >= HUB_PENDING_HIGH:
            self._room.clear()

        def acknowledge() -> None:
            self._unacknowledged -= 1
            if self._unacknowledged <= HUB_PENDING_LOW:
                self._room.set()
            if packet_id:
                guard.acknowledge(packet_id)

        self._on_publish(topic, payload, acknowledge)
        return True

    def _admissible(self, address: str) -> bool:
        if len(self._guards) > self._max_connections:
            _LOG.info("a client from %s is turned away: %d are connected", address, self._max_connections)
            return False
        if self._max_per_address < self._max_connections:
            same = sum(1 for other in self._guards.values() if other == address)
            if same > self._max_per_address:
                _LOG.warning(
                    "a client from %s is turned away: %d of its address are connected", address, same - 1
                )
                return False
        return True

    def _take_over(self, client_id: str, guard: Guard) -> None:
        # MQTT 3.1.1 section 3.1.4: a second client with the same id ends the first. A device that lost
        # its network needs this.
        previous = self._clients.get(client_id)
        if previous is not None:
            previous.hang_up()
        self._clients[client_id] = guard

    def _forget(self, guard: Guard) -> None:
        del self._guards[guard]
        if guard.hello is not None and self._clients.get(guard.hello.client_id) is guard:
            del self._clients[guard.hello.client_id]
        if guard.hub:
            self._room.set()

    def _unlawful(self, guard: Guard, reason: str) -> None:
        self.unlawful += 1
        _LOG.info("a client from %s is hung up: it sent %s", self._guards.get(guard, "?"), reason)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            now = monotonic()
            for guard in list(self._guards):
                limit = CONNECT_TIMEOUT if guard.hello is None else guard.silence
                # A device that waits for room does not speak, and is not to blame.
                if now - guard.last_in > limit and self._room.is_set():
                    guard.hang_up()

    def receivers(self, topic: str) -> "list[tuple[Session, Guard]]":
        """Who gets a message on `topic`: by exact subscription, and the hub by its two filters."""
        assert self._broker is not None
        filters = [topic, self._rules.hub_filter(topic)]
        found = []
        for topic_filter in filters:
            for session, _ in self._broker.subscriptions.get(topic_filter, ()):
                guard = self._clients.get(session.client_id)
                if guard is not None and self._rules.may_receive(session.client_id, topic):
                    found.append((session, guard))
        return found

    def begin_delivery(self, guard: Guard) -> bool:
        """Count a message on its way to a client; False when the client does not take its messages."""
        guard.pending += 1
        if guard.hub:
            if guard.pending >= HUB_PENDING_HIGH:
                self._room.clear()
        elif guard.pending > DEVICE_PENDING or guard.unsent > DEVICE_UNSENT:
            self._unlawful(guard, "nothing, and takes no messages")
            guard.hang_up()
            return False
        return True

    def end_delivery(self, guard: Guard) -> None:
        """Undo begin_delivery."""
        guard.pending -= 1
        if guard.hub and guard.pending <= HUB_PENDING_LOW:
            self._room.set()


class _Broker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt without retained messages, and with delivery by look-up.

    amqtt walks through every subscription for every message and awaits while it does, so that a
    client which subscribes meanwhile makes the message disappear.
    """

    def __init__(self, config: BrokerConfig, embedded: EmbeddedBroker) -> None:
        super().__init__(config)
        self._embedded = embedded

    async def retain_message(self, *_: object, **__: object) -> None:
        """Nothing is retained."""

    async def _run_broadcast(self, running_tasks: Any) -> None:
        message = await self._broadcast_queue.get()
        for session, guard in self._embedded.receivers(message["topic"]):
            running_tasks.append(asyncio.ensure_future(self._deliver(session, guard, message)))

    async def _deliver(self, session: Session, guard: Guard, message: dict[str, Any]) -> None:
        handler = self._get_handler(session)
        try:
            if self._embedded.begin_delivery(guard) and handler is not None:
                # QoS 1 for everybody, as everybody subscribes.
                with contextlib.suppress(AMQTTError, MQTTError, OSError, TimeoutError):
                    await handler.mqtt_publish(message["topic"], message["data"], 1, retain=False)
        finally:
            self._embedded.end_delivery(guard)
