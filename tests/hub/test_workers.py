"""Jobs beside the event loop, and on it where there is one processor: the same results in the same order."""

import asyncio
import threading

import pytest
from simulated_devices import Fleet, until

from handfast_hub import hub as hub_module
from handfast_hub import workers as workers_module
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.workers import LARGEST_BATCH, Workers, threads_here

BOTH = pytest.mark.parametrize("count", [0, 2], ids=["on the loop", "two threads"])


@BOTH
async def test_a_job_gives_what_it_returns_or_raises(count: int) -> None:
    workers = Workers(count)
    assert await workers.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)
    assert await workers.run(lambda: 8) == 8
    await workers.close()


@BOTH
async def test_what_waits_is_finished_before_the_end(count: int) -> None:
    workers = Workers(count)
    heard: list[int] = []
    for number in range(3 * LARGEST_BATCH):
        workers.submit(lambda number=number: number, lambda value, error: heard.append(value))  # type: ignore[misc]
    await workers.close()
    await workers.close()
    # What threads give is heard in the loop's next turn.
    await until(lambda: len(heard) == 3 * LARGEST_BATCH)
    assert sorted(heard) == list(range(3 * LARGEST_BATCH))


async def test_on_the_loop_jobs_keep_their_order_and_others_have_their_turn_between_batches() -> None:
    workers = Workers(0)
    heard: list[str] = []
    for number in range(2 * LARGEST_BATCH):
        workers.submit(lambda: None, lambda value, error, n=number: heard.append(f"{n}"))  # type: ignore[misc]

    async def other() -> None:
        heard.append("other")

    task = asyncio.create_task(other())
    await workers.run(lambda: None)
    await task
    assert [each for each in heard if each != "other"] == [f"{n}" for n in range(2 * LARGEST_BATCH)]
    assert heard.index("other") < 2 * LARGEST_BATCH
    await workers.close()


async def test_a_job_that_brings_another_one_when_it_is_done_is_followed_by_it() -> None:
    workers = Workers(0)
    done = asyncio.Event()
    workers.submit(lambda: 1, lambda *_: workers.submit(lambda: 2, lambda *_: done.set()))
    async with asyncio.timeout(60):
        await done.wait()
    await workers.close()


async def test_an_answer_that_nobody_can_hear_stops_no_other() -> None:
    workers = Workers(0)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    workers.submit(lambda: 1, lambda *_: 1 // 0)
    for _ in range(LARGEST_BATCH):
        workers.submit(lambda: 1, lambda *_: None)
    async with asyncio.timeout(60):
        assert await workers.run(lambda: 3) == 3
    assert complaints
    await workers.close()


def test_one_processor_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for mine, threads in ({3}, 0), ({0, 1}, 2), (set(range(8)), 8):
        monkeypatch.setattr(
            workers_module.os, "sched_getaffinity", lambda pid, mine=mine: mine, raising=False
        )
        assert threads_here() == threads


@pytest.fixture
def one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "threads_here", lambda: 0)


async def test_a_fleet_onboards_where_the_hub_has_one_processor(
    one_processor: None, hub: MemoryHub, swarm: Fleet
) -> None:
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker-")]
    async with swarm(devices=40, seed=3) as fleet:
        await fleet.onboard(within=600)
        assert fleet.count("active") == 40
