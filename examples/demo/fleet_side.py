"""The demo's devices: a swarm over the real broker, and four that come to grief. Run by both acts."""

import asyncio
import contextlib
import tempfile
from typing import Any

from wire import serve

from handfast import Device, EntropyError, LocalError, RefusedError
from handfast.core.codes import decode_token, encode_token
from handfast.entries import IDENTITY
from handfast.identity import create
from handfast.testing import MemoryHost
from handfast_cpython import Host
from handfast_cpython.clock import Clock
from handfast_cpython.crypto import Crypto
from handfast_cpython.entropy import Entropy
from handfast_cpython.mqtt import MqttLink
from handfast_cpython.qrng import open_source
from handfast_cpython.swarm import Simulated, Swarm
from handfast_cpython.swarm_live import LiveHub

ML_DSA_65 = -49


class Recorder(MqttLink):
    """A link that remembers the last telemetry record, as an attacker on the way would."""

    record = b""

    async def send(self, channel: int | None, payload: bytes) -> None:
        """Send and remember."""
        if channel == 1:
            self.record = payload
        await super().send(channel, payload)


class FleetSide:
    """What the narrator may ask of the fleet."""

    def __init__(self) -> None:
        self._swarm: Swarm | None = None
        self._listeners: list[asyncio.Task[None]] = []
        self._port = 0
        self._code = ""

    async def onboard(self, port: int, code: str, tokens: list[str]) -> dict[str, Any]:
        """Onboard one device for each token."""
        self._port, self._code = port, code
        hub = LiveHub(code, f"mqtt://127.0.0.1:{port}", None, tokens)
        self._swarm = Swarm(len(tokens), hub, host=_host)
        summary = await self._swarm.onboard(120)
        self._listeners = [asyncio.create_task(_obey(each)) for each in self._swarm.devices]
        return summary._asdict()

    def _devices(self) -> list[Device]:
        swarm = self._swarm
        return [] if swarm is None else [each.device for each in swarm.devices if each.device is not None]

    async def send(self, data: str, channel: str = "telemetry") -> int:
        """Let every device send `data` on a channel; how many could."""
        sent = 0
        for device in self._devices():
            try:
                await device.send(data.encode(), channel=channel)
                sent += 1
            except (RefusedError, LocalError):
                pass
        return sent

    async def states(self) -> list[str]:
        """The state of each device."""
        return [device.state for device in self._devices()]

    async def device(self, number: int) -> dict[str, str]:
        """Thumbprint and device_id of a device."""
        device = self._devices()[number]
        return {"thumbprint": device.thumbprint.hex(), "device_id": (device.device_id or b"").hex()}

    async def stuck_source(self) -> str:
        """A device whose simulated quantum source is stuck: what it says, and that it made no key."""
        with tempfile.TemporaryDirectory() as folder:
            host = Host(folder, qrng="simulated:stuck-zero")
            try:
                await create(host, ML_DSA_65, "stuck", self._code, None)
            except EntropyError as error:
                if host.keystore.load(IDENTITY) is not None:
                    return ""
                return error.detail
            finally:
                await host.close()
        return ""

    async def used_token(self, token: str) -> str:
        """A device that presents a token which another device has used: what the hub says."""
        host = _host(9999)
        await create(host, ML_DSA_65, "thief", self._code, token)
        async with Device(host, MqttLink("127.0.0.1", port=self._port)) as device:
            try:
                await asyncio.wait_for(device.onboard(), 30)
            except RefusedError as error:
                return error.detail
        return ""

    async def forged_token(self, token: str) -> str:
        """A device that knows the id of a token and not its secret: its state after some seconds."""
        crypto = Crypto()
        forged = decode_token(crypto, token)._replace(k_tok=bytes(32))
        host = _host(9997)
        await create(host, ML_DSA_65, "forger", self._code, encode_token(crypto, forged))
        async with Device(host, MqttLink("127.0.0.1", port=self._port)) as device:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(device.onboard(), 3)
            return device.state

    async def replay(self, token: str) -> str:
        """A device that sends a record and then the very same bytes again; its device_id."""
        host = _host(9998)
        await create(host, ML_DSA_65, "replayer", self._code, token)
        link = Recorder("127.0.0.1", port=self._port)
        async with Device(host, link) as device:
            await device.onboard()
            await device.send(b"once")
            await device.drain()
            await link.send(1, link.record)
            return (device.device_id or b"").hex()

    async def close(self) -> None:
        """Close every device."""
        for listener in self._listeners:
            listener.cancel()
        if self._swarm is not None:
            await self._swarm.close()


def _host(number: int) -> MemoryHost:
    """A simulated device: flash in memory, a photonic source that is simulated and says so."""
    crypto = Crypto()
    host = MemoryHost(crypto, Clock(), b"")
    host.entropy = Entropy(crypto, host.keystore, open_source("simulated"), unique_id=b"%d" % number)
    return host


async def _obey(simulated: Simulated) -> None:
    """Answer every command."""
    if simulated.device is None:
        return
    try:
        async for message in simulated.device.messages():
            if message.channel == "command":
                await message.reply(b"done")
    except RefusedError:
        return


async def main() -> None:
    """Serve the narrator, then stop."""
    side = FleetSide()
    asks = (
        side.onboard,
        side.send,
        side.states,
        side.device,
        side.stuck_source,
        side.used_token,
        side.forged_token,
        side.replay,
    )
    try:
        await serve(asks)
    finally:
        await side.close()


if __name__ == "__main__":
    asyncio.run(main())
