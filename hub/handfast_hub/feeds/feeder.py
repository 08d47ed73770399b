"""One feed: it hands the newest key to its consumer, tries again, and closes it when it has to.

It runs in a task of its own and is only ever told things, so a consumer that hangs or fails costs
the trunk nothing. Only the newest key waits; one that was overtaken is never handed on.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import structlog

from handfast.core.errors import Error
from handfast_hub.feeds.keys import FeedKey
from handfast_hub.feeds.settings import Feed
from handfast_hub.metrics import METRICS, Metrics

_LOG = structlog.get_logger("handfast.hub.feeds")

# Between two attempts with one key, in seconds; then the next key is waited for. Closing goes on for ever.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
# How often a consumer is looked after between two keys, in seconds.
LOOK_SECONDS = 30.0


class FeedError(Error):
    """A consumer did not take a key. `lasting`: another try would only do harm, as with a wrong PIN."""

    def __init__(self, detail: str, *, lasting: bool = False) -> None:
        super().__init__(detail)
        self.lasting = lasting


class Consumer(Protocol):
    """What takes the keys of a feed. Each call raises FeedError with one sentence, and may be repeated."""

    async def look(self) -> None:
        """Look whether it is there and fit to be fed; changes nothing."""

    async def prepare(self) -> None:
        """Look, and let nothing through that has no key at all yet."""

    async def put(self, key: FeedKey) -> None:
        """Use `key` from now on."""

    async def shut(self) -> None:
        """Let nothing through until the next key."""


class Feeder:
    """One `[feed.NAME]`."""

    def __init__(
        self, name: str, settings: Feed, consumer: Consumer, fresh: float, metrics: Metrics = METRICS
    ) -> None:
        """`fresh`: after so many seconds without a new key the last one is no sound key any more."""
        self.name = name
        self._metrics = metrics
        self.settings = settings
        self._consumer = consumer
        self._fresh = fresh
        self._offered: FeedKey | None = None
        # Why the last key is no longer sound; "" when it is.
        self._unsound = ""
        # When a key was offered last; the trunk may never have opened.
        self._last = time.monotonic()
        self._told = asyncio.Event()
        self._used: tuple[int, str, float] | None = None
        self._closed = False
        # The newest key was not taken, whatever the consumer answers meanwhile.
        self._behind = False
        self._problem = ""
        self._ended = False
        metrics.feed_keys.labels(name)
        metrics.feed_key_at.labels(name)
        self._show()

    def offer(self, key: FeedKey) -> None:
        """A new key, to use from now on."""
        self._offered, self._unsound, self._last = key, "", time.monotonic()
        self._show()
        self._told.set()

    def distrust(self, reason: str) -> None:
        """There is no sound QKD key now; a key that was not handed on yet never will be."""
        self._offered, self._unsound = None, reason
        self._show()
        self._told.set()

    def status(self) -> dict[str, object]:
        """What `handfast-hub feed status` shows; nothing of it is secret."""
        epoch, key, at = self._used or (None, None, None)
        return {
            "kind": self.settings.kind,
            "state": self._state(),
            "epoch": epoch,
            "key": key,
            "fed_at": at,
            "without_qkd": self.settings.without_qkd,
            "reason": self._problem or self._unsound,
        }

    def _show(self) -> None:
        self._metrics.feed_state.labels(self.name).state(self._state())

    def _state(self) -> str:
        if self._ended:
            return "stopped"
        if self._problem:
            return "failing"
        if self._closed:
            return "closed"
        if self._used is None:
            return "waiting"
        return "kept" if self._unsound else "fed"

    async def run(self) -> None:
        """Feed, until cancelled or until the consumer says that another try would do harm."""
        try:
            await self._insist("look", self._look_after)
            while True:
                ends = self._last + self._fresh
                left = LOOK_SECONDS if self._unsound else ends - time.monotonic()
                await self._wait(max(0.0, min(LOOK_SECONDS, left)))
                told = self._told.is_set()
                if not told and not self._unsound and time.monotonic() >= ends:
                    self.distrust(f"no new key for {self._fresh:g} seconds")
                self._told.clear()
                key, self._offered = self._offered, None
                if key is not None:
                    await self._insist("key", partial(self._put, key))
                elif self._unsound and self.settings.without_qkd == "close" and not self._is_shut():
                    await self._insist("close", self._shut, for_ever=True)
                elif not told:
                    await self._insist("look", self._look_after)
        except FeedError:
            self._ended = True
            self._show()
            _LOG.error("the feed has stopped", feed=self.name, reason=self._problem)

    def _is_shut(self) -> bool:
        # A consumer that failed at a key, or answered too late, may have let something through all the same.
        return self._closed and not self._behind

    async def _put(self, key: FeedKey) -> None:
        self._behind = True
        await self._consumer.put(key)
        self._used, self._closed, self._behind = (key.epoch, key.name.hex(), time.time()), False, False
        self._metrics.feed_keys.labels(self.name).inc()
        self._metrics.feed_key_at.labels(self.name).set(self._used[2])
        _LOG.info("key fed", feed=self.name, epoch=key.epoch, key=key.name.hex())

    async def _shut(self) -> None:
        await self._consumer.shut()
        self._closed, self._behind = True, False
        _LOG.warning("feed closed", feed=self.name, reason=self._unsound)

    async def _look_after(self) -> None:
        # Somebody may have set the consumer up anew, without any key.
        await self._consumer.prepare()

    async def _insist(
        self, asked: str, work: Callable[[], Awaitable[None]], *, for_ever: bool = False
    ) -> None:
        """Until it is done, or there is something newer to do; FeedError when it must not be tried again."""
        pauses = iter(PAUSES)
        while not await self._tried(asked, work):
            pause = next(pauses, PAUSES[-1] if for_ever else None)
            if pause is None:
                return
            await self._wait(pause)
            if self._told.is_set():
                return

    async def _tried(self, asked: str, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except FeedError as error:
            self._note(asked, "final" if error.lasting else "refused", error.detail)
            if error.lasting:
                raise
            return False
        except Exception as error:
            # A fault of ours or of a library: its text may hold anything, so its kind has to do.
            self._note(asked, "fault", f"{type(error).__name__} from the feed's consumer")
            return False
        if not self._behind:
            self._problem = ""
        self._show()
        return True

    def _note(self, asked: str, reason: str, problem: str) -> None:
        self._metrics.feed_failures.labels(self.name, asked, reason).inc()
        if problem != self._problem:
            _LOG.error("the feed fails", feed=self.name, reason=problem)
        self._problem = problem
        self._show()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
