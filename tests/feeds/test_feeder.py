"""One feed: what it hands on, when it tries again, when it closes; its consumer says what it is asked."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator

import pytest
from two_hubs import until

from handfast.core.base32 import b32encode
from handfast_cpython import Crypto
from handfast_hub.feeds import feeder as feeder_module
from handfast_hub.feeds import worker as worker_module
from handfast_hub.feeds.feeder import Feeder, FeedError
from handfast_hub.feeds.feeds import Feeds
from handfast_hub.feeds.keys import FeedKey, derive_key
from handfast_hub.feeds.settings import WireguardFeed
from handfast_hub.feeds.worker import Worker
from handfast_hub.metrics import FEED_STATES, METRICS
from handfast_hub.trunk.events import Established, Suspect

EXPORTER = bytes(range(48))
HUB_IDS = (bytes(32), bytes([1]) * 32)
PEER = "A" * 43 + "="


class Listed:
    """A consumer that writes down what it is asked, and fails as often as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.asked: list[str] = []
        self._failures = list(failures)
        self._news = asyncio.Event()

    async def look(self) -> None:
        raise AssertionError("a feeder prepares")

    async def prepare(self) -> None:
        self._note("prepare")

    async def put(self, key: FeedKey) -> None:
        self._note(f"put {key.epoch}")

    async def shut(self) -> None:
        self._note("shut")

    def _note(self, what: str) -> None:
        self.asked.append(what)
        self._news.set()
        if self._failures and what != "prepare":
            raise self._failures.pop(0)

    def fail(self, *failures: Exception) -> None:
        self._failures += failures

    async def until(self, *asked: str) -> None:
        async with asyncio.timeout(60):
            while self.asked != list(asked):
                self._news.clear()
                await self._news.wait()


def key(epoch: int) -> FeedKey:
    return derive_key(Crypto(), EXPORTER, "office", "wireguard", HUB_IDS, epoch)


def settings(without_qkd: str = "keep") -> WireguardFeed:
    return WireguardFeed(
        trunk="vienna", kind="wireguard", interface="wg0", peer=PEER, without_qkd=without_qkd
    )  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def feeding(
    consumer: Listed, without_qkd: str = "keep", fresh: float = 3600.0
) -> AsyncIterator[Feeder]:
    feeder = Feeder("office", settings(without_qkd), consumer, fresh)
    task = asyncio.create_task(feeder.run())
    try:
        await consumer.until("prepare")
        yield feeder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def state(feeder: Feeder, wanted: str) -> None:
    await until(lambda: feeder.status()["state"] == wanted)
    # Prometheus is told the same at the same moment.
    shown = {each: _sample("handfast_feed_state", handfast_feed_state=each) for each in FEED_STATES}
    assert shown == {each: float(each == wanted) for each in FEED_STATES}


def _sample(name: str, **labels: str) -> float:
    return METRICS.registry.get_sample_value(name, {"feed": "office", **labels}) or 0.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder_module, "PAUSES", (0.01, 0.01))


async def test_each_key_is_handed_on_and_only_the_newest() -> None:
    consumer = Listed()
    async with feeding(consumer) as feeder:
        assert feeder.status()["state"] == "waiting"
        feeder.offer(key(1))
        await consumer.until("prepare", "put 1")
        feeder.offer(key(2))
        feeder.offer(key(3))
        await consumer.until("prepare", "put 1", "put 3")
        await state(feeder, "fed")
        assert (feeder.status()["epoch"], feeder.status()["key"]) == (3, key(3).name.hex())


async def test_a_key_is_tried_again_and_then_the_next_one_is_waited_for() -> None:
    consumer = Listed(*[FeedError("no room")] * 3)
    async with feeding(consumer) as feeder:
        feeder.offer(key(1))
        await consumer.until("prepare", "put 1", "put 1", "put 1")
        await state(feeder, "failing")
        assert feeder.status()["reason"] == "no room"
        feeder.offer(key(2))
        await state(feeder, "fed")
        assert feeder.status()["reason"] == ""


async def test_keys_and_failures_are_counted_by_what_was_asked_and_why() -> None:
    before = time.time()
    keys, failures = _sample("handfast_feed_keys_total"), {}
    for asked, reason in (("key", "refused"), ("key", "fault"), ("close", "refused"), ("close", "final")):
        failures[asked, reason] = _sample("handfast_feed_failures_total", asked=asked, reason=reason)
    consumer = Listed(FeedError("no room"), RuntimeError("secret text"))
    async with feeding(consumer, "close") as feeder:
        feeder.offer(key(1))
        await state(feeder, "fed")
        consumer.fail(FeedError("busy"), FeedError("the PIN is wrong", lasting=True))
        feeder.distrust("an alarm")
        await state(feeder, "stopped")
    assert _sample("handfast_feed_keys_total") == keys + 1
    assert before <= _sample("handfast_feed_last_key_timestamp_seconds") <= time.time()
    for (asked, reason), count in failures.items():
        now = _sample("handfast_feed_failures_total", asked=asked, reason=reason)
        assert now == count + 1, (asked, reason)


async def test_a_newer_key_ends_the_attempts_with_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder_module, "PAUSES", (3600.0,))
    consumer = Listed(FeedError("no room"))
    async with feeding(consumer) as feeder:
        feeder.offer(key(1))
        await state(feeder, "failing")
        feeder.offer(key(2))
        await consumer.until("prepare", "put 1", "put 2")


async def test_a_consumer_is_looked_after_between_keys_and_that_hides_no_key_that_was_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeder_module, "LOOK_SECONDS", 0.02)
    consumer = Listed(*[FeedError("no room")] * 3)
    async with feeding(consumer) as feeder:
        await until(lambda: consumer.asked.count("prepare") >= 3)
        feeder.offer(key(1))
        await until(lambda: consumer.asked.count("put 1") == 3)
        looked = consumer.asked.count("prepare")
        await until(lambda: consumer.asked.count("prepare") >= looked + 2)
        assert (feeder.status()["state"], feeder.status()["reason"]) == ("failing", "no room")
        feeder.offer(key(2))
        await state(feeder, "fed")


async def test_a_library_that_never_comes_back_holds_up_one_thread_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE", 0.02)
    worker, released, came = Worker(), threading.Event(), threading.Event()
    with pytest.raises(FeedError, match="did not come back within 0.02 seconds"):
        await worker.do(released.wait)
    with pytest.raises(FeedError, match="the call before has not come back yet"):
        await worker.do(came.set)
    assert not came.is_set()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "key feed")
    released.set()
    monkeypatch.setattr(worker_module, "PATIENCE", 60.0)

    async def done() -> bool:
        with contextlib.suppress(FeedError):
            await worker.do(came.set)
        return came.is_set()

    await until(done)
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 // 0)


async def test_a_machine_without_a_thread_to_spare_delays_a_call_and_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker, came = Worker(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(FeedError, match="start no thread now"):
            await worker.do(came.set)
    await worker.do(came.set)
    assert came.is_set()


async def test_an_alarm_keeps_the_last_key_and_says_so() -> None:
    consumer = Listed()
    async with feeding(consumer) as feeder:
        feeder.offer(key(1))
        await state(feeder, "fed")
        feeder.distrust("alarm")
        await state(feeder, "kept")
        feeder.offer(key(2))
        await consumer.until("prepare", "put 1", "put 2")


async def test_a_key_that_became_suspect_before_it_was_handed_on_never_is() -> None:
    consumer = Listed()
    async with feeding(consumer) as feeder:
        feeder.offer(key(1))
        feeder.distrust("alarm")
        feeder.offer(key(2))
        await consumer.until("prepare", "put 2")


async def test_an_alarm_closes_a_feed_that_fails_closed_however_often_it_has_to_try() -> None:
    consumer = Listed(*[FeedError("busy")] * 6)
    async with feeding(consumer, "close") as feeder:
        feeder.distrust("alarm")
        await consumer.until("prepare", *["shut"] * 7)
        await state(feeder, "closed")
        # Being told again closes nothing twice.
        feeder.distrust("another alarm")
        feeder.offer(key(2))
        await consumer.until("prepare", *["shut"] * 7, "put 2")
        await state(feeder, "fed")


async def test_a_closed_feed_whose_next_key_half_succeeded_is_closed_again() -> None:
    consumer = Listed()
    async with feeding(consumer, "close") as feeder:
        feeder.distrust("alarm")
        await state(feeder, "closed")
        # Such as a charon that made the connection and answered too late.
        consumer.fail(*[FeedError("no answer")] * 3)
        feeder.offer(key(2))
        await consumer.until("prepare", "shut", *["put 2"] * 3)
        await state(feeder, "failing")
        feeder.distrust("another alarm")
        await consumer.until("prepare", "shut", *["put 2"] * 3, "shut")
        await state(feeder, "closed")


async def test_a_trunk_that_brings_no_new_key_closes_a_feed_that_fails_closed() -> None:
    consumer = Listed()
    async with feeding(consumer, "close", fresh=0.05) as feeder:
        await consumer.until("prepare", "shut")
        await state(feeder, "closed")
        assert feeder.status()["reason"] == "no new key for 0.05 seconds"


async def test_a_fault_that_trying_makes_worse_stops_the_feed() -> None:
    consumer = Listed(FeedError("the PIN is wrong", lasting=True))
    async with feeding(consumer) as feeder:
        feeder.offer(key(1))
        await state(feeder, "stopped")
        feeder.offer(key(2))
        assert feeder.status()["reason"] == "the PIN is wrong"
    assert consumer.asked == ["prepare", "put 1"]


async def test_a_fault_of_a_library_stops_nothing_and_its_text_is_not_shown() -> None:
    consumer = Listed(ValueError("with a secret in it"))
    async with feeding(consumer) as feeder:
        feeder.offer(key(1))
        await consumer.until("prepare", "put 1", "put 1")
        await state(feeder, "fed")
    assert "secret" not in str(feeder.status())


def test_every_feed_has_a_key_of_its_own_and_no_text_shows_one() -> None:
    def one(feed: str = "office", kind: str = "wireguard", ids: tuple[bytes, bytes] = HUB_IDS) -> FeedKey:
        return derive_key(Crypto(), EXPORTER, feed, kind, ids, 1)

    assert one() == one()
    others = [one(), one("plant"), one(kind="pkcs11"), one(ids=HUB_IDS[::-1])]
    assert len({other.key for other in others}) == len({other.name for other in others}) == 4
    assert all(len(other.key) == 32 and len(other.name) == 8 for other in others)
    told = repr(one()) + repr(Established(1, True, EXPORTER))
    for secret in (one().key, EXPORTER):
        assert not any(form in told for form in (secret.hex(), repr(secret), b32encode(secret)))


async def test_only_an_epoch_with_a_sound_qkd_key_is_fed() -> None:
    feeds = Feeds({"office": settings(), "plant": settings()}, Crypto(), bytes)
    keyed = feeds.join("vienna", HUB_IDS, 30.0)
    feeds.join("paris", HUB_IDS, 30.0)
    assert (list(feeds.status("vienna")), feeds.status("paris")) == (["office", "plant"], {})
    [office, plant] = feeds._feeders["vienna"]
    keyed(Established(1, True, EXPORTER))
    assert office._offered == key(1)
    assert plant._offered is not None
    assert plant._offered.key != key(1).key
    for event, reason in ((Suspect(1), "suspect"), (Established(2, False), "no sound QKD key")):
        keyed(event)
        assert office._offered is None
        assert reason in str(office.status()["reason"])
