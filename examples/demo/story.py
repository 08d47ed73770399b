"""What every act of the demo is told with: steps, what came of each, and the table at its end."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.table import Table

# How long a step may wait for what it expects, in seconds: far more than it takes on an idle machine.
PATIENCE = 120.0

console = Console(highlight=False)


class Story:
    """The steps, what came of each, and whether all went well."""

    def __init__(self, title: str) -> None:
        self._table = Table("step", "expected", "came", "seconds", title=title)
        self.good = True
        console.print(f"\n[bold]{title}[/bold]")

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

    def break_off(self, why: BaseExceptionGroup[RuntimeError]) -> None:
        """Something beside the steps failed, and the rest cannot be told."""
        self.good = False
        console.print(f"[red]the story breaks off: {why.exceptions[0]}[/red]")

    def end(self) -> bool:
        """Show the table; whether all of it happened."""
        console.print(self._table)
        console.print("All of it happened." if self.good else "[red]Not all of it happened.[/red]")
        return self.good


async def eventually(ask: Callable[[], Awaitable[object]], expected: object) -> object:
    """Ask until the answer is the expected one, or PATIENCE is over; the last answer."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = await ask()
        if answer == expected or time.monotonic() > end:
            return answer
        await asyncio.sleep(0.1)
