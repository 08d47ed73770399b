"""A hub that hears the devices of another hub over a trunk, and has one of them switch its fan on.

    handfast-hub trunk pair berlin.pairing          once; bring the file to Berlin, by a way you trust
    python two_hubs_trunk.py hub.toml               at Vienna, in place of `handfast-hub serve`

Vienna's hub.toml has, beside its own broker (docs/trunk.md; docs/qkd.md for the keys kme, kme_id, ...):

    [trunk.berlin]
    hub = "<berlin's hub code>"
    secret_file = "berlin.pairing"
    connect = "tcp://berlin.example:7301"

and Berlin's has [bridge] with that port, and [trunk.vienna] with `commands = true`. Alarms of Berlin's
devices come as `secret`: only under a fresh quantum key. Without one they wait at Berlin; all else goes on.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from handfast.core.errors import LinkTimeout, LocalError
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.registry.arriving import Arrival
from handfast_hub.service import configure_logs
from handfast_hub.trunk.policy import CLASSES

TOO_WARM = 30.0


async def cool(hub: Hub, arrival: Arrival) -> None:
    """Berlin carries the command out once at most; its device may have left, or be revoked."""
    try:
        answer = await hub.trunks.command(arrival.stream.trunk, arrival.device_id, b"fan on", 60)
        print(arrival.label, "answered:", answer.data.decode(errors="replace"), flush=True)
    except (LinkTimeout, LocalError) as error:
        print(arrival.label, "did not answer:", error.detail, flush=True)


async def watch(hub: Hub) -> None:
    """Every reading was committed here before it comes, comes once, and in the order of its class."""
    async with asyncio.TaskGroup() as cooling:
        async for arrival in hub.bridged():
            how = CLASSES[arrival.stream.kind].name + (", degraded" if arrival.degraded else "")
            print(f"{arrival.label} says ({how}):", arrival.data.decode(errors="replace"), flush=True)
            with contextlib.suppress(ValueError):
                if float(arrival.data) > TOO_WARM:
                    cooling.create_task(cool(hub, arrival))


async def report(hub: Hub) -> None:
    """Say when the trunk goes up or down, and when `secret` opens or closes."""
    before: dict[str, str] = {}
    while True:
        for name, now in hub.trunks.status().items():
            up, secret = "up" if now["up"] else "down", "goes" if now["secret_open"] else "waits"
            said = f"trunk {name} is {up}, secret {secret}"
            if before.get(name) != said:
                print(said, flush=True)
            before[name] = said
        await asyncio.sleep(1)


async def main(file: Path) -> None:
    config = load_config(file)
    configure_logs(config)
    async with Hub(config) as hub, asyncio.TaskGroup() as work:
        for part in (watch(hub), report(hub), hub.run()):
            work.create_task(part)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1])))
