"""Which calls of the Crypto port an enrolment makes at the hub, with their arguments.

A real hub onboards real devices over a broker in memory, one after the other, so that the calls of
one enrolment stand together.
"""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from handfast import Device
from handfast.core.codes import encode_hub_code, encode_token
from handfast.core.suites import ML_DSA_65
from handfast.identity import create
from handfast.testing import MemoryBroker, MemoryHost, MemoryLink
from handfast_cpython.clock import Clock
from handfast_cpython.crypto import Crypto
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.registry.tokens import NewTokens
from handfast_hub.service import configure_logs

# Name of the port's method and its arguments.
Call = tuple[str, tuple[Any, ...]]

_METHODS = ("hash", "hmac", "kmac256", "equal", "seal", "open", "encapsulate", "sign", "verify")


class Enrolment(NamedTuple):
    """The calls from message_1 to message_4, and those of fin and ack."""

    join: list[Call]
    confirm: list[Call]


class RecordingCrypto(Crypto):
    """A Crypto that keeps its calls in `calls`."""

    def __init__(self, back_end: str) -> None:
        super().__init__(back_end)
        self.calls: list[Call] = []
        for name in _METHODS:
            setattr(self, name, self._recording(name, getattr(self, name)))

    def _recording(self, name: str, method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return method(*arguments)

        return call


class Marking(MemoryBroker):
    """A broker that notes how many calls had been made when a payload left the hub."""

    def __init__(self, crypto: RecordingCrypto) -> None:
        super().__init__()
        self.marks: list[int] = []
        self._crypto = crypto

    def publish(self, topic: str, payload: bytes) -> None:
        self.marks.append(len(self._crypto.calls))
        super().publish(topic, payload)

    def disconnect(self, client_id: str) -> None:
        """Nobody is revoked here."""


async def record(back_end: str, devices: int) -> list[Enrolment]:
    """The calls of `devices` enrolments, each by a single token, the hub's credential by value."""
    crypto, plain, clock = RecordingCrypto(back_end), Crypto(back_end), Clock()
    enrolments = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hub.toml"
        file.write_text('name = "bench"\n[log]\nlevel = "warning"\n', encoding="utf-8")
        config = load_config(file)
        configure_logs(config)
        create_hub(config)
        broker = Marking(crypto)
        async with Hub(config, transport=broker, crypto=crypto) as hub:
            now = time.time()
            tokens = await hub.operator.mint(NewTokens("bench", devices, False, 1, now + 3600, now))
            code = encode_hub_code(plain, hub.hub_id)
            for number, token in enumerate(tokens):
                host = MemoryHost(plain, clock, b"bench %d" % number)
                await create(host, ML_DSA_65, f"device {number}", code, encode_token(plain, token))
                crypto.calls.clear()
                broker.marks.clear()
                async with Device(host, MemoryLink(broker)) as device:
                    await device.onboard()
                # message_2, message_4, ack.
                _, joined, confirmed = broker.marks
                enrolments.append(Enrolment(crypto.calls[:joined], crypto.calls[joined:confirmed]))
    return enrolments
