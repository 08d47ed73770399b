"""What the tests of boards need under pytest alone; under MicroPython each file has a process of its own."""

import sys
from collections.abc import Iterator

import pytest


def _ours(name: str) -> bool:
    return name.partition(".")[0] in ("handfast", "handfast_micropython")


@pytest.fixture(autouse=True)
def _every_module_is_there_once() -> Iterator[None]:
    """A board lets go of modules (phases.py), and the next import makes others with other classes in them;
    the tests that follow in this process hold those from before."""
    before = {name: module for name, module in sys.modules.items() if _ours(name)}
    yield
    for name in [name for name in sys.modules if _ours(name)]:
        if sys.modules[name] is not before.get(name):
            _put(name, None)
    for name, module in before.items():
        if name not in sys.modules:
            _put(name, module)


def _put(name: str, module: object) -> None:
    """Bind a module to its name, or its name to nothing, where imports look for it."""
    package, _, last = name.rpartition(".")
    if module is None:
        del sys.modules[name]
    else:
        sys.modules[name] = module  # type: ignore[assignment]
    if package in sys.modules:
        if module is not None:
            setattr(sys.modules[package], last, module)
        elif hasattr(sys.modules[package], last):
            delattr(sys.modules[package], last)
