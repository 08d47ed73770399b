"""Every KME and every line of an installation as child processes; when one dies, or on Ctrl-C, all end."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from handfast.core.errors import LinkError
from handfast_kme.network import Network

# Seconds that a child has after SIGTERM.
GRACE = 10.0


async def run_all(network: Network, file: Path) -> None:
    """Run until cancelled; LinkError when a child ends by itself."""
    wanted = [("--line", link.name) for link in network.provider_link]
    wanted += [("--node", node.name) for node in network.node]
    children: dict[asyncio.Task[int], str] = {}
    processes: list[asyncio.subprocess.Process] = []
    try:
        for option, name in wanted:
            command = (sys.executable, "-m", "handfast_kme", "serve", str(file), option, name)
            # A group of its own: Ctrl-C reaches us alone, and we end the children in order.
            process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
            processes.append(process)
            children[asyncio.create_task(process.wait())] = f"{option.removeprefix('--')} {name}"
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        stopped = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait({*children, stopped}, return_when=asyncio.FIRST_COMPLETED)
        died = [children[task] for task in ended if task in children]
        if died:
            raise LinkError(f"{', '.join(died)} ended; the others were ended too")
        stopped.cancel()
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await asyncio.gather(*children, return_exceptions=True)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
