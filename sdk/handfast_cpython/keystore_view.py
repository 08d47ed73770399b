"""Looking into a keystore that a device has in use: reads without the lock, and says who holds it.

A writer replaces one slot of a value and then the other, so a reader always finds one that is whole,
unless both were written while it looked from the first to the second: then it looks again.
"""

import contextlib
import fcntl
import os
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

from handfast.core.errors import KeystoreError, LocalError
from handfast_cpython.keystore import Keystore

# A value that cannot be read now is read again so often, after so many seconds: a writer needs a few
# milliseconds, mostly for the disk.
TRIES = 50
PAUSE_SECONDS = 0.01
_HOLDER = re.compile(r"process (\d+)")


class Holder(NamedTuple):
    """The process that has the keystore in use; `pid` is None when it has not yet said its number."""

    pid: int | None


class KeystoreView(Keystore):
    """A Keystore to read from, beside a process that writes. Makes nothing, changes nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the directory; KeystoreError when there is none, or when it is not this user's alone."""
        self._path = Path(path)
        self._mutex = threading.RLock()
        self._directory = self._lock = -1
        self._doubtful = set()
        try:
            self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            # A value may be erased while we look.
            with contextlib.suppress(FileNotFoundError):
                self._checked_files()
        except OSError as error:
            self.close()
            raise self._failure("open", error) from error
        except KeystoreError:
            self.close()
            raise

    def load(self, name: str) -> bytes | None:
        """The value last saved under `name`, or None; KeystoreError when it stays unreadable."""
        for _ in range(TRIES - 1):
            try:
                return super().load(name)
            except KeystoreError:
                time.sleep(PAUSE_SECONDS)
        return super().load(name)

    def save(self, name: str, value: bytes) -> None:
        """LocalError: a view changes nothing."""
        raise LocalError("this keystore was opened to be read")

    def erase(self, name: str) -> None:
        """LocalError: a view changes nothing."""
        raise LocalError("this keystore was opened to be read")

    def holder(self) -> Holder | None:
        """Who has the keystore in use, None when nobody has."""
        try:
            descriptor = os.open("lock", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure("read", error) from error
        try:
            # Closing gives it back at once; a device that starts in this moment tries again.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            said = _HOLDER.match(os.pread(descriptor, 200, 0).decode("utf-8", "replace"))
            return Holder(None if said is None else int(said[1]))
        else:
            return None
        finally:
            os.close(descriptor)
