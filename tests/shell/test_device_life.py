"""An enrolled device over time: restarts, a broker that comes and goes, and revocation."""

import asyncio

from odd_links import Counting
from refusal import refused
from world import World, caught, everything, onboarded

from handfast.core.errors import RefusedError
from handfast.settings import Settings
from handfast.testing import LossyLink

# Restarts and the network -----------------------------------------------------------------------


async def test_a_restart_resumes_without_onboarding_again() -> None:
    world, device = await onboarded()
    key, attempts = device.key("logs"), len(world.attempts())
    await device.close()
    for boot in range(3):
        device = world.again(device, b"boot %d" % boot)
        await device.onboard()
        assert device.state == "active"
        await device.send(b"boot %d" % boot)
        await device.heard()
        await world.clock.advance(1.0)
        assert device.key("logs") == key
        await device.close()
    assert world.data() == [b"boot 0", b"boot 1", b"boot 2"]
    assert len(world.attempts()) == attempts
    # Each start that heard the hub stepped into an epoch of its own.
    assert device.stored_session().epoch == 3


async def test_a_device_comes_on_board_when_the_broker_does() -> None:
    world = World()
    await world.start()
    world.broker.connected = False
    device = await world.device()
    task = asyncio.create_task(caught(device.onboard()))
    await world.clock.advance(600.0)
    assert not task.done()
    assert device.state == "trying"
    assert "switched off" in device.trouble
    world.broker.connected = True
    await world.clock.advance(80.0)
    assert task.done()
    assert device.state == "active"
    await device.close()


async def test_attempts_to_reach_a_broker_become_rarer_up_to_a_limit() -> None:
    world = World()
    await world.start()
    counting = Counting()
    device = await world.device(wrap=counting.over, settings=Settings(retry=(1.0, 16.0)))
    await world.onboard(device)
    world.broker.connected = False
    world.broker.drop_all()
    counting.times = []
    await world.clock.advance(300.0)
    pauses = [after - before for before, after in zip(counting.times, counting.times[1:])]
    spread = 1 + device.thumbprint[0] / 1024
    assert [round(pause / spread) for pause in pauses[:6]] == [2, 4, 8, 16, 16, 16]
    world.broker.connected = True
    await world.clock.advance(20.0)
    assert device.state == "active"
    # It has heard the hub since: the next loss is met at once again.
    await device.heard()
    world.command(device, b"x")
    await world.clock.advance(1.0)
    counting.times = []
    world.broker.drop_all()
    await world.clock.advance(1.3)
    assert len(counting.times) == 1
    await device.close()


async def test_a_broker_that_takes_connections_and_drops_them_is_not_hurried() -> None:
    world, device = await onboarded()
    await device.close()
    counting = Counting()
    device = world.again(device, wrap=counting.over)
    world.away = True
    await device.onboard()
    for _ in range(2000):
        await world.clock.advance(0.25)
        world.broker.drop_all()
    assert len(counting.times) < 20
    await device.close()


async def test_records_get_through_a_bad_network() -> None:
    world = World()
    await world.start()
    bad = LossyLink(loss=0.2, duplicate=0.3, reorder=2, delay=(0.0, 0.3), seed=5)
    device = await world.device(wrap=lambda link: bad.over(link, world.clock))
    await world.onboard(device, 300.0)
    for number in range(40):
        await device.send(b"%d" % number)
        await world.clock.advance(0.2)
    await world.clock.advance(10.0)
    received = world.data()
    # A link of QoS 1 does not lose; this one does, and what arrives has come once.
    assert 20 < len(received) < 40
    assert len(set(received)) == len(received)
    await device.close()


async def test_the_hub_may_restart_at_any_time() -> None:
    world, device = await onboarded()
    await device.send(b"before")
    await world.clock.advance(1.0)
    world.hub.restart(world.clock.now())
    await device.send(b"after")
    world.command(device, b"hello")
    await world.clock.advance(1.0)
    assert world.data() == [b"before", b"after"]
    assert (await device.next_message()).data == b"hello"
    await device.close()


# Revocation -------------------------------------------------------------------------------------


async def test_a_revoked_device_stops_says_why_and_stays_refused() -> None:
    world, device = await onboarded()
    await device.send(b"before")
    world.command(device, b"before")
    await world.clock.advance(1.0)
    message = await device.next_message()
    reading = asyncio.create_task(caught(everything(device)))
    world.publish(device, world.hub.revoke(world.known(device), "stolen"))
    await world.clock.advance(1.0)
    assert device.state == "refused"
    error = await reading
    assert isinstance(error, RefusedError)
    assert "stolen" in error.detail
    for call in (device.send(b"x"), everything(device), message.reply(b"y")):
        assert isinstance(await caught(call), RefusedError)
    refused(RefusedError, device.key, "logs")
    await device.close()
    seen = len(world.seen)
    device = world.again(device)
    assert isinstance(await world.failure(device, 100.0), RefusedError)
    assert len(world.seen) == seen
    assert world.data() == [b"before"]
    # Nothing of the old key is left in the flash.
    assert device.stored_session().root_key == device.stored_session().secret == b""
    await device.close()


async def test_a_device_that_was_away_learns_of_its_revocation_when_it_speaks() -> None:
    world, device = await onboarded()
    await device.close()
    world.hub.revoke(world.known(device), "lost")
    device = world.again(device)
    await device.onboard()
    await device.send(b"does anybody hear me?")
    assert isinstance(await caught(_after(world, device.heard())), RefusedError)
    assert world.data() == []
    await device.close()


async def test_a_revoked_device_enrols_again_when_a_person_asks_and_the_hub_agrees() -> None:
    world, device = await onboarded()
    world.publish(device, world.hub.revoke(world.known(device), "lost"))
    await world.clock.advance(1.0)
    old = device.stored_session().attempt
    assert isinstance(await world.failure(device, retry=True), RefusedError)
    world.known(device).state = "admitted"
    await world.onboard(device, retry=True)
    assert device.state == "active"
    assert device.stored_session().attempt != old
    await device.close()
    # Also after a restart nothing says "refused" any more.
    device = world.again(device)
    await world.onboard(device)
    await device.close()


async def _after(world: World, work: object) -> None:
    """`work`, while time passes."""
    task = asyncio.create_task(caught(work))
    await world.clock.advance(10.0)
    error = await task
    if error is not None:
        raise error
