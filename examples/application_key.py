"""A key of your own: both ends derive it from the onboarding, and nobody has to carry or store it.

    python application_key.py

A device encrypts its logs and leaves them wherever files can be left: a web server, a USB stick. The
hub opens them weeks later. Here both ends run in one process, with a hub in a temporary folder.
"""

import asyncio
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handfast import Device
from handfast.testing import FakeClock
from handfast_cpython import Swarm
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.memory_hub import MemoryHub

# A purpose names one use in one format. Another purpose gives another key, which tells nothing of this one.
PURPOSE = "log archive, AES-256-GCM, version 1"


def archive(device: Device, log: bytes) -> bytes:
    """On the device: nonce and ciphertext. The key is of 32 bytes, the same until the device enrols anew."""
    nonce = os.urandom(12)
    return nonce + AESGCM(device.key(PURPOSE)).encrypt(nonce, log, device.device_id)


async def restore(hub: Hub, device_id: bytes, archived: bytes) -> bytes:
    """At the hub, or in a program that asked the hub for this one key: InvalidTag when it was changed."""
    key = await hub.key(device_id, PURPOSE)
    return AESGCM(key).decrypt(archived[:12], archived[12:], device_id)


async def main(folder: Path) -> None:
    file = folder / "hub.toml"
    file.write_text('name = "berlin"\n[log]\nlevel = "warning"\n')
    config = load_config(file)
    create_hub(config)
    clock = FakeClock()
    async with MemoryHub(config, clock) as hub, Swarm(1, hub, clock=clock) as swarm:
        await swarm.onboard()
        device = swarm.devices[0].device
        archived = archive(device, b"12:00 door opened")
        print("somewhere lie", archived.hex())
        print("the hub reads", (await restore(hub, device.device_id, archived)).decode())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary)))
