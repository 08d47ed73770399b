"""What goes on beside a trunk: nothing of it ends without a word."""

import asyncio

import pytest
from structlog.testing import capture_logs

from handfast.core.errors import LocalError
from handfast_hub.trunk import tasks
from handfast_hub.trunk.tasks import Tasks


async def test_what_should_never_end_begins_anew_after_a_fault_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "PAUSE", 0.0)
    began: list[int] = []
    well = asyncio.Event()

    async def work() -> None:
        began.append(len(began))
        if len(began) < 3:
            raise RuntimeError("a fault")
        well.set()
        await asyncio.Event().wait()

    ours = Tasks("vienna")
    with capture_logs() as said:
        ours.keep(work)
        await asyncio.wait_for(well.wait(), 60)
    assert began == [0, 1, 2]
    assert [(line["trunk"], line["reason"]) for line in said] == [("vienna", "RuntimeError('a fault')")] * 2
    await asyncio.wait_for(ours.close(), 60)


async def test_what_fails_once_is_said_and_what_is_cancelled_is_not() -> None:
    ended = asyncio.Event()

    async def fails() -> None:
        try:
            raise LocalError("there is no key")
        finally:
            ended.set()

    async def waits() -> None:
        await asyncio.Event().wait()

    ours = Tasks("vienna")
    with capture_logs() as said:
        ours.spawn(fails())
        ours.spawn(waits())
        await asyncio.wait_for(ended.wait(), 60)
        await asyncio.wait_for(ours.close(), 60)
    assert [line["reason"] for line in said] == ["there is no key"]
