"""`pytest --record`: keep the answer of every KEM and signature call, for the run under MicroPython."""

from pathlib import Path

import host_crypto
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="keep the answers of crypto calls (make record)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record"):
        folder = Path(host_crypto.REPLAY)
        folder.mkdir(exist_ok=True)
        host_crypto.crypto.keep = lambda name, answer: (folder / name).write_bytes(answer)
