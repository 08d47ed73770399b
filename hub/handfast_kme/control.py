"""Calls between two KMEs, both ways over one authenticated channel: a key is assigned, or passes through."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeGuard

from handfast.core.errors import DecodeError, Error, LinkClosed, LinkTimeout, PeerError
from handfast_kme.channel import Channel
from handfast_kme.messages import REASONS, Unavailable

# Answers a call: its name and arguments.
Handler = Callable[[str, list[Any]], Awaitable[Any]]

# Characters of what another KME says that come into our logs and answers.
_SAID = 500


class Calls:
    """One connection. `run` serves until it is gone; `call` may be used meanwhile."""

    def __init__(self, channel: Channel, handler: Handler, timeout: float = 10.0) -> None:
        self._channel, self._handler, self._timeout = channel, handler, timeout
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._answers: set[asyncio.Task[None]] = set()

    async def call(self, name: str, *values: Any, patience: float | None = None) -> Any:
        """Ask the peer. LinkError when no answer comes: then nobody knows whether it was done. PeerError and
        Unavailable when it refuses."""
        wait = self._timeout if patience is None else patience
        self._number += 1
        number = self._number
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._channel.send("call", number, name, list(values))
            async with asyncio.timeout(wait):
                answer = await future
        except TimeoutError:
            raise LinkTimeout(f"the other KME did not answer within {wait:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            said = answer["error"][:_SAID]
            reason, link = answer.get("reason"), answer.get("link")
            if reason in REASONS:
                raise Unavailable(reason, said, link if isinstance(link, str) else "")
            raise PeerError(f"the other KME refused: {said}")
        return answer

    async def run(self) -> None:
        """Serve until the channel breaks, and raise its error."""
        try:
            while True:
                kind, *values = await self._channel.receive(patient=True)
                if kind == "call" and is_row(values, (int, str, list)):
                    task = asyncio.create_task(self._answer(*values))
                    self._answers.add(task)
                    task.add_done_callback(self._answers.discard)
                elif kind == "answer" and len(values) == 2 and type(values[0]) is int:
                    future = self._waiting.get(values[0])
                    if future is not None and not future.done():
                        future.set_result(values[1])
                else:
                    raise DecodeError("expected a call or an answer on the control channel")
        finally:
            for task in self._answers:
                task.cancel()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(LinkClosed("the other KME is gone"))

    async def _answer(self, number: int, name: str, values: list[Any]) -> None:
        try:
            result = await self._handler(name, values)
        except Unavailable as error:
            result = {"error": error.detail, "reason": error.reason, "link": error.link}
        except Error as error:
            result = {"error": error.detail}
        try:
            await self._channel.send("answer", number, result)
        except Error:
            # The reading side meets the same failure and ends the connection.
            return


def is_row(value: object, shape: Sequence[type]) -> TypeGuard[list[Any]]:
    """Whether a value that came over the channel is an array of exactly these types; True is no int."""
    return isinstance(value, list) and [type(entry) for entry in value] == list(shape)


def are_names(value: object) -> TypeGuard[list[str]]:
    """Whether it is an array of texts of at most 64 characters: key_IDs, SAE IDs."""
    return isinstance(value, list) and all(isinstance(name, str) and len(name) <= 64 for name in value)
