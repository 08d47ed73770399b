"""An installation in a temporary folder with free ports, its KMEs in this process or in processes of their
own."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from free_ports import free_ports

from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.used_keys import UsedKeys
from handfast_kme.apply import carry_out, plan
from handfast_kme.installed import Folder
from handfast_kme.network import Network, load_network

# A short link with good detectors: small blocks make keys, and a block takes a second of one core.
GOOD_OPTICS = (
    "{ length_km = 5.0, dark_count = 1e-7, misalignment = 0.005, dead_time = 1e-9, afterpulse = 0.001,"
    " z_probability = 0.6, intensities = [0.5, 0.15, 0.0005], probabilities = [0.45, 0.35, 0.2] }"
)

TEMPLATE = """
[group]
name = "test"
[[node]]
name = "berlin"
uid = 1
port = {ports[0]}
peer_port = {ports[1]}
[[node]]
name = "vienna"
uid = 2
port = {ports[2]}
peer_port = {ports[3]}
[[node_link]]
nodes = ["berlin", "vienna"]
[[provider]]
name = "qkd-berlin"
node = "berlin"
[[provider]]
name = "qkd-vienna"
node = "vienna"
[[provider_link]]
name = "fibre"
providers = ["qkd-berlin", "qkd-vienna"]
line_port = {ports[4]}
pulses = {pulses}
pace = 0
max_keys = {max_keys}
optics = {optics}
[[consumer]]
name = "hub-berlin"
node = "berlin"
[[consumer]]
name = "hub-vienna"
node = "vienna"
[[consumer]]
name = "second-vienna"
node = "vienna"
[[consumer]]
name = "stranger"
node = "vienna"
[[consumer_link]]
consumers = ["hub-berlin", "hub-vienna"]
"""


def installed(
    folder: Path,
    *,
    pulses: int = 15_000_000,
    max_keys: int = 400,
    optics: str = GOOD_OPTICS,
    text: str = TEMPLATE,
) -> tuple[Network, Path]:
    """Write network.toml and apply it."""
    file = folder / "network.toml"
    file.write_text(text.format(ports=free_ports(5), pulses=pulses, max_keys=max_keys, optics=optics))
    network = load_network(file)
    carry_out(plan(network), lambda step: None)
    return network, file


def client(network: Network, sae: str, used: Path, kme_of: str | None = None, **more: object) -> KmeClient:
    """The hub's client with the certificate of `sae`, at the KME of its node or of `kme_of`."""
    consumer = network.named("consumer", sae)
    node = network.named("node", kme_of or consumer.node)
    folder = Folder(network.group.folder).consumer(sae)
    wanted = {
        "kme_id": node.kme_id, "ca": folder / "ca.pem", "certificate": folder / "sae.pem",
        "key": folder / "sae.key",
        "used": UsedKeys(used), **more,
    }  # fmt: skip
    url = str(wanted.pop("url", f"https://{node.address}:{node.port}"))
    return KmeClient(url, **wanted)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def clients(network: Network, folder: Path, *saes: str) -> AsyncIterator[list[KmeClient]]:
    """The client of each of `saes`, each with a memory of its own in `folder`."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(client(network, sae, folder / sae)) for sae in saes]


@contextlib.contextmanager
def process(file: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`handfast-kme serve` as a process."""
    command = [sys.executable, "-m", "handfast_kme", "serve", str(file), *options]
    with (file.parent / f"{'-'.join(options)}.log").open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.asynccontextmanager
async def running(network: Network, *, line: bool = True) -> AsyncIterator[dict[str, object]]:
    """Both KMEs, and the line, in this process."""
    from handfast_kme.kme import Kme
    from handfast_kme.line_server import LineServer

    kmes = {node.name: Kme(network, node.name) for node in network.node}
    parts = [
        *kmes.values(),
        *([LineServer(network, link.name) for link in network.provider_link] if line else []),
    ]
    ready = [asyncio.Event() for _ in parts]
    tasks = [asyncio.create_task(part.run(event)) for part, event in zip(parts, ready)]
    try:
        async with asyncio.timeout(60):
            for event in ready:
                await event.wait()
        yield dict(kmes)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def trunk_lines(network: Network, name: str, peer: str) -> str:
    """What `[trunk.NAME]` of hub `name` says of its KME, for keys that `peer` gets too."""
    folder = Folder(network.group.folder).consumer(f"hub-{name}")
    node = network.named("node", name)
    return (
        f'kme = "https://{node.address}:{node.port}"\nkme_id = "{node.kme_id}"\npeer_sae = "hub-{peer}"\n'
        f'kme_ca = "{folder / "ca.pem"}"\nkme_certificate = "{folder / "sae.pem"}"\n'
        f'kme_key = "{folder / "sae.key"}"\n'
    )


async def until(check: object, seconds: float = 120.0) -> object:
    """Poll `check`, a coroutine function, until it gives something true; TimeoutError."""
    async with asyncio.timeout(seconds):
        found = await check()  # type: ignore[operator]
        while not found:
            await asyncio.sleep(0.05)
            found = await check()  # type: ignore[operator]
        return found
