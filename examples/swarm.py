"""A swarm as a program: many devices, a bad network, a real hub. No socket, no waiting.

    python swarm.py 100

Devices and hub are those of the product; their broker is in memory, and time stands still until
somebody moves it, so an hour takes as long as its computation. As a test the same is three lines: the
fixtures `hub` and `swarm` come with handfast. Ends with 1 when something is not as it has to be.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from handfast.testing import FakeClock, LossyLink
from handfast_cpython import Swarm
from handfast_hub.config import load_config
from handfast_hub.installation import create_hub
from handfast_hub.memory_hub import MemoryHub


async def main(count: int, folder: Path) -> bool:
    file = folder / "hub.toml"
    file.write_text('name = "berlin"\n[log]\nlevel = "warning"\n')
    config = load_config(file)
    create_hub(config)
    clock = FakeClock()
    # Of ten payloads one is lost, and one comes twice; three later ones may overtake any of them.
    link = LossyLink(loss=0.1, duplicate=0.1, reorder=3, delay=(0.02, 0.4))
    async with MemoryHub(config, clock) as hub, Swarm(count, hub, link=link, clock=clock, seed=7) as swarm:
        summary = await swarm.onboard(within=600)
        print(f"{summary.onboarded} of {count} onboard after {summary.retries} further attempts")
        print(f"half of them within {summary.p50:.1f} s, 99 of 100 within {summary.p99:.1f} s")

        lost = swarm.devices[0]
        await hub.revoke(swarm.thumbprint(lost), "lost on the way")
        await clock.advance(3600)
        print(f"an hour after its revocation, the lost device is {lost.state}")

        hub.broker.drop_all()
        await clock.advance(60)
        print(f"a minute after the broker dropped everybody, {swarm.count('active')} are active")
        found = (summary.onboarded, lost.state, swarm.count("active"), swarm.reused_nonces())
        return found == (count, "refused", count - 1, [])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        good = asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, Path(temporary)))
    sys.exit(0 if good else 1)
