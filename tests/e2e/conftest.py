"""Fixtures of more than one file here."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from emulated_board import World
from quantum_module import QuantumModule


@pytest.fixture
def module() -> Iterator[QuantumModule]:
    """A quantum module that is well."""
    source = QuantumModule()
    yield source
    source.close()


@pytest.fixture
async def emulated(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A hub behind Mosquitto, and the emulated boards of the test; its parameter is the suite."""
    made = World(tmp_path / "world", getattr(request, "param", -22))
    await made.start()
    yield made
    await made.close()
