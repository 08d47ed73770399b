"""One of the two hubs of the demo's second act: a hub as in the first, and its trunk. Run by trunk_act.py."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from hub_side import HubSide

from handfast.core.topics import CHANNEL_NAMES
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.trunk.policy import CLASSES


class TrunkHub(HubSide):
    """What the narrator may ask of it besides."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self._arrivals: list[dict[str, Any]] = []

    async def code(self) -> str:
        """The hub code, which the other hub has to know."""
        return self._code

    async def join(self, lines: str) -> dict[str, Any]:
        """Add the sections of a trunk to hub.toml, and start."""
        self._file.write_text(self._file.read_text(encoding="utf-8") + lines, encoding="utf-8")
        self._hub = Hub(load_config(self._file))
        started = await self.start()
        self._readers.append(asyncio.create_task(self._listen()))
        return started

    async def _listen(self) -> None:
        async for arrival in self._hub.bridged():
            self._arrivals.append(
                {
                    "class": CLASSES[arrival.stream.kind].name,
                    "channel": CHANNEL_NAMES[arrival.channel],
                    "device_id": arrival.device_id.hex(),
                    "data": arrival.data.decode(),
                    "degraded": arrival.degraded,
                }
            )

    async def arrivals(self) -> list[dict[str, Any]]:
        """What has come over the trunk, in order."""
        return self._arrivals

    async def trunk(self) -> dict[str, Any]:
        """How the trunk fares."""
        return next(iter(self._hub.trunks.status().values()))

    async def order(self, trunk: str, device_id: str, data: str) -> str:
        """Have the other hub command one of its devices; the device's answer."""
        answer = await self._hub.trunks.command(trunk, bytes.fromhex(device_id), data.encode(), 60)
        return answer.data.decode()


async def main(folder: Path, name: str) -> None:
    """Serve the narrator, then stop."""
    (folder / name).mkdir()
    side = TrunkHub(folder / name, name)
    await side.obey(side.code, side.join, side.arrivals, side.trunk, side.order)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
