"""The test kit that users get: its clock, its broker, its bad network and its ports keep their word."""

import asyncio

from host_crypto import crypto
from refusal import refused
from world import caught

from handfast.core import topics
from handfast.core.constants import HEALTH_OK, SOURCE_SIMULATED
from handfast.core.errors import LinkClosed, LocalError
from handfast.testing import (
    FakeClock,
    LossyLink,
    MemoryBroker,
    MemoryHost,
    MemoryKeystore,
    MemoryLink,
    SeededEntropy,
)
from handfast.testing.memory import matches

HUB_KID = b"hub kid "
CHAN = topics.onboarding(HUB_KID, b"fourteen bytes")
DEVICE = topics.enrolled(HUB_KID, b"device 1")

# FakeClock -------------------------------------------------------------------------------------


async def test_time_passes_when_it_is_told_to_and_wakes_sleepers_in_their_order() -> None:
    clock = FakeClock(100.0)
    woken = []

    async def sleeper(seconds: float, again: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now()))
        await clock.sleep(again)
        woken.append((seconds + again, clock.now()))

    for seconds in (3.0, 1.0, 2.0):
        asyncio.create_task(sleeper(seconds, 0.25))  # noqa: RUF006
    await clock.settle()
    assert (clock.now(), woken) == (100.0, [])
    await clock.advance(2.1)
    assert clock.now() == 102.1
    assert woken == [(1.0, 101.0), (1.25, 101.25), (2.0, 102.0)]
    await clock.advance(10.0)
    assert woken[3:] == [(2.25, 102.25), (3.0, 103.0), (3.25, 103.25)]
    await clock.sleep(0.0)
    await clock.sleep(-1.0)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5.0))
    await clock.settle()
    task.cancel()
    await clock.settle()
    assert clock._sleepers == []
    await clock.advance(10.0)


async def test_time_waits_for_whoever_is_busy() -> None:
    clock = FakeClock()
    left = [3]

    def busy() -> bool:
        left[0] -= 1
        return left[0] > 0

    clock.busy.append(busy)
    await clock.advance(1.0)
    assert left[0] <= 0


# MemoryBroker and MemoryLink --------------------------------------------------------------------


async def test_a_device_reaches_the_hub_and_the_hub_that_device_alone() -> None:
    broker, seen = await _broker()
    link, other = MemoryLink(broker), MemoryLink(broker)
    await link.connect(CHAN)
    await other.connect(topics.onboarding(HUB_KID, b"another chan  "))
    await link.send(None, b"up")
    assert seen == [(CHAN.up, b"up")]
    broker.publish(CHAN.down, b"down")
    assert await link.receive() == (None, b"down")
    assert other._items == []
    # An enrolled device hears channels, and what is not a channel of its own it does not hear.
    await link.connect(DEVICE)
    await link.send(topics.ALARM, b"fire")
    assert seen[-1] == (DEVICE.up + "/5", b"fire")
    broker.publish(CHAN.down, b"too late")
    broker.publish(DEVICE.down + "/2", b"command")
    assert await link.receive() == (topics.COMMAND, b"command")
    assert link._items == []


async def test_the_same_client_id_throws_the_older_client_off() -> None:
    broker, _ = await _broker()
    older, newer = MemoryLink(broker), MemoryLink(broker)
    await older.connect(DEVICE)
    task = asyncio.create_task(caught(older.receive()))
    await asyncio.sleep(0)
    await newer.connect(DEVICE)
    assert isinstance(await task, LinkClosed)
    broker.publish(DEVICE.down + "/1", b"x")
    assert await newer.receive() == (1, b"x")


async def test_a_broker_that_is_switched_off_tells_everybody() -> None:
    broker, seen = await _broker()
    link = MemoryLink(broker)
    await link.connect(CHAN)
    waiting = asyncio.create_task(caught(link.receive()))
    await asyncio.sleep(0)
    broker.connected = False
    assert isinstance(await waiting, LinkClosed)
    for call in (link.send(None, b"x"), link.receive(), link.connect(CHAN)):
        assert isinstance(await caught(call), LinkClosed)
    refused(LinkClosed, broker.publish, CHAN.down, b"x")
    broker.connected = True
    await link.connect(CHAN)
    await link.send(None, b"x")
    assert seen == [(CHAN.up, b"x")]
    for drop in (broker.drop_all, lambda: broker.disconnect(CHAN.client_id)):
        await link.connect(CHAN)
        drop()
        assert isinstance(await caught(link.receive()), LinkClosed)
    broker.disconnect("nobody")


async def test_a_link_that_is_closed_is_closed_and_may_be_closed_again() -> None:
    broker, _ = await _broker()
    link = MemoryLink(broker)
    assert isinstance(await caught(link.send(None, b"x")), LinkClosed)
    await link.close()
    await link.connect(CHAN)
    await link.close()
    await link.close()
    assert isinstance(await caught(link.receive()), LinkClosed)
    assert broker._links == {}


async def test_what_no_hub_listens_to_is_gone_and_what_it_holds_is_waited_for() -> None:
    clock = FakeClock()
    broker = MemoryBroker(clock)
    link = MemoryLink(broker)
    await link.connect(CHAN)
    await link.send(None, b"nobody hears it")
    held = []
    await broker.start(topics.hub_subscriptions(HUB_KID), lambda topic, payload, done: held.append(done))
    await link.send(None, b"in work")
    assert broker.waiting == 1
    assert clock.busy[0]()
    held[0]()
    held[0]()
    assert broker.waiting == 0

    def fails(topic: str, payload: bytes, done: object) -> None:
        raise LocalError("a bug in the hub")

    await broker.start(topics.hub_subscriptions(HUB_KID), fails)
    assert isinstance(await caught(link.send(None, b"x")), LocalError)
    assert broker.waiting == 0
    await broker.close()
    await link.send(None, b"nobody")
    assert broker.carried == 4


async def test_filters_match_level_by_level() -> None:
    for pattern, topic, expected in (
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a//c", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a/b/c", False),
        ("+/+/+", "a/b/c", True),
        ("a/b/c", "a/b", False),
    ):
        assert matches(pattern, topic) == expected


# LossyLink --------------------------------------------------------------------------------------


async def test_a_perfect_lossy_link_changes_nothing() -> None:
    link, seen, broker, _ = await _lossy()
    for number in range(20):
        await link.send(None, b"%d" % number)
        broker.publish(CHAN.down, b"down %d" % number)
    assert [payload for _, payload in seen] == [b"%d" % number for number in range(20)]
    for number in range(20):
        assert await link.receive() == (None, b"down %d" % number)
    await link.close()


async def test_loss_and_duplication_are_about_what_they_are_called() -> None:
    link, seen, _, clock = await _lossy(loss=0.25, duplicate=0.5, seed=3)
    for number in range(400):
        await link.send(None, b"%d" % number)
    await clock.advance(5.0)
    # 1.5 copies of each, three quarters of which get through.
    assert 400 < len(seen) < 500
    assert 320 < len(set(seen)) < 390
    await link.close()


async def test_delay_and_reordering_keep_everything_and_change_the_order() -> None:
    link, seen, broker, clock = await _lossy(reorder=3, delay=(0.0, 0.2), seed=2)
    sent = [b"%d" % number for number in range(50)]
    for payload in sent:
        await link.send(None, payload)
        broker.publish(CHAN.down, payload)
        await clock.advance(0.01)
    await clock.advance(5.0)
    up = [payload for _, payload in seen]
    # No comprehension can await on MicroPython.
    down = []
    while len(down) < len(sent):
        down.append((await link.receive())[1])
    for received in (up, down):
        assert received != sent
        assert sorted(received) == sorted(sent)
    await link.close()


async def test_the_same_seed_has_the_same_fate_and_each_device_its_own() -> None:
    fates = []
    for seed in (1, 1, 2):
        clock = FakeClock()
        conditions = LossyLink(loss=0.5, duplicate=0.3, reorder=2, delay=(0.0, 1.0), seed=seed)
        for _ in range(2):
            link = conditions.over(MemoryLink(MemoryBroker(clock)), clock)
            fates.append([link._fate() for _ in range(50)])
    assert fates[0] == fates[2]
    assert fates[1] == fates[3]
    assert fates[0] != fates[1]
    assert fates[0] != fates[4]


async def test_a_lossy_link_breaks_when_the_link_within_does() -> None:
    link, _, broker, clock = await _lossy(delay=(0.1, 0.2))
    waiting = asyncio.create_task(caught(link.receive()))
    await clock.settle()
    await link.send(None, b"on its way")
    broker.connected = False
    await clock.advance(1.0)
    assert isinstance(await waiting, LinkClosed)
    broker.connected = True
    await link.connect(CHAN)
    broker.publish(CHAN.down, b"again")
    await clock.advance(1.0)
    assert await link.receive() == (None, b"again")
    await link.close()
    assert isinstance(await caught(link.receive()), LinkClosed)
    await clock.settle()
    assert clock._sleepers == []


async def test_a_description_of_a_network_is_no_link() -> None:
    bare = LossyLink(loss=0.5)
    for call in (bare.connect(CHAN), bare.close()):
        assert isinstance(await caught(call), LocalError)
    assert isinstance(await caught(bare.receive()), LinkClosed)


# The ports --------------------------------------------------------------------------------------


async def test_seeded_entropy_is_a_function_of_its_seed_and_says_what_it_is() -> None:
    first, second, other = [SeededEntropy(crypto, seed) for seed in (b"1", b"1", b"2")]
    await first.prepare(6)
    draws = [first.random(32) for _ in range(6)]
    assert draws == [second.random(32) for _ in range(6)]
    assert len(set(draws)) == 6
    assert other.random(32) not in draws
    report = first.report()
    assert (report[0], report[3], report[5]) == (SOURCE_SIMULATED, HEALTH_OK, 6 * 64)


async def test_a_keystore_in_memory_survives_its_owner() -> None:
    store = MemoryKeystore()
    store.save("name", bytearray(b"value"))
    store.close()
    again = MemoryKeystore(store.values)
    assert again.load("name") == b"value"
    again.erase("name")
    again.erase("name")
    assert store.load("name") is None
    host = MemoryHost(crypto, FakeClock(), b"1")
    assert (host.keystore.load("identity"), host.crypto) == (None, crypto)


async def _broker() -> "tuple[MemoryBroker, list[tuple[str, bytes]]]":
    broker = MemoryBroker()
    seen: "list[tuple[str, bytes]]" = []

    def on_publish(topic: str, payload: bytes, acknowledge: object) -> None:
        seen.append((topic, payload))
        acknowledge()

    await broker.start(topics.hub_subscriptions(HUB_KID), on_publish)
    return broker, seen


async def _lossy(
    **conditions: object,
) -> "tuple[LossyLink, list[tuple[str, bytes]], MemoryBroker, FakeClock]":
    broker, seen = await _broker()
    clock = FakeClock()
    link = LossyLink(**conditions).over(MemoryLink(broker), clock)
    await link.connect(CHAN)
    return link, seen, broker, clock
