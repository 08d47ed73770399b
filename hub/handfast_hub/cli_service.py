"""`handfast-hub serve`: run the hub until it is told to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import typer

from handfast_cpython.terminal import run
from handfast_hub.cli_options import options

if TYPE_CHECKING:
    from handfast_hub.config import HubConfig


def add_to(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    app.command()(serve)


def serve(context: typer.Context) -> None:
    """Run the hub. Ctrl-C or SIGTERM ends it after what is under way is answered."""
    config = options(context).load()
    _write_log(config.log.level, config.log.format)
    run(_serve(config))


def _write_log(level: str, form: str) -> None:
    """Everything that the hub has to say goes to standard error, at once."""
    import structlog

    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=number, stream=sys.stderr, format="%(message)s")
    last: structlog.typing.Processor
    if form == "json":
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            last,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


async def _serve(config: "HubConfig") -> None:
    from handfast_hub.hub import Hub

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with Hub(config) as hub:
        failed = asyncio.create_task(hub.run())
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait((failed, stopped), return_when=asyncio.FIRST_COMPLETED)
            if failed in done:
                failed.result()
        finally:
            for task in (failed, stopped):
                task.cancel()
            await asyncio.gather(failed, stopped, return_exceptions=True)
