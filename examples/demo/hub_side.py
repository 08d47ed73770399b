"""The demo's hub: registry, embedded broker and hub in one process. Run by fleet_act.py."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from wire import Command, serve

from handfast.core.codes import encode_hub_code, encode_token
from handfast.core.errors import Error
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.metrics import METRICS
from handfast_hub.registry.tokens import NewTokens
from handfast_hub.service import configure_logs
from handfast_hub.transport import EmbeddedTransport

CONFIGURATION = """
name = "{name}"
[mqtt]
port = 0
[log]
level = "error"
"""


class HubSide:
    """What the narrator may ask of the hub."""

    def __init__(self, folder: Path, name: str = "demo") -> None:
        self._file = folder / "hub.toml"
        self._file.write_text(CONFIGURATION.format(name=name), encoding="utf-8")
        config = load_config(self._file)
        hub_id = create_hub(config)
        configure_logs(config)
        self._hub = Hub(config)
        self._code = encode_hub_code(self._hub.crypto, hub_id)
        self._heard: dict[bytes, list[bytes]] = {}
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> dict[str, Any]:
        """Start; where the broker listens, and the hub code."""
        await self._hub.start()
        self._readers.append(asyncio.create_task(self._read()))
        return {"port": self._broker.port, "code": self._code}

    @property
    def _broker(self) -> Any:
        transport = self._hub.transport
        if not isinstance(transport, EmbeddedTransport):
            raise RuntimeError("the demo runs with the embedded broker")
        return transport.broker

    async def _read(self) -> None:
        async for reading in self._hub.readings():
            self._heard.setdefault(reading.device_id, []).append(reading.data)

    async def tokens(self, count: int) -> list[str]:
        """`count` single tokens, good for an hour."""
        now = time.time()
        new = NewTokens("demo", count, False, 1, now + 3600, now)
        return [encode_token(self._hub.crypto, token) for token in await self._hub.operator.mint(new)]

    async def heard(self, data: str) -> int:
        """From how many devices `data` has come and was committed."""
        return sum(1 for all_data in self._heard.values() if data.encode() in all_data)

    async def readings(self, device_id: str) -> int:
        """How many readings of one device were committed."""
        return len(self._heard.get(bytes.fromhex(device_id), []))

    async def command(self, data: str) -> int:
        """Send a command to every device; how many answered."""
        devices = await self._hub.operator.devices("onboarded")

        async def one(device_id: bytes) -> bool:
            try:
                return (await self._hub.command(device_id, data.encode(), expires=30)).data == b"done"
            except Error:
                return False

        return sum(await asyncio.gather(*(one(device.device_id) for device in devices)))

    async def revoke(self, thumbprint: str) -> None:
        """Shut a device out."""
        await self._hub.revoke(bytes.fromhex(thumbprint), "lost in the demo")

    async def refused_records(self) -> int:
        """How many records the hub refused to open or to deliver."""
        return int(METRICS.registry.get_sample_value("handfast_records_total", {"result": "refused"}) or 0)

    async def shut_gates(self) -> int:
        """How many first messages did not pass the gate, and got no answer."""
        return int(METRICS.registry.get_sample_value("handfast_drops_total", {"reason": "gate"}) or 0)

    async def drop_everybody(self) -> int:
        """Hang up on every device, as a broker that restarts does; how many there were."""
        return int(self._broker.disconnect_all())

    async def close(self) -> None:
        """Stop the hub."""
        for reader in self._readers:
            reader.cancel()
        await self._hub.close()

    async def obey(self, *more: Command) -> None:
        """Do what the narrator asks, then stop."""
        asks = (
            self.start,
            self.tokens,
            self.heard,
            self.readings,
            self.command,
            self.revoke,
            self.refused_records,
            self.shut_gates,
            self.drop_everybody,
        )
        try:
            await serve(asks + more)
        finally:
            await self.close()


async def main() -> None:
    """Serve the narrator, then stop."""
    with tempfile.TemporaryDirectory(prefix="handfast-demo-") as folder:
        await HubSide(Path(folder)).obey()


if __name__ == "__main__":
    asyncio.run(main())
