"""aiomqtt 2.5 with its edges taken off: late registration, deaf waits, sockets left open, hasty goodbyes.

And with bounds: whoever runs the broker is not trusted, and shall not fill the memory of a device.
"""

import asyncio
import contextlib
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

# How long a goodbye may take before the socket is left to itself, in seconds.
LEAVE_TIMEOUT = 2.0
# The largest packet that is read, twice the largest payload that is taken. MQTT allows 256 MB, and a
# broker that announces more than this is left before a byte of it is read.
PACKET_LIMIT = 132_000
# Packets of ours that wait for a broker that does not read: one for each PUBLISH or PINGREQ of it.
UNSENT_LIMIT = 1000


class Client(aiomqtt.Client):
    """aiomqtt 2.5 registers a socket for writing in a later turn of the loop, when it may be closed.

    Then the loop reports a bad file descriptor, or worse: its number belongs to another connection.
    And when the broker hangs up before it has accepted us, it waits for its timeout all the same.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _bound(self._client)

    def _on_disconnect(self, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(self._hung_up)
        super()._on_disconnect(*arguments)

    def _hung_up(self) -> None:
        if not self._connected.done():
            self._connected.set_exception(
                aiomqtt.MqttError("it closed the connection at once; does it speak TLS on that port, or not?")
            )
            # Nobody waits for it any more when we have given up; then Python must not report it as lost.
            self._connected.exception()

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._register_write, client, sock)

    def _register_write(self, client: paho.Client, sock: Any) -> None:
        if sock.fileno() < 0:
            return
        self._loop.add_writer(sock.fileno(), self._write, client)

    def _write(self, client: paho.Client) -> None:
        try:
            client.loop_write()
        except Exception as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


def _bound(client: paho.Client) -> None:
    """Let `client` hang up on a broker that wants it to hold more than a device has reason to.

    paho 2 has no setting for this. What is replaced on the instance are three of its methods; each error
    takes the way of a broken connection.
    """
    receive, queue, handle = client._sock_recv, client._packet_queue, client._handle_publish

    def bounded_receive(size: int) -> bytes:
        if size > PACKET_LIMIT:
            raise ConnectionError(f"the broker announced a packet of {size} bytes")
        return receive(size)

    def bounded_queue(*arguments: Any, **options: Any) -> MQTTErrorCode:
        if len(client._out_packet) >= UNSENT_LIMIT:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        return queue(*arguments, **options)

    def handle_publish() -> MQTTErrorCode:
        # paho keeps a message of QoS 2 until it is released. We subscribe at QoS 1, and no broker may
        # send above that (MQTT 3.1.1 section 3.8.4).
        if client._in_packet["command"] >> 1 & 3 > 1:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return handle()

    replaced = {
        "_sock_recv": bounded_receive,
        "_packet_queue": bounded_queue,
        "_handle_publish": handle_publish,
    }
    vars(client).update(replaced)


async def leave(client: aiomqtt.Client) -> None:
    """Say goodbye, for at most LEAVE_TIMEOUT seconds, and close the socket."""
    client.timeout = LEAVE_TIMEOUT
    with contextlib.suppress(aiomqtt.MqttError, OSError, ValueError):
        await client.__aexit__(None, None, None)
    hang_up(client)


def hang_up(client: aiomqtt.Client) -> None:
    """Close the socket, if it is open."""
    # After bytes that are not MQTT both libraries leave the socket open and registered, and their
    # callback then fails in an endless loop: whoever runs the broker could keep a core busy.
    if client._client.socket() is not None:
        client._client._sock_close()


_leaving: set[asyncio.Task[None]] = set()


def leave_later(client: aiomqtt.Client) -> None:
    """Leave in a task of its own, for callers that are being cancelled."""
    # The event loop holds tasks weakly; the set keeps them until they are done.
    task = asyncio.ensure_future(leave(client))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)
