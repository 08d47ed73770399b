"""UDP addresses and sockets, for QUIC."""

import asyncio
import socket

from aioquic.quic.connection import NetworkAddress

SOCKET_BUFFER = 2 * 1024 * 1024


async def resolve(host: str, port: int) -> list[tuple[int, NetworkAddress]]:
    """(address family, address) of each UDP port that a name stands for; OSError when there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return [(row[0], row[4]) for row in found]


def udp_socket(family: int, address: NetworkAddress) -> socket.socket:
    """A UDP socket bound to `address`, with room for a burst; OSError when it is taken."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        # The kernel grants what it allows; the usual 200 KB is less than one congestion window.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock
