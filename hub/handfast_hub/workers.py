"""Signing and verifying beside the event loop, without a hop for each.

A job is a call that computes and touches nothing but its own arguments. A worker takes what waits,
up to LARGEST_BATCH jobs, and gives all their results to the loop at once: the 90 us that a hop costs
are shared, and more so the more there is to do. PyCryptodome lets go of the GIL while it computes.

Where the hub has one processor a thread could compute only while the loop does not, and each packet
would interrupt it. There the loop computes itself, a batch between two looks at the network.
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


def threads_here() -> int:
    """How many threads should compute: one for each processor that this process may use, none for one."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return mine if mine > 1 else 0


class _Job(NamedTuple):
    call: Callable[[], Any]
    # Hears on the loop what the call gave, or the exception that it raised; must not raise itself.
    done: Callable[[Any, Exception | None], None]


_Result = tuple[_Job, Any, Exception | None]


class Workers:
    """Threads that compute, or the loop itself. Made, used and closed on one event loop."""

    def __init__(self, count: int) -> None:
        """`count` threads; more than there are processors gain nothing, and with 0 the loop computes."""
        self._on_loop = count == 0
        # Whether the loop has been told to compute.
        self._due = False
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

        self._put(_Job(call, done))
        return future

    def submit(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        """Call `done(value, None)` or `done(None, error)` on the loop after `call`; `done` must not raise.

        For who waits for nothing else: it spares a task and a turn of the loop for each job.
        """
        self._put(_Job(call, done))

    def _put(self, job: _Job) -> None:
        self._jobs.put(job)
        if self._on_loop and not self._due:
            self._due = True
            # After the packets that are there already: the more there is to do, the larger the batch.
            self._loop.call_soon(self._batch_on_loop)

    def _batch_on_loop(self) -> None:
        results, _ = self._batch(self._jobs.get_nowait())
        try:
            _resolve(results)
        finally:
            self._due = not self._jobs.empty()
            if self._due:
                self._loop.call_soon(self._batch_on_loop)

    async def close(self) -> None:
        """Finish what waits and end the threads; may be called twice."""
        if self._due:
            # Jobs are done in order.
            await self.run(lambda: None)
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        ended = False
        while not ended:
            results, ended = self._batch(self._jobs.get())
            with contextlib.suppress(RuntimeError):  # the loop ended without close()
                self._loop.call_soon_threadsafe(_resolve, results)

    def _batch(self, job: _Job | None) -> tuple[list[_Result], bool]:
        """What `job` and those behind it gave, and whether an end came."""
        results: list[_Result] = []
        while job is not None:
            results.append(_compute(job))
            if len(results) == LARGEST_BATCH:
                return results, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return results, False
        return results, True


def _compute(job: _Job) -> _Result:
    try:
        return job, job.call(), None
    except Exception as error:
        # Whatever it is, it belongs to whoever asked.
        return job, None, error


def _resolve(results: list[_Result]) -> None:
    for job, value, error in results:
        job.done(value, error)
