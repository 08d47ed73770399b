"""The hub's ingress over MQTT: publishes in, acknowledged by hand; publishes out, never awaited.

A PUBLISH is acknowledged when its `acknowledge` is called, which the hub does after its commit. Until
then the broker keeps it, and sends it again after a lost connection: the hub's session is persistent.
What the hub publishes waits here until the broker has acknowledged it, at most `in_flight` at once,
and is sent again on the next connection.
"""

import asyncio
import functools
import itertools
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence

from handfast.core.errors import LinkClosed, LinkError, LocalError
from handfast_hub.mqtt.connection import MAX_PACKET, Connection

_LOG = logging.getLogger("handfast.hub.ingress")

OnPublish = Callable[[str, bytes, Callable[[], None]], None]

TIMEOUT = 10.0
KEEPALIVE = 30
# Seconds before the first new attempt; doubled up to the longest, less a random part of up to half.
BACKOFF_FIRST = 0.5
BACKOFF_LONGEST = 30.0
# How long `close` lets the broker take what is still queued, in seconds.
CLOSE_GRACE = 2.0


class MqttIngress:
    """The Ingress of a hub at one broker.

    `client_id` should be hard to guess: with a broker that lets anybody connect, who knows it can
    take the hub's place at the broker (and still read nothing). `persistent` asks the broker to keep
    what arrives while the hub is away. At most `unacknowledged` publishes are handed over before
    reading stops; at most `queued` wait to go out.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        username: str | None = None,
        password: str | None = None,
        context: ssl.SSLContext | None = None,
        persistent: bool = True,
        unacknowledged: int = 1000,
        in_flight: int = 1000,
        queued: int = 100_000,
    ) -> None:
        self._open = {
            "host": host,
            "port": port,
            "client_id": client_id,
            "username": username,
            "password": password,
            "clean_session": not persistent,
            "context": context,
        }
        self._unacknowledged_limit = unacknowledged
        self._in_flight_limit = in_flight
        self._queued_limit = queued
        self._subscriptions: tuple[str, ...] = ()
        self._on_publish: OnPublish | None = None
        self._connection: Connection | None = None
        self._subscribed = False
        self._supervisor: asyncio.Task[None] | None = None
        # Packet ids, and numbers below zero for publishes at QoS 0.
        self._unacknowledged: set[int] = set()
        self._places = itertools.count(-1, -1)
        self._held = False
        self._in_flight: dict[int, tuple[bytes, bytes]] = {}
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._packet_ids = itertools.cycle(range(1, 65536))
        self._drained = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._subscribed and self._connection is not None and not self._connection.lost.done()

    async def start(self, subscriptions: Sequence[str], on_publish: OnPublish) -> None:
        """Connect, subscribe and stay connected; LinkError when the first attempt fails.

        After a failure `start` may be called again. `on_publish(topic, payload, acknowledge)` runs on
        the event loop; `acknowledge` may be called later, once, in any order.
        """
        if self._supervisor is not None:
            raise LocalError("the ingress has been started before: close it first")
        self._subscriptions = tuple(subscriptions)
        self._on_publish = on_publish
        await self._connect()
        self._supervisor = asyncio.create_task(self._supervise())

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue `payload` for `topic` at QoS 1.

        LinkClosed when the broker is away, LinkError when too much waits already, LocalError when no
        broker would carry it.
        """
        if self._connection is None or self._connection.lost.done():
            raise LinkClosed("the broker is away: publish again when it is back")
        if len(topic) + len(payload) + 16 > MAX_PACKET:
            raise LocalError(
                f"a packet is at most {MAX_PACKET} bytes: {len(payload)} bytes of payload are too many"
            )
        if self._subscribed and len(self._in_flight) < self._in_flight_limit:
            self._send(topic.encode(), payload)
        elif len(self._queue) < self._queued_limit:
            self._queue.append((topic.encode(), payload))
        else:
            raise LinkError(
                f"{len(self._queue)} messages wait for the broker already: publish fewer or later"
            )

    async def close(self) -> None:
        """Let the broker take what is queued, for at most 2 s, and leave; may be called twice."""
        if self.connected and self._in_flight:
            self._drained.clear()
            try:
                async with asyncio.timeout(CLOSE_GRACE):
                    await self._drained.wait()
            except TimeoutError:
                _LOG.warning("%d messages to the broker were not acknowledged", len(self._in_flight))
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, topic: bytes, payload: bytes) -> None:
        assert self._connection is not None
        packet_id = next(self._packet_ids)
        while packet_id in self._in_flight:
            packet_id = next(self._packet_ids)
        self._in_flight[packet_id] = (topic, payload)
        self._connection.publish(topic, payload, packet_id)

    def _acknowledged(self, packet_id: int) -> None:
        self._in_flight.pop(packet_id, None)
        if self._queue and self.connected:
            self._send(*self._queue.popleft())
        if not self._in_flight:
            self._drained.set()

    def _received(self, topic: str, payload: bytes, packet_id: int) -> None:
        assert self._on_publish is not None
        assert self._connection is not None
        # At QoS 0 no PUBACK is owed, but it takes a place: nobody shall fill the memory of the hub.
        place = packet_id or next(self._places)
        self._unacknowledged.add(place)
        if len(self._unacknowledged) >= self._unacknowledged_limit and not self._held:
            self._held = True
            self._connection.hold(True)
        acknowledge = functools.partial(self._acknowledge, self._connection, place)
        try:
            self._on_publish(topic, payload, acknowledge)
        except Exception:
            # Sent again it would fail again, so it must not stay with the broker.
            _LOG.exception("a message on %s made the hub fail and is dropped", topic)
            acknowledge()

    def _acknowledge(self, connection: Connection, place: int) -> None:
        # A PUBACK belongs to the connection of its PUBLISH: on a new one the broker sends it again.
        if connection is not self._connection or place not in self._unacknowledged:
            return
        self._unacknowledged.discard(place)
        if place > 0:
            connection.puback(place)
        if self._held and len(self._unacknowledged) <= self._unacknowledged_limit // 2:
            self._held = False
            connection.hold(False)

    async def _connect(self) -> None:
        connection = Connection(self._received, self._acknowledged)
        self._unacknowledged.clear()
        self._held = False
        self._subscribed = False
        # Publishes may arrive before the SUBACK, when the broker kept a session of ours: what answers
        # them waits in the queue.
        self._connection = connection
        try:
            await connection.open(**self._open, keepalive=KEEPALIVE, within=TIMEOUT)  # type: ignore[arg-type]
            await connection.subscribe(self._subscriptions, TIMEOUT)
        except BaseException:
            connection.abort("given up")
            self._connection = None
            raise
        self._subscribed = True
        for packet_id, (topic, payload) in self._in_flight.items():
            connection.publish(topic, payload, packet_id, duplicate=True)
        while self._queue and len(self._in_flight) < self._in_flight_limit:
            self._send(*self._queue.popleft())

    async def _supervise(self) -> None:
        while True:
            assert self._connection is not None
            reason = await asyncio.shield(self._connection.lost)
            _LOG.warning("the connection to the broker is lost: %s", reason)
            delay = BACKOFF_FIRST
            while True:
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # no secret, only spread
                try:
                    await self._connect()
                    break
                except LinkError as error:
                    delay = min(2 * delay, BACKOFF_LONGEST)
                    _LOG.warning("%s; next attempt in at most %g s", error.detail, delay)
            _LOG.warning("the broker is back")
