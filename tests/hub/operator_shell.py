"""A prompt for `handfast-hub`: commands in this process or in one of their own, and devices to ask for."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import registry_world as world
from typer.testing import CliRunner

from handfast.core.codes import encode_claim_code
from handfast_cpython.terminal import DONE
from handfast_hub.cli import app
from handfast_hub.registry.registry import Registry

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join((str(ROOT / "sdk"), str(ROOT / "hub")))


class Shell:
    """A folder with a hub, and a prompt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "hub.toml"

    def type(self, *words: str, code: int = DONE) -> str:
        """What the command prints, errors included; it has to end with `code`."""
        result = CliRunner().invoke(app, ["--config", str(self.config), *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        text = result.stdout + result.stderr
        assert result.exit_code == code, text
        return text

    def json(self, *words: str) -> Any:
        """What the command prints with --json."""
        return json.loads(self.type(*words, "--json"))

    def one_sentence(self, *words: str, code: int) -> str:
        """The error of the command, which is one line and no traceback."""
        text = self.type(*words, code=code).strip()
        assert "\n" not in text, text
        return text.partition(": ")[2]


def claim(number: int) -> str:
    """The claim code of device `number`."""
    return encode_claim_code(world.crypto, world.credential(number).thumbprint)


async def onboarded(shell: Shell, number: int) -> bytes:
    """Onboard device `number`, which then says 21.5 C; its device_id."""
    from handfast_hub.config import load_config

    registry = await Registry.open(load_config(shell.config), world.crypto)
    await world.admit(registry, number)
    ring = await world.onboard(registry, number)
    record = world.Speaker(ring.device_id, number).record(0, 1, 1, b"21.5 C")
    await world.deliver(registry, ring, 1, record, b"21.5 C")
    await registry.close()
    device_id: bytes = ring.device_id
    return device_id


def handfast_hub(*words: str, **other: Any) -> "subprocess.Popen[str]":
    """The command as a process of its own."""
    program = "import sys; sys.argv[0] = 'handfast-hub'; from handfast_hub.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONPATH": SOURCES, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **other,
    )
