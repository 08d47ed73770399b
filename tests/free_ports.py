"""Ports of the loopback address for servers that a test starts.

Two workers of pytest look for ports at the same time, and every connection takes one from the
kernel's own range. So each worker has a range of its own, below that of the kernel.
"""

import itertools
import os
import random
import socket
from collections.abc import Iterator

_FIRST, _LAST = 10_000, 32_000
_WORKERS = 16


def _range() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    share = (_LAST - _FIRST) // _WORKERS
    first = _FIRST + worker * share
    # Another run of the tests on this machine begins elsewhere, most likely.
    begin = random.randrange(share)
    return itertools.cycle([first + (begin + number) % share for number in range(share)])


_PORTS = _range()


def free_port() -> int:
    """A port on which nothing listens, and which this process has not given before."""
    for port in itertools.islice(_PORTS, _LAST - _FIRST):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free for a test")


def free_ports(count: int) -> list[int]:
    """So many of them."""
    return [free_port() for _ in range(count)]
