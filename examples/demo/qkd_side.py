"""The demo's QKD installation, SIMULATED: two KMEs and a line, each a process. Run by trunk_act.py."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from ports import free_ports
from wire import serve

from handfast_kme.installed import Folder
from handfast_kme.listing import link_status
from handfast_kme.network import load_network
from handfast_kme.store import Store

# Detectors as good as superconducting ones make keys of small blocks; pace lets a block begin every two
# seconds. docs/qkd.md has the numbers of ordinary ones.
NETWORK = """
[group]
name = "demo"
folder = "qkd"
[[node]]
name = "berlin"
uid = 1
port = {0}
peer_port = {1}
[[node]]
name = "vienna"
uid = 2
port = {2}
peer_port = {3}
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
line_port = {4}
pulses = 20_000_000
pace = 0.01
[provider_link.optics]
length_km = 10.0
detector_efficiency = 0.8
dark_count = 1e-7
dead_time = 20e-9
afterpulse = 0.001
z_probability = 0.6
intensities = [0.5, 0.15, 0.0005]
probabilities = [0.45, 0.35, 0.2]
[[consumer]]
name = "hub-berlin"
node = "berlin"
[[consumer]]
name = "hub-vienna"
node = "vienna"
[[consumer_link]]
consumers = ["hub-berlin", "hub-vienna"]
"""


class QkdSide:
    """What the narrator may ask of it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "network.toml"
        self._file.write_text(NETWORK.format(*free_ports(5)), encoding="utf-8")
        self._network = load_network(self._file)
        self._folder = Folder(self._network.group.folder)
        self._serving: asyncio.subprocess.Process | None = None

    async def apply(self) -> None:
        """Make certificates and pre-shared keys, by the operator's command."""
        await self._run("apply")

    async def settings(self, name: str, peer: str) -> str:
        """The lines of hub.toml by which hub `name` finds its KME."""
        folder, node = self._folder.consumer(f"hub-{name}"), self._network.named("node", name)
        return (
            f'kme = "https://{node.address}:{node.port}"\nkme_id = "{node.kme_id}"\npeer_sae = "hub-{peer}"\n'
            f'kme_ca = "{folder / "ca.pem"}"\nkme_certificate = "{folder / "sae.pem"}"\n'
            f'kme_key = "{folder / "sae.key"}"\n'
        )

    async def serve(self) -> None:
        """Start the KMEs and the line, by the operator's command."""
        self._serving = await self._start("serve")

    async def attack(self, name: str, dial: float) -> None:
        """Turn the eavesdropper up or down, by the operator's command."""
        await self._run("attack", "fibre", name, str(dial))

    async def look(self) -> dict[str, Any]:
        """What `handfast-kme status` shows of the link, and how many keys were voided."""
        if self._serving is not None and self._serving.returncode is not None:
            raise RuntimeError("handfast-kme serve ended by itself")
        store = Store(self._folder.store("berlin"), only_look=True)
        try:
            voided = sum(row.get("voided", 0) for row in store.history("fibre", 1000))
        finally:
            store.close()
        return {**link_status(self._network)[0], "voided": voided}

    async def close(self) -> None:
        """End the KMEs and the line."""
        if self._serving is not None and self._serving.returncode is None:
            self._serving.terminate()
            await self._serving.wait()

    async def _start(self, command: str, *words: str) -> asyncio.subprocess.Process:
        line = (sys.executable, "-m", "handfast_kme", command, str(self._file), *words)
        # Our own output is what the narrator reads.
        return await asyncio.create_subprocess_exec(
            *line, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr
        )

    async def _run(self, command: str, *words: str) -> None:
        if await (await self._start(command, *words)).wait():
            raise RuntimeError(f"handfast-kme {command} failed")


async def main(folder: Path) -> None:
    """Serve the narrator, then stop."""
    side = QkdSide(folder)
    try:
        await serve((side.apply, side.settings, side.serve, side.attack, side.look))
    finally:
        await side.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
