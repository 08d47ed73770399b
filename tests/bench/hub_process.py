"""A hub as a process of its own, whose CPU time and memory can be asked for.

    python tests/bench/hub_process.py HUB.TOML BACK_END [PROFILE]

With PROFILE the whole run is profiled into that file, which makes it about twice as slow.
"""

import asyncio
import cProfile
import gc
import resource
import sys
from pathlib import Path

import psutil
from child import answer, read_request

from handfast_cpython.crypto import Crypto
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.service import calm_collector, configure_logs


def usage() -> dict[str, float]:
    """User and system time of this process in seconds (getrusage), and its resident memory in bytes."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return {"user": spent.ru_utime, "system": spent.ru_stime, "rss": psutil.Process().memory_info().rss}


async def main(config: Path, back_end: str) -> None:
    crypto = Crypto(back_end)
    loaded = load_config(config)
    configure_logs(loaded)
    async with Hub(loaded, crypto=crypto) as hub:
        calm_collector()
        answer(crypto=crypto.name)
        while (request := await asyncio.to_thread(read_request)) is not None:
            if request[0] == "settle":
                gc.collect()
            answer(**usage(), half_open=hub._sessions.half_open)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        cProfile.run("asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))", sys.argv[3])
    else:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
