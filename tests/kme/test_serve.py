"""`handfast-kme serve` without options: all processes, and none left after Ctrl-C or a death."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from installation import client, installed, until

from handfast.core.errors import Error


@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM", "a child dies"])
async def test_serve_runs_everything_and_leaves_nothing(tmp_path: Path, end: str) -> None:
    network, file = installed(tmp_path)
    command = [sys.executable, "-m", "handfast_kme", "serve", str(file)]
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220
    children: list[psutil.Process] = []
    try:
        async with client(network, "hub-berlin", tmp_path / "a") as berlin:

            async def stored() -> Any:
                with contextlib.suppress(Error):
                    return (await berlin.status("hub-vienna")).stored_key_count
                return None

            await until(stored)
        children = psutil.Process(serving.pid).children(recursive=True)
        assert len(children) == 3
        if end == "a child dies":
            children[0].kill()
        else:
            serving.send_signal(signal.SIGINT if end == "Ctrl-C" else signal.SIGTERM)
        assert serving.wait(60) == {"Ctrl-C": 130, "SIGTERM": 0, "a child dies": 5}[end]
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []
    finally:
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if serving.poll() is None:
            serving.kill()
            serving.wait()
