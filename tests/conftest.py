"""`pytest --record`: keep the answer of every KEM and signature call that tests/core and tests/shell make."""

from pathlib import Path

import host_crypto
import pytest

_kept: dict[str, bytes] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record", action="store_true", help="record crypto calls for the run under MicroPython"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record"):
        host_crypto.crypto.keep = _kept.__setitem__


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not session.config.getoption("--record") or exitstatus != pytest.ExitCode.OK:
        return
    folder = Path(host_crypto.REPLAY)
    folder.mkdir(exist_ok=True)
    for name, answer in _kept.items():
        (folder / name).write_bytes(answer)
