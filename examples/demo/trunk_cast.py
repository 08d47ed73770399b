"""Who plays in the second act, what they have said so far, and what became of it."""

import asyncio
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

from ports import free_ports
from wire import Child

from handfast_hub.trunk.trunks import encode_secret

DEVICES = 5
# What a device sends in one round, and as which class it crosses.
CHANNELS = {"alarm": "secret", "telemetry": "normal", "bulk": "bulk"}
# Seconds between two rounds.
ROUND = 1.0


class Cast:
    """Two hubs, the devices of one, and the QKD installation: a process each."""

    def __init__(self, folder: Path, *, qkd: Child, berlin: Child, vienna: Child, fleet: Child) -> None:
        self.folder = folder
        self.qkd, self.berlin, self.vienna, self.fleet = qkd, berlin, vienna, fleet
        self.sent: Counter[str] = Counter()
        self._round = 0
        self._said = asyncio.Condition()

    async def start(self) -> int:
        """Pair the hubs, start them and onboard the devices; how many are."""
        await self.qkd.call("apply")
        hubs = {"berlin": self.berlin, "vienna": self.vienna}
        codes = {name: await hub.call("code") for name, hub in hubs.items()}
        (self.folder / "pairing").write_text(encode_secret(secrets.token_bytes(32)))
        [port] = free_ports(1)
        roads = {"berlin": f"[bridge]\nport = {port}\n", "vienna": ""}
        dials = {"berlin": "", "vienna": f'connect = "127.0.0.1:{port}"\n'}
        started = {}
        for (name, hub), peer in zip(hubs.items(), ("vienna", "berlin"), strict=True):
            lines = (
                f'{roads[name]}[trunk.{peer}]\nhub = "{codes[peer]}"\nsecret_file = "../pairing"\n'
                f"rekey_seconds = 2\ncommands = true\n{dials[name]}"
            )
            kme = await self.qkd.call("settings", name=name, peer=peer)
            started[name] = await hub.call("join", lines=lines + kme)
        tokens = await self.berlin.call("tokens", count=DEVICES)
        summary = await self.fleet.call("onboard", tokens=tokens, **started["berlin"])
        return int(summary["onboarded"])

    # What devices say -------------------------------------------------------------------------

    async def talk(self) -> None:
        """Let every device send one reading of each class, round after round."""
        while True:
            async with self._said:
                self._round += 1
                for channel in CHANNELS:
                    data = f"{channel} {self._round}"
                    self.sent[channel] += await self.fleet.call("send", data=data, channel=channel)
                self._said.notify_all()
            await asyncio.sleep(ROUND)

    async def next_round(self) -> int:
        """The number of a round that begins after this call, once it has been said."""
        async with self._said:
            await self._said.wait()
            return self._round

    async def hush(self) -> None:
        """Nothing new is said from here on, and all that was said is counted."""
        await self._said.acquire()

    # How the link and the trunk are -----------------------------------------------------------

    async def up(self) -> bool:
        """Whether both hubs hear each other."""
        return all([(await hub.call("trunk"))["up"] for hub in (self.berlin, self.vienna)])

    async def secret_open(self) -> bool:
        """Whether Berlin may send what is secret."""
        return bool((await self.berlin.call("trunk"))["secret_open"])

    async def under_qkd(self) -> bool | None:
        """Whether a quantum key is in the epoch in use; None before the first one."""
        epoch = (await self.berlin.call("trunk"))["epochs"]["hybrid"]
        return None if epoch is None else bool(epoch["qkd"])

    async def level(self) -> str | None:
        """How the link judges itself: clear, warn, alarm or abort."""
        level: str | None = (await self.qkd.call("look"))["alarm"]
        return level

    async def order(self) -> str:
        """Vienna commands the first device of Berlin; what the device answers."""
        device_id = (await self.fleet.call("device", number=0))["device_id"]
        answer: str = await self.vienna.call("order", trunk="berlin", device_id=device_id, data="blink")
        return answer

    async def line(self) -> str:
        """One line about everything: the link, and of each class how many readings came of those sent."""
        link, arrivals = await self.qkd.call("look"), await self._arrivals()
        came = Counter(each["channel"] for each in arrivals)
        degraded = sum(each["degraded"] for each in arrivals if each["channel"] == "telemetry")
        qber = (
            "no light  " if link["qber_percent"] is None else f"{link['qber_percent']:4.1f}% {link['alarm']}"
        )
        secret, normal, bulk = (f"{came[channel]}/{self.sent[channel]}" for channel in CHANNELS)
        return f"QBER {qber:11} secret {secret}  normal {normal} ({degraded} degraded)  bulk {bulk}"

    # What became of it ------------------------------------------------------------------------

    async def _arrivals(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.vienna.call("arrivals")
        return found

    async def fate(self, number: int) -> str:
        """What became of a round: which class waits, whether telemetry is degraded, or that all go."""
        arrivals = await self._arrivals()
        words = []
        for channel, kind in CHANNELS.items():
            came = [each["degraded"] for each in arrivals if each["data"] == f"{channel} {number}"]
            if len(came) < DEVICES:
                words.append(f"{kind} waits")
            elif channel == "telemetry" and any(came):
                words.append(f"{kind} degraded")
        return ", ".join(words) or "all three go"

    async def missing(self) -> int:
        """How many readings were sent and have not come."""
        came = {(each["device_id"], each["data"]) for each in await self._arrivals()}
        return self.sent.total() - len(came)

    async def repeated(self) -> int:
        """How many came a second time."""
        arrivals = await self._arrivals()
        return len(arrivals) - len({(each["device_id"], each["data"]) for each in arrivals})

    async def betrayed(self) -> int:
        """How many secret readings crossed without a quantum key."""
        return sum(each["degraded"] for each in await self._arrivals() if each["class"] == "secret")

    async def bulk_keys(self) -> str:
        """Whether a quantum key was spent on the lane of bulk traffic."""
        return "some" if (await self.berlin.call("trunk"))["epochs"]["bulk"]["qkd"] else "none"
