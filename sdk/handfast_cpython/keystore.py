"""A keystore in a directory: named values that survive a power cut at any moment.

Each name has two slots, `name.0` and `name.1`, each a whole record:

    "hfks" || version 1 || kind 1 || counter 8 || length 4 || value || first 16 bytes of SHA-256 of it all

`save` writes the worse slot and syncs it, then the other one. So one slot is whole at every moment,
the greater counter wins, a slot that rots later has a copy, and the value that was replaced does
not stay behind. A slot that is torn where its twin was never made is a first write that was cut:
there was no value and there is none. `erase` saves an empty record of another kind, then unlinks.

Overwriting is all that a file system lets us do to forget; copies in journals, snapshots and worn
flash blocks are beyond reach.
"""

import errno
import fcntl
import hashlib
import os
import re
import stat
import struct
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from handfast.core.errors import KeystoreError, LocalError

MAGIC = b"hfks"
VERSION = 1
KIND_VALUE = 0
KIND_ERASED = 1
CHECK_LENGTH = 16
_LOCK_TRIES = 10
_LOCK_PAUSE = 0.02
_HEADER = struct.Struct(">4sBBQI")
_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_SLOT = re.compile(r"[a-z0-9_-]{1,40}\.[01]")


class Slot(NamedTuple):
    """What one slot file holds. `counter` is 0 when the file is missing and -1 when it is torn: a torn
    slot is written before a missing one, or a second cut would leave two torn ones."""

    counter: int
    value: bytes | None

    def __repr__(self) -> str:
        return f"<Slot {self.counter}, secret>"


_MISSING = Slot(0, None)
_TORN = Slot(-1, None)


def encode_slot(kind: int, counter: int, value: bytes) -> bytes:
    """The bytes of one slot file."""
    record = _HEADER.pack(MAGIC, VERSION, kind, counter, len(value)) + value
    return record + hashlib.sha256(record).digest()[:CHECK_LENGTH]


def decode_slot(record: bytes) -> Slot:
    """What the bytes of a slot file say: torn unless every byte is right."""
    if len(record) < _HEADER.size + CHECK_LENGTH:
        return _TORN
    magic, version, kind, counter, length = _HEADER.unpack_from(record)
    end = len(record) - CHECK_LENGTH
    whole = hashlib.sha256(record[:end]).digest()[:CHECK_LENGTH] == record[end:]
    known = magic == MAGIC and version == VERSION and kind in (KIND_VALUE, KIND_ERASED)
    if not (whole and known) or length != end - _HEADER.size or counter < 1:
        return _TORN
    return Slot(counter, None if kind == KIND_ERASED else record[_HEADER.size : end])


class Keystore:
    """The Keystore port over a directory that only its owner may enter. One process at a time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or make the directory and lock it; KeystoreError says in one sentence what hinders."""
        self._path = Path(path)
        self._mutex = threading.RLock()
        self._directory = self._lock = -1
        # Slots whose last write failed: what they say may be in memory and not on the disk.
        self._doubtful: set[str] = set()
        try:
            self._make_directory()
            self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
            self._take_lock()
            self._check_files()
        except OSError as error:
            self.close()
            raise self._failure("open", error) from error
        except KeystoreError:
            self.close()
            raise

    def load(self, name: str) -> bytes | None:
        """The value last saved under `name` (1 to 40 of a-z 0-9 _ -), or None."""
        with self._mutex:
            try:
                return _newest(self._slots(name)).value
            except OSError as error:
                raise self._failure("read", error) from error

    def save(self, name: str, value: bytes) -> None:
        """Replace `name`. After a KeystoreError, as after a power cut, the old or the new value is there."""
        with self._mutex:
            self._write(name, KIND_VALUE, value)

    def erase(self, name: str) -> None:
        """Forget `name`; nothing happens when there is none."""
        with self._mutex:
            if self.load(name) is None:
                return
            self._write(name, KIND_ERASED, b"")
            try:
                for slot in (0, 1):
                    os.unlink(f"{name}.{slot}", dir_fd=self._directory)
                os.fsync(self._directory)
            except OSError as error:
                raise self._failure("write", error) from error

    def close(self) -> None:
        """Give up the lock; may be called twice."""
        for descriptor in (self._lock, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._directory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_directory(self) -> None:
        if self._path.is_dir():
            return
        self._path.mkdir(mode=0o700, parents=True)
        parent = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def _take_lock(self) -> None:
        # The file stays when the lock is given up: unlinking it would let two holders in.
        self._lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=self._directory)
        if not self._locked():
            holder = os.pread(self._lock, 200, 0).decode("utf-8", "replace").strip() or "another process"
            raise KeystoreError(
                f"the keystore {self._path} is in use by {holder}; stop it, or use another keystore"
            )
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"process {os.getpid()} ({_command()})\n".encode(), 0)

    def _locked(self) -> bool:
        """Take the lock; False when somebody has it and keeps it."""
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Perhaps a KeystoreView that looks who has it, and is gone in a moment.
                time.sleep(_LOCK_PAUSE)
            else:
                return True
        return False

    def _check_files(self) -> None:
        for name in self._checked_files():
            self._read(name, sync=True)
        os.fsync(self._directory)

    def _checked_files(self) -> list[str]:
        """The files of the slots, which nobody else may read."""
        self._check_mode(self._path, os.fstat(self._directory).st_mode, 0o700)
        names = [name for name in sorted(os.listdir(self._directory)) if _SLOT.fullmatch(name)]  # noqa: PTH208
        for name in names:
            mode = os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                raise KeystoreError(f"{self._path / name} is not a regular file; remove it")
            self._check_mode(self._path / name, mode, 0o600)
        return names

    def _check_mode(self, path: Path, mode: int, wanted: int) -> None:
        if mode & 0o077:
            raise KeystoreError(
                f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}); run: chmod {wanted:o} {path}"
            )

    def _slots(self, name: str) -> list[Slot]:
        """Both slots of `name`; KeystoreError when neither can be trusted."""
        if self._directory < 0:
            raise LocalError("the keystore was closed")
        if not _NAME.fullmatch(name):
            raise LocalError(f"{name!r} is no name for a value; use 1 to 40 of a-z 0-9 _ -")
        slots = [self._slot(f"{name}.{slot}") for slot in (0, 1)]
        if slots == [_TORN, _TORN]:
            raise KeystoreError(
                f"both copies of {name!r} in {self._path} are damaged; restore them from a backup, "
                "or reset the device and onboard it again"
            )
        return slots

    def _slot(self, file: str) -> Slot:
        record = self._read(file)
        if record is None:
            return _MISSING
        return _TORN if file in self._doubtful else decode_slot(record)

    def _read(self, file: str, sync: bool = False) -> bytes | None:
        """The bytes of a file, or None. `sync` when another process, since killed, may have written them."""
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as stream:
            record = stream.read()
            if sync:
                os.fsync(stream.fileno())
        if record[:4] == MAGIC and record[4:5] > bytes([VERSION]):
            raise KeystoreError(
                f"{self._path / file} is of keystore version {record[4]} and this handfast reads version "
                f"{VERSION}; use the handfast that wrote it"
            )
        return record

    def _write(self, name: str, kind: int, value: bytes) -> None:
        try:
            slots = self._slots(name)
            record = encode_slot(kind, _newest(slots).counter + 1, value)
            worse = 0 if slots[0].counter <= slots[1].counter else 1
            for slot in (worse, 1 - worse):
                self._write_slot(f"{name}.{slot}", record)
                if slots[slot] == _MISSING:
                    os.fsync(self._directory)
        except OSError as error:
            raise self._failure("write", error) from error

    def _write_slot(self, file: str, record: bytes) -> None:
        # Not truncated first: the blocks of the file are used again, so a disk that fills up cannot
        # stop a value of the same length from being replaced.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        self._doubtful.add(file)
        descriptor = os.open(file, flags, 0o600, dir_fd=self._directory)
        try:
            written = 0
            while written < len(record):
                written += os.write(descriptor, record[written:])
            os.ftruncate(descriptor, len(record))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._doubtful.discard(file)

    def _failure(self, verb: str, error: OSError) -> KeystoreError:
        place = f"the keystore {self._path}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return KeystoreError(f"the disk of {place} is full; free some space and try again")
        if error.errno == errno.EROFS:
            return KeystoreError(f"{place} lies on a read-only file system; mount it writable")
        if error.errno in (errno.EACCES, errno.EPERM):
            return KeystoreError(
                f"this user may not {verb} {place}; run as its owner or choose another directory"
            )
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return KeystoreError(f"{self._path} is not a directory; a keystore needs one of its own")
        return KeystoreError(f"could not {verb} {place}: {error.strerror or error}; check the disk")


def _newest(slots: list[Slot]) -> Slot:
    return max(slots, key=lambda slot: slot.counter)


def _command() -> str:
    """The program and its first word, never its options: one of them may be a token."""
    words = [Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"]
    if len(sys.argv) > 1 and re.fullmatch(r"[a-z-]{1,20}", sys.argv[1]) and not sys.argv[1].startswith("-"):
        words.append(sys.argv[1])
    return " ".join(words)
