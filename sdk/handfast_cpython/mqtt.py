"""Link over MQTT 3.1.1 with aiomqtt: topics to payloads and back, at QoS 1.

Clean sessions and no retained messages; the client id is the one of the endpoint, so that a broker
can tell who may use which topic. Nothing reconnects here: the Device does, after its own backoff.
"""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
import urllib.parse
from pathlib import Path
from typing import cast

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast.core.topics import CHANNELS, Endpoint
from handfast_cpython.mqtt_client import Client, hang_up, leave, leave_later
from handfast_cpython.tls import client_context

# A record of 65,000 bytes of plaintext and its overhead; larger payloads are neither sent nor taken.
MAX_PAYLOAD = 66_000
CHANNEL_LEVELS = {str(channel): channel for channel in CHANNELS.values()}
PORT = 1883
TLS_PORT = 8883

# Without TCP_NODELAY sequential QoS 1 falls to 22 exchanges a second (delayed acknowledgements).
SOCKET_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]

# What fails is raised as an error of ours; the library need not say it a second time.
_LOG = logging.getLogger("handfast.mqtt")
_LOG.setLevel(logging.CRITICAL)


class MqttLink:
    """The Link port over one broker.

    `tls` is switched on by `ca`, `certificate` or port 8883 when it is not said. `timeout` seconds
    bound every wait for the broker; at most `queue` payloads wait for `receive`, later ones are
    dropped and counted in `dropped`.
    """

    def __init__(
        self,
        host: str,
        *,
        port: int | None = None,
        tls: bool | None = None,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 10.0,
        keepalive: int = 30,
        queue: int = 256,
    ) -> None:
        secrets = ca is not None or certificate is not None or key is not None
        if tls is None:
            tls = secrets or port == TLS_PORT
        elif not tls and secrets:
            raise LocalError("certificates were given but TLS was switched off: drop one of the two")
        if not host or any(character.isspace() or character in "/@" for character in host):
            raise LocalError(
                f"a broker is a host name or an address, not {host!r}; for a URL use MqttLink.from_url"
            )
        if password is not None and username is None:
            raise LocalError("MQTT carries a password only with a user name: give the user name too")
        self.host = host
        self.port = port if port is not None else (TLS_PORT if tls else PORT)
        if not 0 < self.port < 65536:
            raise LocalError(f"a port is 1 to 65535, not {self.port}")
        self._context = None
        if tls:
            self._context = client_context(
                ca=ca, certificate=certificate, key=key, minimum_version=minimum_version
            )
        self._username = username
        self._password = password
        self._timeout = timeout
        self._keepalive = keepalive
        self._queue_length = queue
        self._connection: _Connection | None = None
        self._dropped = 0

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
    ) -> "MqttLink":
        """A link from `mqtt://[user[:password]@]host[:port]`, or `mqtts://` for TLS."""
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise LocalError(f"a broker URL is mqtt://host:port or mqtts://host:port: {error}") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            shown = f"{parts.scheme}://…" if parts.scheme else "no scheme"
            raise LocalError(
                f"a broker URL is mqtt://host:port or mqtts://host:port, but this one begins {shown}"
            )
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise LocalError("a broker URL ends after the port: take away the path")
        return cls(
            parts.hostname,
            port=port,
            tls=parts.scheme == "mqtts",
            ca=ca,
            certificate=certificate,
            key=key,
            username=None if parts.username is None else urllib.parse.unquote(parts.username),
            password=None if parts.password is None else urllib.parse.unquote(parts.password),
        )

    async def connect(self, endpoint: Endpoint) -> None:
        """Join under endpoint.client_id and listen on endpoint.down; leaves a previous endpoint."""
        await self.close()
        inbox = _Inbox(endpoint, self._queue_length)
        client = Client(
            self.host,
            self.port,
            identifier=endpoint.client_id,
            username=self._username,
            password=self._password,
            logger=_LOG,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            timeout=self._timeout,
            keepalive=self._keepalive,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: inbox),
            tls_context=self._context,
            socket_options=SOCKET_OPTIONS,
        )
        await self._join(client)
        connection = _Connection(client, endpoint, inbox)
        try:
            await self._listen(client, endpoint)
        except BaseException:
            await connection.leave()
            raise
        self._connection = connection

    async def _join(self, client: aiomqtt.Client) -> None:
        # aiomqtt opens the socket in a thread that nobody can stop: when the caller gives up, the
        # connection must still be closed once it is there.
        joining = asyncio.ensure_future(client.__aenter__())
        try:
            await asyncio.shield(joining)
        except asyncio.CancelledError:
            joining.add_done_callback(lambda _: leave_later(client))
            raise
        except MqttConnectError as error:
            raise LinkError(
                f"the broker {self._name} refused us: {error}; check user name and password"
            ) from error
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            leave_later(client)
            raise LinkClosed(f"the broker {self._name} should answer but did not: {error}") from error

    async def _listen(self, client: aiomqtt.Client, endpoint: Endpoint) -> None:
        # Exact topics and no wildcard, so that the narrowest broker rule still lets us in.
        topics = [endpoint.down]
        if endpoint.channels:
            topics = [f"{endpoint.down}/{level}" for level in sorted(CHANNEL_LEVELS)]
        try:
            granted = await client.subscribe([(topic, 1) for topic in topics])
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            raise LinkClosed(
                f"the broker {self._name} should confirm our topic but did not: {error}"
            ) from error
        if any(_refused(code) for code in granted):
            raise LinkError(
                f"the broker {self._name} does not let {endpoint.client_id} listen; check its rules"
            )

    async def send(self, channel: int | None, payload: bytes) -> None:
        """Carry `payload` upwards and wait until the broker has it.

        LinkTimeout when the broker does not say so in time, LinkClosed when it went away; in both
        cases it may have it nevertheless. LocalError for more than 66,000 bytes.
        """
        connection = self._connected()
        if connection.endpoint.channels is (channel is None):
            raise LocalError("a channel belongs to a payload exactly when the endpoint has channels")
        if len(payload) > MAX_PAYLOAD:
            raise LocalError(
                f"a payload is at most {MAX_PAYLOAD} bytes, not {len(payload)}: send it in parts"
            )
        topic = connection.endpoint.up if channel is None else f"{connection.endpoint.up}/{channel}"
        publishing = asyncio.ensure_future(connection.client.publish(topic, payload, qos=1, timeout=math.inf))
        try:
            await asyncio.wait(
                (publishing, connection.lost), timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if publishing.done():
                publishing.result()
                return
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            raise LinkClosed(f"the broker {self._name} should take a message but did not: {error}") from error
        finally:
            publishing.cancel()
        if connection.lost.done():
            raise LinkClosed(f"the broker {self._name} went away while we sent; connect again")
        raise LinkTimeout(
            f"the broker {self._name} did not acknowledge within {self._timeout:g} s; send again"
        )

    async def receive(self) -> tuple[int | None, bytes]:
        """The next payload from the hub with its channel; LinkClosed when the broker went away."""
        connection = self._connected()
        item = await connection.inbox.payloads.get()
        if item is None:
            connection.inbox.payloads.put_nowait(None)
            raise LinkClosed(f"the broker {self._name} closed the connection; connect again")
        return item

    async def close(self) -> None:
        """Leave; may be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._dropped += connection.inbox.dropped
            await connection.leave()

    @property
    def dropped(self) -> int:
        """Payloads that were over the cap, on a strange topic or too many at once."""
        return self._dropped + (0 if self._connection is None else self._connection.inbox.dropped)

    def _connected(self) -> "_Connection":
        if self._connection is None:
            raise LinkClosed("the link is not connected: call connect first")
        return self._connection

    @property
    def _name(self) -> str:
        return f"{self.host}:{self.port}"


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Where aiomqtt puts messages: `payloads` gets what fits, the rest is counted in `dropped`.

    Nothing ever enters the queue that this class is, so that aiomqtt's iterator wakes for the end of
    the connection alone: it would lose a message whenever a wait for it is cancelled.
    """

    def __init__(self, endpoint: Endpoint, length: int) -> None:
        super().__init__()
        self.payloads: asyncio.Queue[tuple[int | None, bytes] | None] = asyncio.Queue()
        self.dropped = 0
        self._endpoint = endpoint
        self._length = length

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Take one message, or drop it."""
        channel = None
        if self._endpoint.channels:
            # A bridge that renames topics keeps the last level (protocol.md 2.9).
            channel = CHANNEL_LEVELS.get(item.topic.value.rpartition("/")[2])
        known = (channel is not None) == self._endpoint.channels
        payload = item.payload
        if (
            not known
            or not isinstance(payload, bytes)
            or len(payload) > MAX_PAYLOAD
            or self.payloads.qsize() >= self._length
        ):
            self.dropped += 1
        else:
            self.payloads.put_nowait((channel, payload))


class _Connection:
    """One stay at the broker. `lost` is done when it ends, and `inbox.payloads` ends with None."""

    def __init__(self, client: aiomqtt.Client, endpoint: Endpoint, inbox: _Inbox) -> None:
        self.client = client
        self.endpoint = endpoint
        self.inbox = inbox
        self.lost = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        try:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                await anext(aiter(self.client.messages))
        finally:
            self.inbox.payloads.put_nowait(None)
            hang_up(self.client)

    async def leave(self) -> None:
        """Say goodbye, for at most LEAVE_TIMEOUT seconds."""
        await leave(self.client)
        self.lost.cancel()
        await asyncio.gather(self.lost, return_exceptions=True)


def _refused(code: object) -> bool:
    value = getattr(code, "value", code)
    return not isinstance(value, int) or value >= 128
