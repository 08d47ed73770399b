"""A copy of the registry while it is written, and the way back from one."""

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import pytest
import registry_world as world
from registry_world import Speaker, admit, credential, deliver, onboard, ring_of

from handfast.core import constants
from handfast.core.errors import KeystoreError
from handfast.core.topics import TELEMETRY
from handfast_hub.config import HubConfig
from handfast_hub.registry.backup import backup, restore
from handfast_hub.registry.engine import RegistryError, RegistryLocked
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import ONBOARDED, REVOKED
from handfast_hub.vault import create_master_key


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names_of(folder: Path, pattern: str) -> "list[str]":
    return [path.name for path in folder.glob(pattern)]


def lose_the_registry(config: HubConfig) -> None:
    Path(config.database).unlink()


async def one_onboarded_device(config: HubConfig) -> bytes:
    registry = await Registry.open(config, world.crypto)
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    await registry.close()
    device_id: bytes = ring.device_id
    return device_id


async def test_a_backup_is_one_moment_while_the_hub_writes(config: HubConfig, tmp_path: Path) -> None:
    registry = await Registry.open(config, world.crypto)
    await registry.serve()
    writes = [asyncio.ensure_future(admit(registry, number)) for number in range(200)]
    await writes[10]
    target = tmp_path / "copy"
    assert await asyncio.to_thread(backup, config, target) > 0
    await asyncio.gather(*writes)
    await registry.close()
    copy = sqlite3.connect(target)
    devices = copy.execute("SELECT count(*) FROM devices").fetchone()[0]
    events = copy.execute("SELECT count(*) FROM events").fetchone()[0]
    copy.close()
    assert 10 < devices == events <= 200
    assert mode_of(target) == 0o600
    assert names_of(tmp_path, "copy*") == ["copy"]


def test_a_backup_overwrites_nothing(config: HubConfig, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_text("dear")
    with pytest.raises(RegistryError, match="exists already"):
        backup(config, target)
    assert target.read_text() == "dear"
    with pytest.raises(RegistryError, match="cannot create"):
        backup(config, tmp_path / "nowhere" / "copy")


def test_the_master_key_is_not_in_a_backup(config: HubConfig, tmp_path: Path) -> None:
    backup(config, tmp_path / "copy")
    secret = bytes.fromhex(config.master_key.read_text().split()[1])
    content = (tmp_path / "copy").read_bytes()
    assert secret not in content
    assert secret.hex().encode() not in content


async def test_after_a_restore_nothing_is_sent_twice_and_lost_epochs_are_looked_for(
    config: HubConfig, tmp_path: Path
) -> None:
    device_id = await one_onboarded_device(config)
    backup(config, tmp_path / "copy")
    # Meanwhile the device went on, and the hub sent.
    registry = await Registry.open(config, world.crypto)
    ring = await ring_of(registry, device_id)
    used = 5 * constants.SEQUENCE_BLOCK
    for bound in range(2 * constants.SEQUENCE_BLOCK, used + 1, constants.SEQUENCE_BLOCK):
        assert await registry.reserve(ring._replace(active=ring.active._replace(send_bound=bound))) is None
    await registry.close()
    done = restore(config, tmp_path / "copy", world.crypto)
    assert (done.devices, done.revocations) == (1, 0)
    assert done.set_aside is not None
    assert names_of(tmp_path, "hub.sqlite.before-*") == [done.set_aside.name]
    registry = await Registry.open(config, world.crypto)
    ring = await ring_of(registry, device_id)
    assert ring.lookahead == constants.RESTORED_EPOCHS_AHEAD
    assert ring.active.send_next >= used + constants.RESTORED_BOUND_STEP
    assert ring.active.send_next < 1 << 40
    # The device is ten epochs ahead by now; it is found, and the look-ahead ends.
    record = Speaker(device_id, 1).record(10, 3, TELEMETRY, b"here", first_epoch=0)
    after, refusal = await deliver(registry, ring, TELEMETRY, record, b"here")
    assert refusal is None
    loaded = await ring_of(registry, device_id)
    assert (loaded.active.epoch, loaded.lookahead) == (10, 1)
    # In the new epoch the hub begins above everything, too.
    assert loaded.active.send_base == after.active.send_base == ring.active.send_base
    await registry.close()


async def test_after_a_restore_no_command_is_sent_that_may_have_been_sent_before(
    config: HubConfig, tmp_path: Path
) -> None:
    device_id = await one_onboarded_device(config)
    registry = await Registry.open(config, world.crypto)
    now = time.time()
    number = await registry.operator.command(NewCommand(device_id, b"open", now + 60, now))
    await registry.close()
    backup(config, tmp_path / "copy")
    restore(config, tmp_path / "copy", world.crypto)
    registry = await Registry.open(config, world.crypto)
    assert await registry.waiting_commands(device_id, 0, now) == []
    assert (await registry.operator.find_command(number)).state == "unanswered"
    await registry.close()


async def test_a_second_restore_of_one_copy_begins_above_the_first(
    config: HubConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_id = await one_onboarded_device(config)
    backup(config, tmp_path / "copy")
    begins = []
    # The last time the clock was set back by years.
    for later in (0, 3600, -100_000_000):
        now = world.NOW + 1000
        monkeypatch.setattr(
            "handfast_hub.registry.backup.time.time", lambda now=now, later=later: now + later
        )
        restore(config, tmp_path / "copy", world.crypto)
        monkeypatch.undo()
        registry = await Registry.open(config, world.crypto)
        begins.append((await ring_of(registry, device_id)).active.send_next)
        await registry.close()
    assert begins[1] - begins[0] >= 3600 * 100
    assert begins[2] - begins[1] >= 3600 * 100


async def test_who_was_revoked_after_the_backup_stays_revoked(config: HubConfig, tmp_path: Path) -> None:
    device_id = await one_onboarded_device(config)
    backup(config, tmp_path / "copy")
    registry = await Registry.open(config, world.crypto)
    await registry.operator.revoke(credential(1).thumbprint, "stolen")
    await registry.close()
    done = restore(config, tmp_path / "copy", world.crypto)
    assert (done.devices, done.revocations) == (0, 1)
    registry = await Registry.open(config, world.crypto)
    stored = await registry.load(device_id, 0.0)
    assert stored is not None
    assert (stored.state, stored.ring.active) == (REVOKED, None)
    assert [event.kind for event in await registry.operator.events(None, 1)] == ["restored"]
    await registry.close()


async def test_a_registry_that_is_damaged_or_gone_is_replaced(config: HubConfig, tmp_path: Path) -> None:
    await one_onboarded_device(config)
    backup(config, tmp_path / "copy")
    os.truncate(config.database, 3000)
    restore(config, tmp_path / "copy", world.crypto)
    lose_the_registry(config)
    restore(config, tmp_path / "copy", world.crypto)
    registry = await Registry.open(config, world.crypto)
    assert len(await registry.operator.devices(ONBOARDED)) == 1
    await registry.close()


async def test_a_registry_that_is_served_is_not_replaced(config: HubConfig, tmp_path: Path) -> None:
    backup(config, tmp_path / "copy")
    registry = await Registry.open(config, world.crypto)
    await registry.serve()
    with pytest.raises(RegistryLocked, match="stop it"):
        restore(config, tmp_path / "copy", world.crypto)
    await registry.close()


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_what_is_no_backup_changes_nothing(config: HubConfig, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "copy").write_bytes(content)
    before = Path(config.database).read_bytes()
    for source in (tmp_path / "copy", tmp_path / "missing"):
        with pytest.raises(RegistryError):
            restore(config, source, world.crypto)
    assert Path(config.database).read_bytes() == before
    assert list(tmp_path.glob("*.restoring*")) == []
    assert list(tmp_path.glob("*.before-*")) == []


def test_a_backup_of_another_hub_is_refused_by_its_master_key(config: HubConfig, tmp_path: Path) -> None:
    backup(config, tmp_path / "copy")
    before = Path(config.database).read_bytes()
    config.master_key.unlink()
    create_master_key(config.master_key)
    with pytest.raises(KeystoreError, match="does not open"):
        restore(config, tmp_path / "copy", world.crypto)
    assert Path(config.database).read_bytes() == before
    assert list(tmp_path.glob("*.restoring*")) == []
