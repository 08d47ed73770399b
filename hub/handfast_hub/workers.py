"""Signing and verifying beside the event loop, without a hop for each.

A job is a call that computes and touches nothing but its own arguments. A worker takes what waits,
up to LARGEST_BATCH jobs, and gives all their results to the loop at once: the 90 us that a hop costs
are shared, and more so the more there is to do. PyCryptodome lets go of the GIL while it computes.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")

# Jobs of half a millisecond each: the loop waits for a batch at most 8 ms.
LARGEST_BATCH = 16


def processors() -> int:
    """How many threads can compute at once on this machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Job(NamedTuple):
    call: Callable[[], Any]
    # Hears on the loop what the call gave, or the exception that it raised; must not raise itself.
    done: Callable[[Any, Exception | None], None]


class Workers:
    """Threads that compute. Made, used and closed on one event loop."""

    def __init__(self, count: int) -> None:
        """`count` threads; more than there are processors gain nothing."""
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, call: Callable[[], Result]) -> "asyncio.Future[Result]":
        """What `call` gives or raises."""
        future: asyncio.Future[Result] = self._loop.create_future()

        def done(value: Result, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self._jobs.put(_Job(call, done))
        return future

    def submit(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        """Call `done(value, None)` or `done(None, error)` on the loop after `call`; `done` must not raise.

        For who waits for nothing else: it spares a task and a turn of the loop for each job.
        """
        self._jobs.put(_Job(call, done))

    async def close(self) -> None:
        """Finish what waits and end the threads; may be called twice."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            results = [_compute(job)]
            ended = False
            while len(results) < LARGEST_BATCH:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    ended = True
                    break
                results.append(_compute(job))
            with contextlib.suppress(RuntimeError):  # the loop ended without close()
                self._loop.call_soon_threadsafe(_resolve, results)
            if ended:
                return


def _compute(job: _Job) -> tuple[_Job, Any, Exception | None]:
    try:
        return job, job.call(), None
    except Exception as error:
        # Whatever it is, it belongs to whoever asked.
        return job, None, error


def _resolve(results: list[tuple[_Job, Any, Exception | None]]) -> None:
    for job, value, error in results:
        job.done(value, error)
