"""One MQTT 3.1.1 connection of the hub, from CONNECT until it is lost, with packets built by gmqtt.

gmqtt builds CONNECT, SUBSCRIBE, PINGREQ and DISCONNECT. Its Client is left out: it acknowledges in a
task for each message, forgets unacknowledged publishes when the broker did, waits for ever for a
CONNACK, and costs twice the CPU (docs/brokers.md has the figures). So is its reader: a task that is
woken in a second round of the event loop for each packet. What comes and goes a thousand times a second,
PUBLISH and PUBACK, is read and written here, and all writes of one round leave in one system call.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence

from gmqtt.mqtt.constants import MQTTCommands, MQTTv311  # type: ignore[import-untyped]
from gmqtt.mqtt.package import (  # type: ignore[import-untyped]
    DisconnectPacket,
    LoginPackageFactor,
    SimpleCommandPacket,
    SubscribePacket,
)
from gmqtt.mqtt.utils import IdGenerator  # type: ignore[import-untyped]
from gmqtt.subscription import Subscription  # type: ignore[import-untyped]

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout

# The largest record, its topic and its header fit; a packet that claims more closes the connection.
MAX_PACKET = 66_560
# So many bytes are read at once, at most: what is handed over although reading should stop.
READ_SIZE = 65_536

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
        self._dialect = _Dialect()
        self._protocol = _Protocol(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._outgoing: list[bytes] = []
        self._last_in = 0.0
        self._keepalive = 0
        self._timer: asyncio.TimerHandle | None = None
        self._held = False

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
                    self._dialect,
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
        _, wish = SubscribePacket.build_package(subscriptions, self._dialect)
        try:
            async with asyncio.timeout(within):
                answer = await self._exchange(wish)
        except TimeoutError as error:
            raise LinkTimeout(
                f"the broker should answer SUBSCRIBE within {within:g} s but did not"
            ) from error
        refused = [text for text, code in zip(filters, answer[2:], strict=False) if code > 1]
        if refused or len(answer) != 2 + len(filters):
            raise LinkError(
                f"the broker does not let the hub subscribe to {', '.join(refused)}; check its rules"
            )

    async def _exchange(self, packet: bytes) -> bytes:
        if self.lost.done():
            raise LinkClosed(f"the connection is gone: {self.lost.result()}")
        self._answer = self._loop.create_future()
        self._protocol.write(packet)
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
            self._protocol.write(data)

    def hold(self, held: bool) -> None:
        """Stop reading, or go on; the broker then keeps what it has not sent yet."""
        self._held = held
        if held:
            self._protocol.pause()
        else:
            self._last_in = time.monotonic()
            self._protocol.resume()

    def received(self, data: memoryview) -> int:
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
                self._published(data, start, end, data[at] & 0x06)
            elif kind in (0x20, 0x90):
                if length < 2:
                    raise ValueError("an answer without a return code")
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(bytes(data[start:end]))
            at = end
        return at

    def _published(self, data: memoryview, at: int, end: int, qos: int) -> None:
        after = at + 2
        topic = after + (data[at] << 8 | data[at + 1]) if after <= end else end + 1
        start = topic + 2 if qos else topic
        if start > end:
            raise ValueError("a PUBLISH that ends too early")
        packet_id = data[topic] << 8 | data[topic + 1] if qos else 0
        self._on_publish(str(data[after:topic], "utf-8"), bytes(data[start:end]), packet_id)

    def _check_alive(self) -> None:
        silent = time.monotonic() - self._last_in
        if silent > 1.5 * self._keepalive and not self._held:
            self.abort(f"the broker was silent for {silent:.0f} s")
            return
        self._protocol.write(SimpleCommandPacket.build_package(MQTTCommands.PINGREQ))
        self._timer = self._loop.call_later(self._keepalive / 2, self._check_alive)

    def lose(self, reason: str) -> None:
        """The connection is gone, if nothing else ended it before."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.lost.done():
            self.lost.set_result(reason)

    def abort(self, reason: str) -> None:
        """Drop the connection at once, whatever waits to be sent."""
        self.lose(reason)
        if self._protocol.transport is not None:
            self._protocol.transport.abort()

    def close(self) -> None:
        """Say DISCONNECT and close once everything is sent."""
        if not self.lost.done():
            self._flush()
            self._protocol.write(DisconnectPacket.build_package(self._dialect))
            self.lose("closed by the hub")
            if self._protocol.transport is not None:
                self._protocol.transport.close()


def _long_length(data: memoryview, at: int, length: int) -> tuple[int, int]:
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


class _Dialect:
    """What gmqtt asks of a connection when it builds a packet for it."""

    proto_name = b"MQTT"
    proto_ver = MQTTv311

    def __init__(self) -> None:
        self.id_generator = IdGenerator()


class _Protocol(asyncio.BufferedProtocol):
    """The socket: reads into one memory, hands over what is in it, and keeps what is no whole packet yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.transport: asyncio.Transport | None = None
        # After a packet that has begun there is room for a whole read.
        self._memory = memoryview(bytearray(MAX_PACKET + READ_SIZE))
        self._filled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.lose("the broker closed the connection")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._memory[self._filled : self._filled + READ_SIZE]

    def buffer_updated(self, nbytes: int) -> None:
        filled = self._filled + nbytes
        try:
            taken = self._connection.received(self._memory[:filled])
        except Exception as error:
            # Only garbage from the broker comes here; asyncio would log it and close with no sentence.
            detail = str(error) if isinstance(error, ValueError) else type(error).__name__
            self._connection.abort(f"the broker sent what is not MQTT: {detail}")
            return
        self._filled = filled - taken
        if taken and self._filled:
            self._memory[: self._filled] = self._memory[taken:filled]

    def write(self, data: bytes) -> None:
        """Send, unless the socket is closed."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def pause(self) -> None:
        """Read no more."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.transport is not None:
            self.transport.resume_reading()
