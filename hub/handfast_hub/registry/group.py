"""Group commit: one thread owns the database, and takes everything that waits into one transaction.

A transaction costs the same for one enrolment as for fifty: a BEGIN, a few statements, one flush to
the disk. So operations queue up; the thread takes all that wait, runs each kind once over all its
items, commits, and only then tells who waits. Under load it lingers for company. Nothing is
answered before the commit that makes it true.

Callers go on from what they have asked for before it is committed: the second record of a device is
opened with the window that the first one has moved. So when a writing transaction fails, everything
fails that was asked for before its callers could hear of that.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from handfast_hub.registry.engine import RegistryError, explain

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Operation(NamedTuple, Generic[Item, Outcome]):
    """A kind of work on the database.

    `run` takes all its items and gives one outcome for each, in order; an exception instead of an
    outcome is raised to the caller of that item. Writing kinds of one group run
    by `rank`, lowest first; reading kinds run before them, in a transaction that writes nothing.
    """

    run: Callable[[Connection, Sequence[Item]], Sequence[Outcome | Exception]]
    rank: int = 0
    reading: bool = False


# More would hold the write lock for longer than another process likes to wait.
_LARGEST_GROUP = 1024
# Beyond this a larger group saves nothing: what is left are the costs of each row.
_ENOUGH = 64
# How long nobody has to come before lingering ends.
_SLICE_SECONDS = 0.01


class _Waiting(NamedTuple):
    operation: Operation[Any, Any]
    argument: Any
    # Who waits: a future, or a call.
    answer: "asyncio.Future[Any] | Callable[[Any, Exception | None], None]"
    generation: int


class GroupCommit:
    """Runs operations on a thread of its own. Made, used and closed on one event loop."""

    def __init__(self, engine: Engine, database: str, linger: float) -> None:
        """At most `linger` seconds are spent waiting for company; none when there was none just before."""
        self._engine = engine
        self._database = database
        self._linger = linger
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._closed = False
        # Items that were queued and are not answered.
        self._unanswered = 0
        # How many writing transactions the loop has seen fail; and, for the thread alone, the failure
        # of the latest one and the generation of what was in it.
        self._generation = 0
        self._failure: tuple[int, Exception] | None = None
        self._connection: Connection | None = None
        self._thread.start()

    def submit(self, operation: Operation[Item, Outcome], argument: Item) -> "asyncio.Future[Outcome]":
        """Queue one item of `operation`; its outcome comes after the commit, a failure is raised.

        Items of one operation keep their order, and all see what was answered before.
        """
        if self._closed:
            raise RegistryError("the registry is closed")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._queue.put(_Waiting(operation, argument, future, self._generation))
        self._unanswered += 1
        return future

    def begin(
        self,
        operation: Operation[Item, Outcome],
        argument: Item,
        done: Callable[[Outcome | None, Exception | None], None],
    ) -> None:
        """`submit` that calls `done(outcome, None)` or `done(None, error)` on the loop; it must not raise.

        For who waits for nothing else: it spares a future and a turn of the loop for each item.
        """
        if self._closed:
            raise RegistryError("the registry is closed")
        self._queue.put(_Waiting(operation, argument, done, self._generation))
        self._unanswered += 1

    @property
    def at_work(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._unanswered > 0

    async def close(self) -> None:
        """Finish what waits, then end the thread; may be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        company = False
        while True:
            first = self._queue.get()
            if company:
                self._wait_for_company()
            group, last = self._take(first)
            company = len(group) > 1
            if group:
                answers = self._answer(group)
                with contextlib.suppress(RuntimeError):  # the loop ended without close()
                    self._loop.call_soon_threadsafe(self._resolve, answers, self._failure)
            if last:
                if self._connection is not None:
                    self._connection.close()
                return

    def _wait_for_company(self) -> None:
        """Linger while others come. Two callers who wait for each other's answers lose one slice."""
        waited, seen = 0.0, 0
        while waited < self._linger:
            time.sleep(_SLICE_SECONDS)
            waited += _SLICE_SECONDS
            waiting = self._queue.qsize()
            if waiting == seen or waiting >= _ENOUGH:
                return
            seen = waiting

    def _take(self, first: _Waiting | None) -> tuple[list[_Waiting], bool]:
        """Everything that waits, and whether it is the end."""
        group: list[_Waiting] = []
        item = first
        while item is not None:
            group.append(item)
            if len(group) == _LARGEST_GROUP:
                return group, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _answer(self, group: list[_Waiting]) -> list[tuple[_Waiting, Any]]:
        reading = [item for item in group if item.operation.reading]
        writing = [item for item in group if not item.operation.reading]
        fenced: list[tuple[_Waiting, Any]] = []
        if self._failure is not None:
            generation, failure = self._failure
            fenced = [(item, failure) for item in writing if item.generation <= generation]
            writing = [item for item in writing if item.generation > generation]
        return self._transaction(reading, True) + fenced + self._transaction(writing, False)

    def _open(self) -> Connection:
        """The thread's own connection; a new one after it broke."""
        if self._connection is None or self._connection.closed or self._connection.invalidated:
            self._connection = self._engine.connect()
        return self._connection

    def _transaction(self, items: list[_Waiting], reading: bool) -> list[tuple[_Waiting, Any]]:
        """Run `items` in one transaction; when one of them spoils it, each in its own."""
        if not items:
            return []
        try:
            connection = self._open().execution_options(reading=reading)
            with connection.begin():
                return _outcomes(connection, items)
        except (exc.OperationalError, self._engine.dialect.loaded_dbapi.OperationalError) as error:
            # Locked, full, read-only: true for every item, and trying again one by one costs minutes.
            failure: Exception = explain(error, self._database)
            if not reading:
                self._failure = (items[-1].generation, failure)
            return [(item, failure) for item in items]
        except Exception as error:
            if len(items) > 1:
                return [answer for item in items for answer in self._transaction([item], reading)]
            foreign = isinstance(error, (exc.DBAPIError, self._engine.dialect.loaded_dbapi.Error))
            failure = explain(error, self._database) if foreign else error
            return [(items[0], failure)]

    def _resolve(self, answers: list[tuple[_Waiting, Any]], failure: tuple[int, Exception] | None) -> None:
        self._unanswered -= len(answers)
        _resolve(answers)
        if failure is not None and failure[0] == self._generation:
            # After the tasks that have just been woken with the failure.
            self._loop.call_soon(self._heard, failure[0])

    def _heard(self, generation: int) -> None:
        self._generation = max(self._generation, generation + 1)


def _outcomes(connection: Connection, items: list[_Waiting]) -> list[tuple[_Waiting, Any]]:
    kinds: dict[Operation[Any, Any], list[_Waiting]] = {}
    for item in items:
        kinds.setdefault(item.operation, []).append(item)
    answers: list[tuple[_Waiting, Any]] = []
    for operation in sorted(kinds, key=lambda kind: kind.rank):
        same = kinds[operation]
        outcomes = operation.run(connection, [item.argument for item in same])
        answers.extend(zip(same, outcomes, strict=True))
    return answers


def _resolve(answers: list[tuple[_Waiting, Any]]) -> None:
    for item, outcome in answers:
        answer = item.answer
        failed = isinstance(outcome, Exception)
        if not isinstance(answer, asyncio.Future):
            if failed:
                answer(None, outcome)
            else:
                answer(outcome, None)
        elif answer.done():  # the caller was cancelled; the work is committed all the same
            continue
        elif failed:
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
