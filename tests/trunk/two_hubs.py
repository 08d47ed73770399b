"""Berlin and Vienna: two hubs with registries on disk and a trunk over TCP on this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from free_ports import free_port

from handfast.core.codes import encode_hub_code
from handfast.testing import FakeClock
from handfast_cpython import Crypto
from handfast_hub.config import HubConfig, load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.trunk.trunks import encode_secret

# Far more than anything here takes: what never happens must end too.
PATIENCE = 120.0


def made(folder: Path, name: str) -> str:
    """Make a hub; its hub code."""
    folder.mkdir()
    file = folder / "hub.toml"
    file.write_text(f'name = "{name}"\n[log]\nlevel = "error"\n')
    return encode_hub_code(Crypto(), create_hub(load_config(file)))


def two_hubs(
    folder: Path,
    kme: Callable[[str, str], str] = lambda name, peer: "",
    schemes: tuple[str, ...] = ("tcp",),
    dialled: Callable[[str, int], int] = lambda scheme, port: port,
) -> tuple[HubConfig, HubConfig]:
    """Berlin, which listens, and Vienna, which dials; `kme` gives further lines of a trunk.

    `schemes` are the carriers, the preferred one first; Vienna dials port `dialled` for each.
    """
    codes = {name: made(folder / name, name) for name in ("berlin", "vienna")}
    (folder / "pairing").write_text(encode_secret(bytes(range(32))))
    ports = {scheme: free_port() for scheme in schemes}
    keys = {"tcp": "port", "quic": "quic_port"}
    found = []
    for name, peer in (("berlin", "vienna"), ("vienna", "berlin")):
        file = folder / name / "hub.toml"
        listens = "".join(f"{keys[scheme]} = {port}\n" for scheme, port in ports.items())
        listens = f"[bridge]\n{listens}" if name == "berlin" else ""
        connect = [f"{scheme}://127.0.0.1:{dialled(scheme, port)}" for scheme, port in ports.items()]
        dials = f"connect = {connect}\n" if name == "vienna" else ""
        file.write_text(
            f'{file.read_text()}{listens}[trunk.{peer}]\nhub = "{codes[peer]}"\n'
            f'secret_file = "../pairing"\nrekey_seconds = 2\ncommands = true\n{dials}{kme(name, peer)}'
        )
        found.append(load_config(file))
    return found[0], found[1]


@contextlib.asynccontextmanager
async def running(config: HubConfig) -> "AsyncIterator[MemoryHub]":
    """A hub whose devices are in this process."""
    async with MemoryHub(config, FakeClock()) as hub:
        yield hub


async def until(condition: "Callable[[], bool | Awaitable[bool]]") -> None:
    """Look until it is so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


async def arrivals(hub: Hub) -> list[bytes]:
    """What has come over the trunk, in order."""
    return [reading.data for reading in await hub._registry.bridging.arrivals(0, 10_000)]


def up(hub: Hub) -> bool:
    """Whether the other hub is heard."""
    return all(status["up"] for status in hub.trunks.status().values())
