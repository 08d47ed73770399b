"""`make demo`: a hub with its broker in one process, fifty devices in another, and what befalls them.

Everything is real but the hardware: the quantum sources are simulated. Exit code 0 only when
every step went as it should.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from wire import Child

HERE = Path(__file__).parent
DEVICES = 50
# How long a step may wait for what it expects, in seconds.
PATIENCE = 60.0

console = Console(highlight=False)


class Story:
    """The steps, what came of each, and whether all went well."""

    def __init__(self) -> None:
        self._table = Table("step", "expected", "came", "seconds", title="what happened")
        self.good = True

    async def step(self, title: str, expected: object, work: Awaitable[object]) -> None:
        """Do one step, say it, and note whether it gave what was expected."""
        console.print(f"[bold]{title}[/bold] …")
        started = time.monotonic()
        try:
            came = await work
        except (RuntimeError, TimeoutError) as error:
            came = str(error) or type(error).__name__
        fits = came == expected
        self.good = self.good and fits
        mark = "" if fits else " [red](wrong)[/red]"
        self._table.add_row(title, str(expected), f"{came}{mark}", f"{time.monotonic() - started:.1f}")

    def end(self) -> int:
        """Show the table; the exit code."""
        console.print(self._table)
        console.print("All of it happened." if self.good else "[red]Not all of it happened.[/red]")
        return 0 if self.good else 1


async def eventually(ask: Callable[[], Awaitable[object]], expected: object) -> object:
    """Ask until the answer is the expected one, or PATIENCE is over; the last answer."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = await ask()
        if answer == expected or time.monotonic() > end:
            return answer
        await asyncio.sleep(0.1)


async def tell(story: Story, hub: Child, fleet: Child) -> None:
    """The whole story."""
    start = await hub.call("start")
    tokens = await hub.call("tokens", count=DEVICES + 1)

    async def onboard() -> int:
        summary = await fleet.call("onboard", port=start["port"], code=start["code"], tokens=tokens[:DEVICES])
        console.print(
            f"  half of them within {summary['p50']:.1f} s, all but one in a hundred within "
            f"{summary['p99']:.1f} s"
        )
        return int(summary["onboarded"])

    async def telemetry(data: str) -> object:
        await fleet.call("telemetry", data=data)
        return await eventually(lambda: hub.call("heard", data=data), DEVICES)

    async def revoke() -> object:
        await hub.call("revoke", thumbprint=(await fleet.call("device", number=0))["thumbprint"])

        async def state() -> object:
            return (await fleet.call("states"))[0]

        return await eventually(state, "refused")

    async def after_revocation() -> object:
        await fleet.call("telemetry", data="after the revocation")
        return await eventually(lambda: hub.call("heard", data="after the revocation"), DEVICES - 1)

    async def stuck() -> object:
        said = await fleet.call("stuck_source")
        console.print(f"  it says: {said}")
        return "no key" if said else "a key"

    async def replay() -> object:
        before = await hub.call("refused_records")
        device_id = await fleet.call("replay", token=tokens[DEVICES])
        refused = await eventually(lambda: hub.call("refused_records"), before + 1) == before + 1
        heard = await eventually(lambda: hub.call("readings", device_id=device_id), 1)
        return "taken once" if refused and heard == 1 else f"refused: {refused}, heard: {heard}"

    async def used_token() -> object:
        said = await fleet.call("used_token", token=tokens[1])
        console.print(f"  it says: {said}")
        return "refused" if said else "admitted"

    async def forged_token() -> object:
        before = await hub.call("shut_gates")
        state = await fleet.call("forged_token", token=tokens[2])
        silent = state == "trying" and await hub.call("shut_gates") > before
        return "silence" if silent else f"the device is {state}"

    async def drop() -> object:
        # The revoked device may still be there: it has two seconds to hear that it was revoked.
        return "all" if await hub.call("drop_everybody") >= DEVICES - 1 else "some"

    async def come_back() -> object:
        await fleet.call("telemetry", data="back again")
        return await eventually(lambda: hub.call("heard", data="back again"), DEVICES - 1)

    await story.step(f"{DEVICES} devices make their keys and onboard", DEVICES, onboard())
    await story.step("all send telemetry", DEVICES, telemetry("21.5 C"))
    await story.step("all carry out a command", DEVICES, hub.call("command", data="blink"))
    await story.step("one is revoked and learns of it", "refused", revoke())
    await story.step("only the others are heard", DEVICES - 1, after_revocation())
    await story.step("one has a stuck quantum source", "no key", stuck())
    await story.step("one sends a record twice", "taken once", replay())
    await story.step("one presents a used token", "refused", used_token())
    await story.step("one forges a token", "silence", forged_token())
    await story.step("the broker drops everybody", "all", drop())
    await story.step("all come back and are heard", DEVICES - 1, come_back())


async def main() -> int:
    """Tell the story; the exit code."""
    story = Story()
    hub, fleet = await Child.start(HERE / "hub_side.py"), await Child.start(HERE / "fleet_side.py")
    try:
        await tell(story, hub, fleet)
    finally:
        await fleet.stop()
        await hub.stop()
    return story.end()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
