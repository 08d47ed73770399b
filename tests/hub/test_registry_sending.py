"""What the registry keeps so that a hub seals nothing twice: reserved numbers, rings, commands."""

import asyncio

import pytest
import registry_world as world
from registry_world import (
    NOW,
    Speaker,
    admit,
    onboard,
    ring_of,
)

from handfast.core import hub_session
from handfast.core.errors import LocalError
from handfast.core.key_cache import KeyCache
from handfast.core.topics import TELEMETRY
from handfast_hub.registry.delivery import Delivery, RingOutOfDate
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.traffic import Dispatch


async def test_a_reserved_bound_survives_and_belongs_to_its_epoch(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    next_block = ring._replace(active=ring.active._replace(send_bound=2048))
    assert await registry.reserve(next_block) is None
    assert (await ring_of(registry, ring.device_id)).active.send_next == 2048
    for changes in ({"send_bound": 2048}, {"send_bound": 4096}, {"epoch": 1, "send_bound": 3072}):
        other = ring._replace(active=ring.active._replace(**changes))
        with pytest.raises(RingOutOfDate):
            await registry.reserve(other)
    assert (await ring_of(registry, ring.device_id)).active.send_bound == 2048


async def test_two_rings_of_one_device_never_seal_under_the_same_number(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    cache = KeyCache(world.crypto)
    first = hub_session.seal_record(cache, await ring_of(registry, ring.device_id), 0, b"one")
    second = hub_session.seal_record(cache, await ring_of(registry, ring.device_id), 0, b"two")
    assert (first.epoch, first.piv) == (second.epoch, second.piv)
    outcomes = await asyncio.gather(
        registry.reserve(first.ring), registry.reserve(second.ring), return_exceptions=True
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], RingOutOfDate)


async def test_two_rings_of_one_device_deliver_a_record_once(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    record = Speaker(ring.device_id, 1).record(0, 5, TELEMETRY, b"a")
    rings = [await ring_of(registry, ring.device_id) for _ in range(2)]
    deliveries = [
        Delivery(each, world.opened(each, TELEMETRY, record), TELEMETRY, b"a", None, NOW) for each in rings
    ]
    assert await registry.deliver(deliveries[0]) is None
    with pytest.raises(RingOutOfDate):
        await registry.deliver(deliveries[1])
    assert [reading.data for reading in await registry.operator.readings(0, 9)] == [b"a"]


async def test_a_record_behind_one_that_failed_does_not_push_it_out_of_the_window(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    failed = speaker.record(0, 5, TELEMETRY, b"a")
    behind = speaker.record(0, 6, TELEMETRY, b"b")
    moved = world.opened(ring, TELEMETRY, failed).ring  # and its delivery fails
    with pytest.raises(RingOutOfDate):
        await registry.deliver(
            Delivery(moved, world.opened(moved, TELEMETRY, behind), TELEMETRY, b"b", None, NOW)
        )
    again = await ring_of(registry, ring.device_id)
    for record, data in ((failed, b"a"), (behind, b"b")):
        opened = world.opened(again, TELEMETRY, record)
        assert await registry.deliver(Delivery(again, opened, TELEMETRY, data, None, NOW)) is None
        again = opened.ring
    assert [reading.data for reading in await registry.operator.readings(0, 9)] == [b"a", b"b"]


async def test_a_command_is_sent_once_and_answered_by_the_record_that_it_went_out_in(
    registry: Registry,
) -> None:
    from handfast.core.plaintexts import Response

    await admit(registry, 1)
    ring = await onboard(registry, 1)
    number = await registry.operator.command(NewCommand(ring.device_id, b"open", NOW + 60, NOW))
    (command,) = await registry.waiting_commands(ring.device_id, 0, NOW)
    assert (command.number, command.data) == (number, b"open")
    assert await registry.dispatch(Dispatch(number, 0, 7, b"record", NOW))
    assert not await registry.dispatch(Dispatch(number, 0, 8, b"another", NOW))
    assert await registry.waiting_commands(ring.device_id, 9, NOW) == []
    result = world.opened(ring, 3, Speaker(ring.device_id, 1).record(0, 1, 3, b"answer"))
    response = Response(0, 7, 0, b"opened")
    assert await registry.deliver(Delivery(ring, result, 3, None, response, NOW)) is None
    found = await registry.operator.find_command(number)
    assert (found.state, found.status, found.answer) == ("answered", 0, b"opened")


async def test_a_command_that_waited_too_long_is_never_sent(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    number = await registry.operator.command(NewCommand(ring.device_id, b"open", NOW + 60, NOW))
    assert await registry.waiting_commands(ring.device_id, 0, NOW + 60) == []
    assert not await registry.dispatch(Dispatch(number, 0, 7, b"record", NOW + 60))
    assert await registry.sweep(NOW + 60) == 1
    assert (await registry.operator.find_command(number)).state == "expired"
    with pytest.raises(LocalError, match="onboarded"):
        await registry.operator.command(NewCommand(b"nobodyhe", b"open", NOW + 60, NOW))
