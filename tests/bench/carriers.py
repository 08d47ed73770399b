"""What the carriers of a trunk take: sealed records over TCP and QUIC by turns, and QUIC over a bad path.

    python tests/bench/carriers.py [--rounds N]

Both ends and the path are in this process. The first table is in CPU, because on a shared machine the
wall says what else ran: records for each second of CPU that both ends need to seal, carry and open them,
one at a time and by sixteens. The second is what comes through a path of 20 milliseconds that loses
packets without being full, in records of 300 bytes a second of the wall. Nothing here judges.
"""

import argparse
import asyncio
import contextlib
import secrets
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "trunk")]

from free_ports import free_port
from shaken_path import ShakenPath

from handfast_cpython import Crypto
from handfast_hub.trunk.carrier import Carrier
from handfast_hub.trunk.greeting import Door, caller
from handfast_hub.trunk.policy import HYBRID, NORMAL
from handfast_hub.trunk.quic import QuicCarrier, dial_quic
from handfast_hub.trunk.quic_port import listen_quic
from handfast_hub.trunk.records import Header, Receiving, Sending
from handfast_hub.trunk.tcp import dial_tcp, listen_tcp

CRYPTO = Crypto()
CALLER = caller(CRYPTO, bytes(8), bytes(32))
CARRIERS: dict[str, tuple[Any, Any, int]] = {
    "TCP": (listen_tcp, dial_tcp, 40_000),
    "QUIC": (listen_quic, dial_quic, 8_000),
}
# Records on their way at most: neither carrier drops any.
WINDOW = 400
ROUND_TRIP = 0.02
LOSSES = (0.0, 0.01, 0.05)
SECONDS = 6.0


@contextlib.asynccontextmanager
async def joined(name: str, path: ShakenPath | None = None) -> AsyncIterator[tuple[Carrier, Carrier]]:
    """Both ends of a carrier, the one that dialled first; over `path`, when there is one."""
    listen, dial, _ = CARRIERS[name]
    came: asyncio.Queue[Carrier] = asyncio.Queue()

    async def called(carrier: Carrier) -> None:
        await carrier.greeting()
        came.put_nowait(carrier)

    port = free_port() if path is None else path.target[1]
    server = await listen("127.0.0.1", port, called, Door([CALLER]))
    near = await dial("127.0.0.1", port if path is None else await path.open(), CALLER)
    far = await came.get()
    near.proven = far.proven = True
    try:
        yield near, far
    finally:
        await near.close()
        await far.close()
        await server.close()


async def carried(name: str, size: int, batch: int) -> float:
    """Records a second of CPU."""
    key, count = secrets.token_bytes(32), CARRIERS[name][2]
    sending = Sending(CRYPTO, HYBRID, 1, key, degraded=False)
    receiving = Receiving(CRYPTO, HYBRID, 1, key, degraded=False)
    data, came = bytes(size), 0

    async with joined(name) as (near, far):

        async def take() -> None:
            nonlocal came
            while came < count:
                frame = await far.receive()
                receiving.open(Header(frame), frame)
                came += 1

        taking = asyncio.create_task(take())
        began = time.process_time()
        for first in range(0, count, batch):
            while first - came > WINDOW:  # noqa: ASYNC110
                await asyncio.sleep(0)
            near.send([sending.seal(NORMAL, data) for _ in range(batch)])
            await asyncio.sleep(0)
        await taking
        return count / (time.process_time() - began)


async def through(loss: float) -> float:
    """Records a second that come through a path which loses that share of its packets."""
    path = ShakenPath(("127.0.0.1", free_port()))
    path.delay = ROUND_TRIP / 2
    frame, came = bytes([HYBRID << 4 | NORMAL]) + bytes(299), 0
    async with joined("QUIC", path) as (near, far):
        assert isinstance(near, QuicCarrier)

        async def take() -> None:
            nonlocal came
            while True:
                await far.receive()
                came += 1

        path.loss = loss
        taking = asyncio.create_task(take())
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            if near._connection.datagram_bytes < 100 * len(frame):
                near.send([frame] * 32)
            await asyncio.sleep(0.002)
        taking.cancel()
    path.close()
    return came / SECONDS


async def run(rounds: int) -> None:
    print("| bytes | at once | TCP | QUIC | TCP / QUIC |\n|---|---|---|---|---|")
    for size in (256, 1024):
        for batch in (1, 16):
            found = [[await carried(name, size, batch) for name in CARRIERS] for _ in range(rounds)]
            ratio = statistics.median(tcp / quic for tcp, quic in found)
            tcp, quic = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"| {size} | {batch} | {tcp:,.0f} | {quic:,.0f} | {ratio:.1f} |", flush=True)
    print("\n| loss | QUIC, 20 ms |\n|---|---|")
    for loss in LOSSES:
        print(f"| {loss:.0%} | {await through(loss):,.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns, of which the median is shown")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options.rounds))
