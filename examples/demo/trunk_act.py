"""The second act: two hubs, a SIMULATED quantum link between them, and Eve, who listens to it.

Devices talk all the time: an alarm, a telemetry and a bulk reading each, round after round. What becomes of
each class is said every few seconds, and in the end every reading is counted.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

from story import Story, console, eventually
from trunk_cast import DEVICES, Cast
from wire import Child

HERE = Path(__file__).parent
# Seconds between two lines about how everything is.
LOOK = 3.0

PROLOGUE = f"""\
Berlin and Vienna are hubs, each with a broker; Berlin has {DEVICES} devices. The keys
of the trunk between them come from quantum key distribution and from ML-KEM.
There is no quantum hardware here: 10 km of fibre, lasers, detectors and Eve are
SIMULATED, in processes of their own. What devices send crosses as one of three:

  alarm      secret   only under a quantum key that nobody listened to; it waits
  telemetry  normal   without such a key under ML-KEM alone, marked degraded
  bulk       bulk     always under ML-KEM alone: it never spends a quantum key
"""
GOES, WAITS = "all three go", "secret waits, normal degraded"


async def act() -> bool:
    """Tell it; whether all of it happened."""
    story = Story("Two hubs, a simulated quantum link, and Eve")
    console.print(PROLOGUE)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="handfast-demo-")))

        async def child(program: str, *arguments: object, log: Path | None = None) -> Child:
            started = await Child.start(HERE / program, *arguments, log=log)
            stack.push_async_callback(started.stop)
            return started

        log = folder / "qkd.log"
        cast = Cast(
            folder,
            qkd=await child("qkd_side.py", folder, log=log),
            berlin=await child("trunk_hub.py", folder, "berlin"),
            vienna=await child("trunk_hub.py", folder, "vienna"),
            fleet=await child("fleet_side.py"),
        )
        try:
            await _tell(story, cast)
        except* RuntimeError as errors:
            story.break_off(errors)
        if not story.good:
            console.print(f"What the simulated QKD installation said last:\n{log.read_text()[-2000:]}")
    return story.end()


async def _tell(story: Story, cast: Cast) -> None:
    async def meet() -> str:
        onboarded = await cast.start()
        up = await eventually(cast.up, True)
        return f"{onboarded} onboard, trunk {'up' if up else 'down'}"

    async def classes(expected: str) -> object:
        """What becomes of a round of readings that is sent from now on."""
        await eventually(cast.under_qkd, expected == GOES)
        number = await cast.next_round()
        return await eventually(lambda: cast.fate(number), expected)

    async def light() -> str:
        console.print("  $ handfast-kme serve network.toml")
        await cast.qkd.call("serve")
        return "secret open" if await eventually(cast.secret_open, True) else "secret closed"

    async def turn(dial: float, expected: str) -> object:
        attack = "intercept" if dial else "none"
        console.print(f"  $ handfast-kme attack network.toml fibre {attack} {dial:g}")
        await cast.qkd.call("attack", name=attack, dial=dial)
        return await eventually(cast.level, expected)

    async def void() -> str:
        voided = (await cast.qkd.call("look"))["voided"]
        console.print(f"  {voided} keys that she may know are void at both ends")
        closed = await eventually(cast.secret_open, False) is False
        return f"{'void' if voided else 'kept'}, secret {'closed' if closed else 'open'}"

    async def gone() -> object:
        console.print("  the alarm ends after three clean blocks of light in a row")
        return await turn(0.0, "clear")

    async def everything() -> object:
        await cast.hush()
        return await eventually(cast.missing, 0)

    await story.step("hubs meet, devices onboard", f"{DEVICES} onboard, trunk up", meet())
    async with _meanwhile(cast.talk(), _narrate(cast)):
        await story.step("there is no quantum key yet", WAITS, classes(WAITS))
        await story.step("the simulated link makes keys", "secret open", light())
        await story.step("what waited goes too", GOES, classes(GOES))
        await story.step("Eve listens to a tenth of the light", "warn", turn(0.1, "warn"))
        await story.step("a warning changes nothing", GOES, classes(GOES))
        await story.step("Eve listens to three tenths", "alarm", turn(0.3, "alarm"))
        await story.step("keys that she may know", "void, secret closed", void())
        await story.step("what goes on under alarm", WAITS, classes(WAITS))
        await story.step("Vienna commands a device of Berlin", "done", cast.order())
        await story.step("Eve is gone", "clear", gone())
        await story.step("what waited goes too", GOES, classes(GOES))
        await story.step("readings that never came", 0, everything())
        await story.step("readings that came twice", 0, cast.repeated())
        await story.step("secret ones without a quantum key", 0, cast.betrayed())
        await story.step("quantum keys spent on bulk", "none", cast.bulk_keys())


@contextlib.asynccontextmanager
async def _meanwhile(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Both go on while the story does; one that fails ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()


async def _narrate(cast: Cast) -> None:
    while True:
        # A process that died is for the steps to tell.
        with contextlib.suppress(RuntimeError):
            console.print(f"  [dim]{await cast.line()}[/dim]")
        await asyncio.sleep(LOOK)
