"""Looking into a keystore that another process has in use."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from handfast.core.codes import encode_hub_code
from handfast.core.errors import KeystoreError, LocalError
from handfast_cpython import keystore_view
from handfast_cpython.crypto import Crypto
from handfast_cpython.keystore import Keystore
from handfast_cpython.keystore_view import KeystoreView

WRITER = """
import sys
from handfast_cpython.keystore import Keystore
with Keystore(sys.argv[1]) as keystore:
    keystore.save("session", b"0" * 300)
    print("writing", flush=True)
    for number in range(1, 100_000):
        keystore.save("session", b"%d" % number * 300)
"""
PATIENCE = 60.0


@contextmanager
def child(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended here."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_every_read_beside_a_writer_is_a_whole_value_and_none_is_older_than_the_one_before(
    tmp_path: Path,
) -> None:
    with child(sys.executable, "-c", WRITER, str(tmp_path / "keys")) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        with KeystoreView(tmp_path / "keys") as view:
            assert view.holder() == (writer.pid,)
            seen, reads, end = [0], 0, time.monotonic() + PATIENCE
            while len(set(seen)) < 20 and time.monotonic() < end:
                value = view.load("session")
                assert value is not None
                number = value[: len(value) // 300]
                assert value == number * 300
                seen.append(int(number))
                reads += 1
            assert len(set(seen)) == 20
            assert seen == sorted(seen)
            writer.kill()
            writer.wait(PATIENCE)
            # Nobody has it, whatever the file of the lock still says.
            assert view.holder() is None
            assert view.load("session") is not None


def test_a_value_that_stays_damaged_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore_view, "PAUSE_SECONDS", 0.0)
    with Keystore(tmp_path / "keys") as keystore:
        keystore.save("session", b"value")
        for slot in (0, 1):
            (tmp_path / "keys" / f"session.{slot}").write_bytes(b"torn")
        with KeystoreView(tmp_path / "keys") as view, pytest.raises(KeystoreError, match="damaged"):
            view.load("session")


def test_a_view_makes_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError):
        KeystoreView(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    with KeystoreView(tmp_path) as view:
        assert view.holder() is None
        assert view.load("session") is None
        for change in (lambda: view.save("session", b"x"), lambda: view.erase("session")):
            with pytest.raises(LocalError):
                change()
    assert list(tmp_path.iterdir()) == []


def test_a_device_starts_however_often_somebody_looks(tmp_path: Path) -> None:
    Keystore(tmp_path).close()
    ended = threading.Event()

    def look() -> None:
        with KeystoreView(tmp_path) as view:
            while not ended.is_set():
                view.holder()
                time.sleep(0.0005)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(100):
            Keystore(tmp_path).close()
    finally:
        ended.set()
        looker.join()


def test_handfast_status_works_beside_a_device_that_runs_and_names_its_process(tmp_path: Path) -> None:
    def handfast(*words: str) -> list[str]:
        program = "from handfast_cpython.cli import app; app()"
        return [sys.executable, "-c", program, *words, "--home", str(tmp_path / "device")]

    def status() -> dict[str, object]:
        done = subprocess.run(handfast("status", "--json"), capture_output=True, text=True, check=True)
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    code = encode_hub_code(Crypto(), bytes(range(32)))
    init = handfast("init", "--hub", code, "--broker", "mqtt://127.0.0.1:1")
    subprocess.run(init, check=True, capture_output=True)
    before = status()
    assert (before["running"], before["pid"], before["state"]) == (False, None, "factory")
    # There is no broker, so it waits and keeps its keystore.
    with child(*handfast("onboard")) as device:
        end = time.monotonic() + PATIENCE
        while (now := status())["pid"] is None:
            assert device.poll() is None
            assert time.monotonic() < end
        assert now == {**before, "running": True, "pid": device.pid}
        text = subprocess.run(handfast("status"), capture_output=True, text=True, check=True).stdout
        assert f"pid           {device.pid}\n" in text
        device.send_signal(signal.SIGINT)
        device.wait(PATIENCE)
    assert status() == before
