"""One MQTT 3.1.1 connection of the hub, from CONNECT until it is lost, over gmqtt's protocol layer.

gmqtt reads the socket and builds CONNECT and SUBSCRIBE. Its Client is left out: it acknowledges in a
task for each message, forgets unacknowledged publishes when the broker did, waits for ever for a
CONNACK, and costs twice the CPU (docs/brokers.md has the figures). What comes and goes a thousand times
a second, PUBLISH and PUBACK, is read and written here, and all writes of one round of the event loop
leave in one system call.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence

from gmqtt.mqtt.constants import MQTTv311  # type: ignore[import-untyped]
from gmqtt.mqtt.package import LoginPackageFactor, Package  # type: ignore[import-untyped]
from gmqtt.mqtt.protocol import MQTTProtocol  # type: ignore[import-untyped]
from gmqtt.mqtt.utils import ConnectionState, IdGenerator  # type: ignore[import-untyped]
from gmqtt.subscription import Subscription  # type: ignore[import-untyped]

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout

# The largest record, its topic and its header fit; a packet that claims more closes the connection.
MAX_PACKET = 66_560

# What goes wrong is said once, by us.
logging.getLogger("gmqtt").setLevel(logging.ERROR)

CONNECT_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it rejects the client id",
    3: "it is not available now",
    4: "the user name or password is wrong",
    5: "this user may not connect",
}


class Connection:
    """Packets in and out of one socket. `lost` is done, with a sentence, when the connection is.

    `on_publish(topic, payload, packet_id)` gets each PUBLISH (`packet_id` 0 at QoS 0, and for these
    nothing is owed); `on_puback(packet_id)` each PUBACK.
    """

    def __init__(
        self, on_publish: Callable[[str, bytes, int], None], on_puback: Callable[[int], None]
    ) -> None:
        self._on_publish = on_publish
        self._on_puback = on_puback
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._protocol = _Protocol(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._outgoing: list[bytes] = []
        self._last_in = 0.0
        self._keepalive = 0
        self._timer: asyncio.TimerHandle | None = None
        # gmqtt's protocol sets this at each of its own writes.
        self._last_data_out = 0.0

    async def open(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        username: str | None,
        password: str | None,
        clean_session: bool,
        keepalive: int,
        context: ssl.SSLContext | None,
        within: float,
    ) -> None:
        """Connect and wait for the CONNACK: LinkError when the broker refuses, LinkClosed when it is away."""
        name = f"{host}:{port}"
        try:
            async with asyncio.timeout(within):
                # asyncio sets TCP_NODELAY on every TCP socket that it opens.
                await self._loop.create_connection(lambda: self._protocol, host, port, ssl=context)
                hello = LoginPackageFactor.build_package(
                    client_id,
                    None if username is None else username.encode(),
                    None if password is None else password.encode(),
                    clean_session,
                    keepalive,
                    self._protocol,
                )
                answer = await self._exchange(hello)
        except TimeoutError as error:
            self.abort("no CONNACK")
            raise LinkTimeout(
                f"the broker {name} should answer CONNECT within {within:g} s but did not"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise LinkError(
                f"the certificate of the broker {name} is not trusted: {error.verify_message}"
            ) from error
        except (OSError, ValueError) as error:
            raise LinkClosed(f"the broker {name} should accept a connection but did not: {error}") from error
        if answer[1] != 0:
            self.abort("refused")
            reason = CONNECT_REFUSALS.get(answer[1], f"CONNACK code {answer[1]}")
            raise LinkError(f"the broker {name} refused the hub: {reason}")
        self._keepalive = keepalive
        self._last_in = time.monotonic()
        self._timer = self._loop.call_later(keepalive / 2, self._check_alive)

    async def subscribe(self, filters: Sequence[str], within: float) -> None:
        """Subscribe at QoS 1 and wait for the SUBACK; LinkError when one filter is refused."""
        subscriptions = [Subscription(text, qos=1) for text in filters]
        try:
            async with asyncio.timeout(within):
                answer = await self._exchange(None, subscriptions)
        except TimeoutError as error:
            raise LinkTimeout(
                f"the broker should answer SUBSCRIBE within {within:g} s but did not"
            ) from error
        refused = [text for text, code in zip(filters, answer[2:], strict=False) if code > 1]
        if refused or len(answer) != 2 + len(filters):
            raise LinkError(
                f"the broker does not let the hub subscribe to {', '.join(refused)}; check its rules"
            )

    async def _exchange(self, packet: bytes | None, subscriptions: list[Subscription] | None = None) -> bytes:
        if self.lost.done():
            raise LinkClosed(f"the connection is gone: {self.lost.result()}")
        self._answer = self._loop.create_future()
        if packet is not None:
            self._protocol.write_data(packet)
        else:
            self._protocol.send_subscribe_packet(subscriptions)
        await asyncio.wait((self._answer, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            raise LinkClosed(f"the broker should answer but hung up: {self.lost.result()}")
        return self._answer.result()

    def publish(self, topic: bytes, payload: bytes, packet_id: int, duplicate: bool = False) -> None:
        """Send a PUBLISH at QoS 1, never retained."""
        size = len(topic)
        remaining = size + len(payload) + 4
        kind = 0x3A if duplicate else 0x32
        # Up to 127 bytes, up to 16383, up to MAX_PACKET (MQTT 3.1.1 section 2.2.3).
        if remaining < 0x80:
            head = bytes((kind, remaining, size >> 8, size & 255))
        elif remaining < 0x4000:
            head = bytes((kind, remaining & 127 | 128, remaining >> 7, size >> 8, size & 255))
        else:
            middle = remaining >> 7 & 127 | 128
            head = bytes((kind, remaining & 127 | 128, middle, remaining >> 14, size >> 8, size & 255))
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += (head, topic, packet_id.to_bytes(2, "big"), payload)

    def puback(self, packet_id: int) -> None:
        """Send a PUBACK."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(b"\x40\x02" + packet_id.to_bytes(2, "big"))

    def _flush(self) -> None:
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if not self.lost.done():
            self._protocol.write_data(data)

    def hold(self, held: bool) -> None:
        """Stop reading, or go on; the broker then keeps what it has not sent yet."""
        if held:
            self._protocol.may_read.clear()
        else:
            self._last_in = time.monotonic()
            self._protocol.may_read.set()

    def received(self, data: bytes) -> int:
        """Handle every whole packet in `data`; how many bytes they took. ValueError for what is not MQTT."""
        self._last_in = time.monotonic()
        at, size = 0, len(data)
        while size - at > 1:
            length, start = data[at + 1], at + 2
            if length > 127:
                length, start = _long_length(data, start, length & 127)
                if start == 0:
                    break
                if length > MAX_PACKET:
                    raise ValueError(f"a packet of {length} bytes, at most {MAX_PACKET} are taken")
            end = start + length
            if end > size:
                break
            kind = data[at] & 0xF0
            if kind == 0x40:
                if length != 2:
                    raise ValueError("a PUBACK is a packet id of two bytes")
                self._on_puback(data[start] << 8 | data[start + 1])
            elif kind == 0x30:
                self._published(data[at] & 0x06, data[start:end])
            elif kind in (0x20, 0x90):
                if length < 2:
                    raise ValueError("an answer without a return code")
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(data[start:end])
            at = end
        return at

    def _published(self, qos: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        start = end + 2 if qos else end
        if start > len(body):
            raise ValueError("a PUBLISH that ends too early")
        packet_id = int.from_bytes(body[end:start], "big")
        self._on_publish(str(body[2:end], "utf-8"), body[start:], packet_id)

    def put_package(self, package: Package) -> None:
        """What gmqtt's protocol calls with a DISCONNECT when the socket is gone."""
        self._lose("the broker closed the connection")

    def _check_alive(self) -> None:
        silent = time.monotonic() - self._last_in
        if silent > 1.5 * self._keepalive and self._protocol.may_read.is_set():
            self.abort(f"the broker was silent for {silent:.0f} s")
            return
        self._protocol.send_ping_request()
        self._timer = self._loop.call_later(self._keepalive / 2, self._check_alive)

    def _lose(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.lost.done():
            self.lost.set_result(reason)

    def abort(self, reason: str) -> None:
        """Drop the connection at once, whatever waits to be sent."""
        self._lose(reason)
        if self._protocol.transport is not None:
            self._protocol.transport.abort()

    def close(self) -> None:
        """Say DISCONNECT and close once everything is sent."""
        if not self.lost.done():
            self._flush()
            self._protocol.send_disconnect()
            self._lose("closed by the hub")
            if self._protocol.transport is not None:
                self._protocol.transport.close()


def _long_length(data: bytes, at: int, length: int) -> tuple[int, int]:
    """(remaining length, where the rest begins), the latter 0 while bytes are missing.

    `length` is what the first byte holds, `at` where the second stands (MQTT 3.1.1 section 2.2.3).
    """
    for shift in (7, 14, 21):
        if at == len(data):
            return length, 0
        length |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return length, at
    raise ValueError("a remaining length of more than four bytes")


class _Protocol(MQTTProtocol):  # type: ignore[misc]  # gmqtt has no types
    """gmqtt's reader with our framing, a gate for back-pressure, and no silent end."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(
            connection_state=ConnectionState(protocol_version=MQTTv311), id_generator=IdGenerator()
        )
        self.set_connection(connection)
        self.connection = connection
        self.may_read = asyncio.Event()
        self.may_read.set()

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport below, once there is a connection."""
        transport: asyncio.Transport | None = self._transport
        return transport

    async def read(self, n: int = -1) -> bytes:
        await self.may_read.wait()
        data: bytes = await super().read(n)
        return data

    def _read_packet(self, data: bytes) -> int:
        try:
            return self.connection.received(data)
        except Exception as error:
            # Only garbage from the broker comes here; gmqtt would let its read loop die in silence.
            detail = str(error) if isinstance(error, ValueError) else type(error).__name__
            self.connection.abort(f"the broker sent what is not MQTT: {detail}")
            raise ConnectionResetError from error
