"""The hub as a process: logs, signals, and a clean end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO, cast

import structlog

from handfast_hub.config import HubConfig
from handfast_hub.hub import Hub


def configure_logs(config: HubConfig) -> None:
    """Log to standard error as `[log]` says; nothing secret is ever given to a log."""
    level = logging.getLevelNamesMapping()[config.log.level.upper()]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")
    last: list[structlog.typing.Processor]
    if config.log.format == "json":
        # The traceback as text: files, lines and the error, no local variable.
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Where rich is installed the default shows local variables with a traceback, secrets too.
        console = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
            exception_formatter=structlog.dev.plain_traceback,
        )
        last = [console]
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            *last,
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Patient(sys.stderr))),
        cache_logger_on_first_use=True,
    )


class _Patient:
    """Standard error where a line may be lost: a full disk under the log is no reason to stop a hub."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what can be written."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def calm_collector() -> None:
    """Let Python look for cycles of dead objects less often; call it when everything is loaded.

    Reference counting frees nearly everything here. By default every 700 new objects make Python
    look at the handshakes under way again, for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


async def serve(config: HubConfig, ready: Callable[[Hub], None] | None = None) -> None:
    """Run a hub until SIGINT or SIGTERM, or until it cannot go on; then raises why.

    `ready(hub)` is called when devices can onboard.
    """
    configure_logs(config)
    hub = Hub(config)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # not every loop has signals
            loop.add_signal_handler(number, ended.set)
    async with hub:
        calm_collector()
        if ready is not None:
            ready(hub)
        failure = asyncio.create_task(hub.run())
        stop = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait((failure, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            failure.cancel()
            results = await asyncio.gather(failure, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]
