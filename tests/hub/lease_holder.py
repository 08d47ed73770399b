"""A hub process as far as its registry goes, for tests that suspend it: takes the lease, then writes.

    python lease_holder.py FOLDER

says "serving", and after each line "NUMBER" what became of granting device NUMBER a key.
"""

import asyncio
import sys
from pathlib import Path

import registry_world as world

from handfast.core.errors import Error
from handfast_hub.config import load_config
from handfast_hub.registry.registry import Registry


async def main() -> None:
    """Serve until the end of the input."""
    registry = await Registry.open(load_config(Path(sys.argv[1]) / "hub.toml"), world.crypto)
    try:
        await registry.serve()
        print("serving", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            number = int(line)
            try:
                await world.granted(registry, number, attempt=number)
            except Error as error:
                print(f"{type(error).__name__}: {error.detail}", flush=True)
            else:
                print("written", flush=True)
    finally:
        await registry.close()


asyncio.run(main())
