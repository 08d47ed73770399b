"""A process that is measured, and how it is asked: one JSON object a line, there and back."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).resolve().parent
# A child that does not end when its input does is killed after so many seconds.
PATIENCE = 20.0

Answer = dict[str, Any]


class Child:
    """A program of this folder as a process; ends with the `with` block."""

    def __init__(self, program: str, *arguments: str) -> None:
        self._name = program
        command = [sys.executable, str(FOLDER / program), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

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
