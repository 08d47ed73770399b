"""What all tests begin with.

`pytest --record` keeps the answer of every KEM and signature call, for the run under MicroPython.
Properties are judged by what comes out, not by how busy the machine is, and in CI always alike;
`make soak` and `--hypothesis-seed` ask for new inputs.
"""

import os
import signal
from pathlib import Path

import host_crypto
import pytest
from hypothesis import HealthCheck, settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="keep the answers of crypto calls (make record)")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background jobs ignore Ctrl-C, and so would the programs that tests end with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile(
        "handfast",
        deadline=None,
        derandomize="CI" in os.environ and config.getoption("--hypothesis-seed") is None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("handfast")
    if config.getoption("--record"):
        folder = Path(host_crypto.REPLAY)
        folder.mkdir(exist_ok=True)
        host_crypto.crypto.keep = lambda name, answer: (folder / name).write_bytes(answer)
