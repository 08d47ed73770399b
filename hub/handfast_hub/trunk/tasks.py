"""The tasks of one trunk. None of them ends without a word: what fails is in the log, and what should
never end begins anew."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from handfast.core.errors import Error

_LOG = structlog.get_logger("handfast.hub.trunk")

# Seconds before something that failed begins anew.
PAUSE = 1.0


class Tasks:
    """The tasks of one part of a trunk."""

    def __init__(self, trunk: str) -> None:
        """`trunk` is its name, for the log."""
        self._trunk = trunk
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` once."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do `work`, which should never end, and again a second after it failed."""
        self.spawn(self._for_ever(work))

    async def close(self) -> None:
        """Cancel what still goes on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _for_ever(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:
                # A fault of ours or of a library: it must not be the last that is heard of this trunk.
                self._say(error)
            await asyncio.sleep(PAUSE)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say(error)

    def _say(self, error: BaseException) -> None:
        reason = error.detail if isinstance(error, Error) else repr(error)
        _LOG.error("a part of the trunk failed", trunk=self._trunk, reason=reason)
