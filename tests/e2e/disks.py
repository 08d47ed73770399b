"""A small disk of its own for a test: one that can be full, read-only, and well again."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = 4096


class Disk:
    """A tmpfs at `path`."""

    def __init__(self, path: Path, kibibytes: int) -> None:
        self.path = path
        self._kibibytes = kibibytes
        self._filler = path / "filler"

    def fill(self, spare: int = 0) -> None:
        """Leave room for `spare` pages of 4 KiB."""
        self._filler.unlink(missing_ok=True)
        with self._filler.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            for _ in range(self._kibibytes * 1024 // PAGE + 1):
                filler.write(bytes(PAGE))
        os.truncate(self._filler, max(0, self._filler.stat().st_size - spare * PAGE))

    @contextlib.contextmanager
    def full(self, spare: int = 0) -> Iterator[None]:
        """It is full within the block."""
        self.fill(spare)
        try:
            yield
        finally:
            self._filler.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing can be written within the block."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True)


@contextlib.contextmanager
def small_disk(path: Path, kibibytes: int = 4096) -> Iterator[Disk]:
    """A disk of that size at the new folder `path`; the test is skipped where nothing can be mounted."""
    path.mkdir(parents=True)
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a disk that is really full needs root, who may mount a tmpfs")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield Disk(path, kibibytes)
    finally:
        # Lazily: whoever still holds a file of it shall not keep the folder.
        subprocess.run(["umount", "-l", str(path)], check=True)
