"""Hubs and devices for tests of the registry: real rings and real records, invented handshakes."""

import hashlib
from pathlib import Path
from typing import Any

from handfast.core import hub_session
from handfast.core.credentials import Credential, make_ccs
from handfast.core.hub_session import Ring
from handfast.core.key_cache import KeyCache
from handfast.core.plaintexts import encode_control
from handfast.core.records import RecordKeys
from handfast.core.root_key import record_keys
from handfast.core.topics import CONTROL
from handfast_cpython.crypto import Crypto
from handfast_hub.config import HubConfig, load_config
from handfast_hub.installation import create_hub
from handfast_hub.registry.delivery import Delivery
from handfast_hub.registry.enrolment import Pended, Pending, Question, Refusal
from handfast_hub.registry.registry import Registry

crypto = Crypto()
NOW = 1_800_000_000.0


def new_config(folder: Path, text: str = "") -> HubConfig:
    """The configuration of a hub in `folder`, with more TOML when a test wants it."""
    file = folder / "hub.toml"
    file.write_text(f'name = "test"\nlinger_seconds = 0\n{text}', encoding="utf-8")
    return load_config(file)


def new_hub(folder: Path, text: str = "") -> HubConfig:
    """A hub that was just made."""
    config = new_config(folder, text)
    create_hub(config, crypto)
    return config


def some(name: str, number: int, length: int) -> bytes:
    """Bytes that differ for each name and number."""
    return hashlib.shake_256(f"{name} {number}".encode()).digest(length)


def credential(number: int) -> Credential:
    """The credential of a device; nobody has its private key."""
    return make_ccs(crypto, f"device-{number}", -49, some("public key", number, 1952))


def pending(number: int, *, attempt: int = 1, born: int = 1, **other: Any) -> Pending:
    """A granted handshake of device `number`; `attempt` makes its secrets."""
    epoch = other.pop("epoch", 0)
    key = hub_session.pending_key(some("attempt", attempt, 16), born, -21, epoch, some("secret", attempt, 64))
    values: dict[str, Any] = {
        "credential": credential(number),
        "device_id": some("device id", number, 8),
        "key": key,
        "root_key": some("root key", attempt, 64),
        "have": None,
        "token_id": None,
        "c_r": some("c_r", attempt, 8),
        "message_3_hash": some("message_3", attempt, 32),
        "message_4": some("message_4", attempt, 120),
        "devinfo": None,
        "reason": "a test says so",
        "now": NOW,
    }
    return Pending(**{**values, **other})


def question(number: int, token_id: bytes | None = None, now: float = NOW) -> Question:
    """What the hub asks the registry about device `number`."""
    return Question(credential(number).thumbprint, None, token_id, now)


async def admit(registry: Registry, number: int) -> None:
    """An operator lets device `number` in."""
    await registry.operator.approve(credential(number).thumbprint)


async def granted(registry: Registry, number: int, **other: Any) -> Ring:
    """The ring of a device whose handshake was granted just now."""
    standing = await registry.admission(question(number))
    device_id = standing.device_id or some("device id", number, 8)
    epoch = other.pop("epoch", standing.epoch)
    outcome = await registry.pend(pending(number, device_id=device_id, epoch=epoch, **other))
    assert isinstance(outcome, Pended), outcome
    return await ring_of(registry, device_id)


async def ring_of(registry: Registry, device_id: bytes) -> Ring:
    """The ring as a hub that just started reads it."""
    stored = await registry.load(device_id, NOW)
    assert stored is not None
    return stored.ring


class Speaker:
    """A device that seals records under the key of one attempt."""

    def __init__(self, device_id: bytes, attempt: int) -> None:
        self.device_id = device_id
        self.attempt = attempt
        self.keys = KeyCache(crypto)

    def record(
        self, epoch: int, piv: int, channel: int, plaintext: bytes, *, first_epoch: int | None = None
    ) -> bytes:
        """A record of `epoch`; the key began at `first_epoch`."""
        begin = epoch if first_epoch is None else first_epoch
        key = hub_session.pending_key(
            some("attempt", self.attempt, 16), 1, -21, begin, some("secret", self.attempt, 64)
        )
        pair = record_keys(crypto, -21, self.keys.secret(key, epoch), b"\x00")
        sealer = RecordKeys(crypto, -21, self.device_id, epoch, b"\x00", pair[0], pair[1])
        return sealer.seal(piv, channel, plaintext)


def opened(before: Ring, channel: int, record: bytes, now: float = NOW) -> hub_session.Opened:
    """What the hub makes of a record."""
    return hub_session.open_record(KeyCache(crypto), before, channel, record, now)


async def deliver(
    registry: Registry, before: Ring, channel: int, record: bytes, data: bytes | None = None, now: float = NOW
) -> tuple[Ring, Refusal | None]:
    """Open a record and commit it; the ring after it, and why not."""
    result = opened(before, channel, record, now)
    refusal = await registry.deliver(Delivery(before, result, channel, data, None, now))
    return result.ring, refusal


async def onboard(registry: Registry, number: int, **other: Any) -> Ring:
    """A device that was granted a key and has spoken."""
    attempt = other.get("attempt", number)
    ring = await granted(registry, number, **{**other, "attempt": attempt})
    newest = ring.pendings[-1]
    record = Speaker(ring.device_id, attempt).record(
        newest.epoch, 0, CONTROL, encode_control(0, newest.attempt)
    )
    after, refusal = await deliver(registry, ring, CONTROL, record)
    assert refusal is None, refusal
    return after
