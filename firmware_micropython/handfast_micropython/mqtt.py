"""Link over MQTT 3.1.1: topics to payloads and back, at QoS 1.

Clean sessions and no retained messages; the client id is the one of the endpoint, so that a broker
can tell who may use which topic. Nothing reconnects here: the Device does, after its own backoff.
"""

import asyncio

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast.core.topics import CHANNELS
from handfast_micropython.mqtt_client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from handfast.core.topics import Endpoint

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PORT = 1883
# A record of 65,000 bytes of plaintext and its overhead, as on a CPython machine.
MAX_PAYLOAD = 66_000
# What a board takes unless it is told otherwise: the longest message of onboarding, with room.
LIMIT = 12_288
# message_2 of suites -21 and -22 with the hub's credential; it is what a device waits for when it enrols.
LARGEST = 6_656
# A serial line is no socket and has no name.
SERIAL = "at the other end of the stream"
_LEVELS = {str(channel).encode(): channel for channel in CHANNELS.values()}
# IPPROTO_TCP, TCP_NODELAY: the constants have no names on every port.
_NO_DELAY = (6, 1, 1)


class MqttLink:
    """The Link port over one broker.

    `timeout` seconds bound every wait for the broker. Payloads that wait for `receive` are at most
    `queue` and hold at most `limit` bytes together; others are dropped and counted in `dropped`. A
    coroutine function `opener` that gives (reader, writer) stands in for the socket: a serial line,
    or TLS. `before` is awaited first whenever we connect, and may join a Wi-Fi network. `say` hears in
    a sentence that a message was dropped.
    """

    def __init__(
        self,
        host: str = "",
        *,
        port: int = PORT,
        username: "str | None" = None,
        password: "str | None" = None,
        timeout: float = 10.0,
        keepalive: int = 30,
        limit: int = LIMIT,
        queue: int = 16,
        opener: "Callable[[], Awaitable[Streams]] | None" = None,
        before: "Callable[[], Awaitable[None]] | None" = None,
        say: "Callable[[str], None] | None" = None,
    ) -> None:
        if bool(host) is (opener is not None):
            raise LocalError("a broker is a host name, or an opener of streams: give one of the two")
        if " " in host or "/" in host or "@" in host:
            raise LocalError("a broker is a host name or an address, not %r" % host)
        if password is not None and username is None:
            raise LocalError("MQTT carries a password only with a user name: give the user name too")
        if not 0 < port < 65536 or not 2 <= keepalive < 65536:
            raise LocalError("a port is 1 to 65535 and a keepalive 2 to 65535 seconds")
        self.dropped = 0
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._timeout = timeout
        self._keepalive = keepalive
        self._limit = limit
        self._queue = queue
        self._opener = opener or self._open_socket
        self._before = before
        self._say = say
        self._client: "Client | None" = None
        self._endpoint: "Endpoint | None" = None
        self._payloads: "list[tuple[int | None, bytearray | memoryview]]" = []
        self._bell = asyncio.Event()

    async def connect(self, endpoint: "Endpoint") -> None:
        """Join under endpoint.client_id and listen on endpoint.down; leaves a previous endpoint.

        LinkError when the broker refuses us, LinkClosed or LinkTimeout when it does not answer.
        """
        await self.close()
        self._endpoint = endpoint
        self._payloads = []
        if self._before is not None:
            await self._before()
        try:
            reader, writer = await asyncio.wait_for(self._opener(), self._timeout)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            raise LinkClosed("the broker %s should answer but did not: %s" % (self._name, error))
        room = 0 if endpoint.channels else LARGEST
        client = Client(reader, writer, self._take, self._limit, self._timeout, room)
        try:
            await self._translated(
                client.join(endpoint.client_id, self._username, self._password, self._keepalive)
            )
            topics = [endpoint.down]
            if endpoint.channels:
                # Exact topics and no wildcard, so that the narrowest broker rule still lets us in.
                topics = ["%s/%d" % (endpoint.down, channel) for channel in sorted(CHANNELS.values())]
            codes = await self._translated(client.subscribe(topics))
            if max(codes) > 127:
                raise LinkError(
                    "the broker %s does not let %s listen; check its rules" % (self._name, endpoint.client_id)
                )
        except BaseException:
            await client.leave()
            raise
        self._client = client

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """Carry `payload` upwards and wait until the broker has it.

        LinkTimeout when the broker does not say so in time, LinkClosed when it went away; in both
        cases it may have it nevertheless. LocalError for more than 66,000 bytes.
        """
        client, endpoint = self._connected()
        if endpoint.channels is (channel is None):
            raise LocalError("a channel belongs to a payload exactly when the endpoint has channels")
        if len(payload) > MAX_PAYLOAD:
            raise LocalError("a payload is at most %d bytes, not %d" % (MAX_PAYLOAD, len(payload)))
        topic = endpoint.up if channel is None else "%s/%d" % (endpoint.up, channel)
        await self._translated(client.publish(topic, payload))

    async def receive(self) -> "tuple[int | None, bytes]":
        """The next payload from the hub with its channel; LinkClosed when the broker went away."""
        while True:
            client, _ = self._connected()
            if self._payloads:
                channel, payload = self._payloads.pop(0)
                # A message of onboarding is as large as many records: it is worked on where it lies.
                taken: "Any" = memoryview(payload) if channel is None else bytes(payload)
                return channel, taken
            if client.lost:
                raise LinkClosed("the broker %s is gone: %s; connect again" % (self._name, client.lost))
            self._bell = asyncio.Event()
            await self._bell.wait()

    async def close(self) -> None:
        """Leave; may be called twice."""
        client = self._client
        self._client = None
        self._bell.set()
        if client is not None:
            await client.leave()

    def _take(self, topic: bytes, payload: "bytearray | memoryview | None") -> None:
        """Called by the client for every message, and with nothing at its end."""
        self._bell.set()
        endpoint = self._endpoint
        if not topic or endpoint is None:
            return
        channel = None
        if endpoint.channels:
            # A bridge that renames topics keeps the last level (protocol.md 2.9).
            channel = _LEVELS.get(topic[topic.rfind(b"/") + 1 :])
        waiting = sum([len(other) for _, other in self._payloads])
        if (
            payload is None
            or (channel is not None) is not endpoint.channels
            or waiting + len(payload) > self._limit
            or len(self._payloads) >= self._queue
        ):
            self.dropped += 1
            if self._say is not None:
                self._say(
                    "a message was dropped: this board takes %d bytes at once, or what its heap has left"
                    % self._limit
                )
        else:
            self._payloads.append((channel, payload))

    def _connected(self) -> "tuple[Client, Endpoint]":
        if self._client is None or self._endpoint is None:
            raise LinkClosed("the link is not connected: call connect first")
        return self._client, self._endpoint

    async def _translated(self, work: "Awaitable[bytes | None]") -> bytes:
        """The result of a call of the client; its errors begin with the name of the broker."""
        try:
            return await work or b""
        except LinkTimeout as error:
            raise LinkTimeout("the broker %s: %s" % (self._name, error.detail))
        except LinkClosed as error:
            raise LinkClosed("the broker %s is gone: %s" % (self._name, error.detail))
        except LinkError as error:
            raise LinkError("the broker %s: %s" % (self._name, error.detail))

    async def _open_socket(self) -> "Streams":
        reader, writer = await asyncio.open_connection(self._host, self._port)
        # Without it sequential QoS 1 falls to 22 exchanges a second (delayed acknowledgements).
        socket = getattr(writer, "s", None)
        try:
            if socket is not None:
                socket.setsockopt(*_NO_DELAY)
        except (OSError, AttributeError):
            # A port whose sockets cannot be told works, slower.
            pass
        return reader, writer

    @property
    def _name(self) -> str:
        return "%s:%d" % (self._host, self._port) if self._host else SERIAL
