"""An operator's own program: it is the hub, reads what devices send and commands them. No MQTT in sight.

    handfast-hub --config hub.toml init --name berlin
    python hub_program.py hub.toml

Where a room is above 30 degrees its fan is switched on. One process serves a hub: this one stands in
for `handfast-hub serve`; `handfast-hub token`, `approve`, `revoke` and the other commands work beside it.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from handfast.core.errors import LinkTimeout, LocalError
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.service import configure_logs
from handfast_hub.traffic import Reading

TOO_WARM = 30.0


async def cool(hub: Hub, reading: Reading) -> None:
    """Ask the device for its fan; it may have left, and it may be revoked."""
    try:
        # Sent when the device is there, given up after a minute. The device hears it once at most.
        answer = await hub.command(reading.device_id, b"fan on", expires=60)
        print(reading.label, "answered:", answer.data.decode(errors="replace"), flush=True)
    except (LinkTimeout, LocalError) as error:
        print(reading.label, "did not answer:", error.detail, flush=True)


async def watch(hub: Hub) -> None:
    """Every reading was committed before it comes here, and comes once."""
    async with asyncio.TaskGroup() as cooling:
        async for reading in hub.readings():
            print(reading.label, "says:", reading.data.decode(errors="replace"), flush=True)
            # A device is authentic, which does not mean that it sends numbers.
            with contextlib.suppress(ValueError):
                if float(reading.data) > TOO_WARM:
                    # Not awaited here: a device that left must not hold up the readings of the others.
                    cooling.create_task(cool(hub, reading))


async def main(file: Path) -> None:
    config = load_config(file)
    configure_logs(config)
    async with Hub(config) as hub, asyncio.TaskGroup() as work:
        print("hub", config.name, "serves at", hub.transport.address, flush=True)
        work.create_task(watch(hub))
        work.create_task(hub.run())  # raises when the lease or the database is lost: then this ends too


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1])))
