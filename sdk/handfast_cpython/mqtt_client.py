"""aiomqtt 2.5 with its edges taken off: late registration, deaf waits, sockets left open, hasty goodbyes."""

import asyncio
import contextlib
from typing import Any

import aiomqtt
import paho.mqtt.client as paho

# How long a goodbye may take before the socket is left to itself, in seconds.
LEAVE_TIMEOUT = 2.0


class Client(aiomqtt.Client):
    """aiomqtt 2.5 registers a socket for writing in a later turn of the loop, when it may be closed.

    Then the loop reports a bad file descriptor, or worse: its number belongs to another connection.
    And when the broker hangs up before it has accepted us, it waits for its timeout all the same.
    """

    def _on_disconnect(self, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(self._hung_up)
        super()._on_disconnect(*arguments)

    def _hung_up(self) -> None:
        if not self._connected.done():
            self._connected.set_exception(
                aiomqtt.MqttError("it closed the connection at once; does it speak TLS on that port, or not?")
            )

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
