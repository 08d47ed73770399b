"""A process that is measured, where it runs, and how it is asked: one JSON object a line, there and back."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
# A child that does not end when its input does is killed after so many seconds.
PATIENCE = 20.0

Answer = dict[str, Any]


class Places(NamedTuple):
    """The processors of what is measured, and of all that only loads it; empty where nobody can choose."""

    measured: frozenset[int]
    load: frozenset[int]


def places() -> Places:
    """One processor for what is measured and the others for its load, where there are two or more."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return Places(frozenset(), frozenset())
    # The first processor is where most interrupts go.
    *others, last = sorted(os.sched_getaffinity(0))
    return Places(frozenset({last}), frozenset(others))


@contextlib.contextmanager
def placed(processors: frozenset[int]) -> Iterator[None]:
    """Processes that are started inside run on `processors`; anywhere when there are none."""
    if not processors:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Child:
    """A program of this folder as a process on `processors`; ends with the `with` block."""

    def __init__(self, program: str, *arguments: str, processors: frozenset[int] = frozenset()) -> None:
        self._name = program
        command = [sys.executable, str(FOLDER / program), *arguments]
        with placed(processors):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, verb: str, **arguments: object) -> None:
        """Begin something; `hear` waits for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Answer:
        """The next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended before it answered; its error stands above")
        answer: Answer = json.loads(line)
        return answer

    def ask(self, verb: str, **arguments: object) -> Answer:
        """Have something done, and wait for the answer."""
        self.tell(verb, **arguments)
        return self.hear()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def read_request() -> tuple[str, Answer] | None:
    """In a child: what the parent wants next, None when it wants no more."""
    line = sys.stdin.readline()
    if not line:
        return None
    verb, arguments = json.loads(line)
    return verb, arguments


def answer(**values: object) -> None:
    """In a child: tell the parent."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def serve(verbs: dict[str, Callable[..., Answer]]) -> None:
    """In a child without an event loop: do what is asked until the parent is done."""
    while (request := read_request()) is not None:
        answer(**verbs[request[0]](**request[1]))
