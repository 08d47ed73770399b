"""Records in the registry on a real database: kept once, with their windows, and in no epoch before."""

import asyncio
from pathlib import Path

import pytest
import registry_world as world
from registry_world import (
    NOW,
    Speaker,
    admit,
    deliver,
    granted,
    onboard,
    pending,
    question,
    ring_of,
)

from handfast.core.topics import CONTROL, TELEMETRY
from handfast_hub.registry.delivery import Delivery
from handfast_hub.registry.enrolment import Pended
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import ADMITTED, JOINING


async def test_a_pending_by_token_is_joining_until_it_speaks(registry: Registry) -> None:
    await admit(registry, 1)
    await granted(registry, 1)
    assert (await registry.admission(question(1))).state == ADMITTED
    assert await registry.operator.devices(JOINING) == []


async def test_an_epoch_step_is_kept_with_the_receive_key_of_the_epoch_before(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    ring, _ = await deliver(
        registry, ring, CONTROL, speaker.record(1, 0, CONTROL, b"\x81\x03", first_epoch=0)
    )
    assert ring.active.epoch == 1
    loaded = await ring_of(registry, ring.device_id)
    assert (loaded.active.epoch, loaded.active.secret) == (1, ring.active.secret)
    late = speaker.record(0, 1, TELEMETRY, b"late")
    ring, refusal = await deliver(registry, loaded, TELEMETRY, late, b"late")
    assert refusal is None
    # Its window is kept too: once is enough.
    loaded = await ring_of(registry, ring.device_id)
    with pytest.raises(Exception, match="accepted before"):
        world.opened(loaded, TELEMETRY, late)
    # After its time it is erased by the next record.
    later = NOW + 61
    ring, _ = await deliver(
        registry, ring, TELEMETRY, speaker.record(1, 1, TELEMETRY, b"x", first_epoch=0), now=later
    )
    assert (await ring_of(registry, ring.device_id)).active.previous is None


async def test_a_window_is_on_the_disk_before_its_record_is_delivered(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    for piv in (5, 3, 9):
        ring, _ = await deliver(registry, ring, TELEMETRY, speaker.record(0, piv, TELEMETRY, b"x"), b"x")
    loaded = await ring_of(registry, ring.device_id)
    assert loaded.active.window == ring.active.window
    for piv in (0, 5, 3, 9):
        with pytest.raises(Exception, match="accepted before"):
            world.opened(loaded, TELEMETRY, speaker.record(0, piv, TELEMETRY, b"x"))


async def test_what_was_kept_for_the_first_record_is_not_read_after_it(registry: Registry) -> None:
    await admit(registry, 1)
    standing = await registry.admission(question(1))
    assert standing.device_id is not None
    outcome = await registry.pend(pending(1, device_id=standing.device_id))
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None
    ring = outcome.stored.ring
    record = Speaker(ring.device_id, 1).record(0, 0, TELEMETRY, b"x")
    after, _ = await deliver(registry, ring, TELEMETRY, record)
    assert (await ring_of(registry, ring.device_id)).active.window == after.active.window


async def test_several_records_of_one_device_share_a_group(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await granted(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    deliveries = []
    for epoch, piv in ((0, 0), (0, 1), (1, 0), (1, 1)):
        result = world.opened(ring, TELEMETRY, speaker.record(epoch, piv, TELEMETRY, b"x", first_epoch=0))
        deliveries.append(Delivery(ring, result, TELEMETRY, b"%d %d" % (epoch, piv), None, NOW))
        ring = result.ring
    assert await asyncio.gather(*(registry.deliver(item) for item in deliveries)) == [None] * 4
    loaded = await ring_of(registry, ring.device_id)
    assert loaded.active.window == ring.active.window
    assert loaded.active.previous is not None
    assert [reading.data for reading in await registry.operator.readings(0, 9)] == [
        b"0 0",
        b"0 1",
        b"1 0",
        b"1 1",
    ]


async def test_old_readings_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handfast_hub.registry import delivery

    monkeypatch.setattr(delivery, "_TRIM_EVERY", 4)
    registry = await Registry.open(world.new_hub(tmp_path, "[retention]\nreadings = 5\n"), world.crypto)
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    for piv in range(1, 13):
        ring, _ = await deliver(
            registry, ring, TELEMETRY, speaker.record(0, piv, TELEMETRY, b"x"), b"%d" % piv
        )
    kept = [reading.data for reading in await registry.operator.readings(0, 99)]
    await registry.close()
    assert kept == [b"%d" % piv for piv in range(8, 13)]
