"""Waiting for a link and for a time at once."""

import asyncio

from world import caught

from handfast.core.errors import LinkClosed, LocalError
from handfast.inbox import LENGTH, Inbox
from handfast.testing import FakeClock


class Line:
    """A link with what a test puts on it; an exception among it is raised."""

    def __init__(self) -> None:
        self.taken = 0
        self._items: "list[object]" = []
        self._bell = asyncio.Event()

    def put(self, item: object) -> None:
        self._items.append(item)
        self._bell.set()

    async def receive(self) -> object:
        while not self._items:
            self._bell.clear()
            await self._bell.wait()
        item = self._items.pop(0)
        if isinstance(item, Exception):
            raise item
        self.taken += 1
        return item


async def test_payloads_come_in_order() -> None:
    line, clock, inbox = _made()
    for number in range(5):
        line.put((1, b"%d" % number))
    assert [await inbox.wait(None), await inbox.wait(None)] == [(1, b"0"), (1, b"1")]
    assert await inbox.wait(clock.now() + 5) == (1, b"2")
    inbox.close()


async def test_a_time_ends_the_wait() -> None:
    line, clock, inbox = _made()
    task = asyncio.create_task(inbox.wait(clock.now() + 5))
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.2)
    assert task.done()
    assert await task is None
    # A time that is over already does not wait at all.
    task = asyncio.create_task(inbox.wait(clock.now() - 1))
    await clock.settle()
    assert await task is None
    inbox.close()
    await clock.settle()
    assert clock._sleepers == []
    assert line.taken == 0


async def test_a_ring_ends_this_wait_or_the_next_one() -> None:
    _, clock, inbox = _made()
    task = asyncio.create_task(inbox.wait(None))
    await clock.settle()
    inbox.ring()
    assert await task is None
    inbox.ring()
    assert await inbox.wait(None) is None
    task = asyncio.create_task(inbox.wait(None))
    await clock.settle()
    assert not task.done()
    inbox.ring()
    await task
    inbox.close()


async def test_a_payload_is_given_before_a_ring_and_none_is_lost() -> None:
    line, clock, inbox = _made()
    line.put((None, b"first"))
    line.put((None, b"second"))
    await clock.settle()
    inbox.ring()
    assert await inbox.wait(clock.now()) == (None, b"first")
    assert await inbox.wait(clock.now()) == (None, b"second")
    inbox.close()


async def test_a_broken_link_is_told_after_what_came_before_and_every_time() -> None:
    line, clock, inbox = _made()
    line.put((1, b"last"))
    line.put(LinkClosed("gone"))
    assert await inbox.wait(None) == (1, b"last")
    for _ in range(3):
        assert isinstance(await caught(inbox.wait(clock.now() + 100)), LinkClosed)
    inbox.close()


async def test_another_error_of_the_link_is_told_too_and_not_waited_for() -> None:
    line, _, inbox = _made()
    line.put(LocalError("used in the wrong way"))
    assert isinstance(await caught(inbox.wait(None)), LocalError)
    inbox.close()


async def test_a_link_that_breaks_its_promise_is_heard_too() -> None:
    line, _, inbox = _made()
    line.put(ValueError("links of others raise what they like"))
    assert isinstance(await caught(inbox.wait(None)), ValueError)
    inbox.close()


async def test_reading_stops_when_nobody_takes() -> None:
    line, clock, inbox = _made()
    for number in range(3 * LENGTH):
        line.put((1, b"%d" % number))
    await clock.settle()
    assert line.taken == LENGTH
    for number in range(3 * LENGTH):
        assert await inbox.wait(None) == (1, b"%d" % number)
    assert line.taken == 3 * LENGTH
    inbox.close()


async def test_after_close_nothing_is_read() -> None:
    line, clock, inbox = _made()
    await clock.settle()
    inbox.close()
    await clock.settle()
    line.put((1, b"late"))
    await clock.settle()
    assert line.taken == 0


def _made() -> "tuple[Line, FakeClock, Inbox]":
    line, clock = Line(), FakeClock()
    return line, clock, Inbox(line, clock)
