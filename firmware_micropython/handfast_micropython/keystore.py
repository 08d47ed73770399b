"""A keystore in the flash: named values that survive a power cut at any moment.

Each name has two slots, `name.0` and `name.1`, each a whole record, the same as on a CPython machine:

    "hfks" || version 1 || kind 1 || counter 8 || length 4 || value || first 16 bytes of SHA-256 of it all

`save` writes the worse slot, then the other one. So one slot is whole at every moment, the greater
counter wins, a slot that rots later has a copy, and the value that was replaced does not stay
behind. A slot that is torn where its twin was never made is a first write that was cut: there was
no value and there is none. `erase` saves an empty record of another kind, then removes the files.

Overwriting is all that a file system lets us do to forget; copies in worn flash blocks are beyond reach.
"""

import hashlib
import struct

from handfast.core.errors import KeystoreError, LocalError
from handfast_micropython.flash import FlashFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Folder(Protocol):
        """What FlashFolder is."""

        def read(self, name: str) -> "bytes | bytearray | None": ...
        def write(self, name: str, data: "bytes | bytearray") -> None: ...
        def remove(self, name: str) -> None: ...


# No name of a module: a board looks for `import handfast` in / first, and a folder of that name there would
# hide the package in /lib and the frozen one.
PATH = "/handfast-keys"
MAGIC = b"hfks"
VERSION = 1
KIND_VALUE = 0
KIND_ERASED = 1
CHECK_LENGTH = 16
MAX_NAME = 40
_HEADER = ">4sBBQI"
_HEADER_LENGTH = 18
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"
_FLASH_FULL = 28
_READ_ONLY = 30


class Slot:
    """What one slot file holds. `counter` is 0 when the file is missing and -1 when it is torn: a torn
    slot is written before a missing one, or a second cut would leave two torn ones."""

    def __init__(self, counter: int, value: "memoryview | None") -> None:
        self.counter = counter
        self.value = value


_MISSING = Slot(0, None)
_TORN = Slot(-1, None)


def encode_slot(kind: int, counter: int, value: bytes) -> bytearray:
    """The bytes of one slot file."""
    end = _HEADER_LENGTH + len(value)
    # One piece of memory: the value of two kilobytes is there once more and not three times.
    record = bytearray(end + CHECK_LENGTH)
    struct.pack_into(_HEADER, record, 0, MAGIC, VERSION, kind, counter, len(value))
    record[_HEADER_LENGTH:end] = value
    record[end:] = hashlib.sha256(memoryview(record)[:end]).digest()[:CHECK_LENGTH]
    return record


def decode_slot(record: "bytes | bytearray") -> Slot:
    """What the bytes of a slot file say: torn unless every byte is right."""
    if len(record) < _HEADER_LENGTH + CHECK_LENGTH:
        return _TORN
    magic, version, kind, counter, length = struct.unpack(_HEADER, record[:_HEADER_LENGTH])
    end = len(record) - CHECK_LENGTH
    whole = hashlib.sha256(memoryview(record)[:end]).digest()[:CHECK_LENGTH] == record[end:]
    known = magic == MAGIC and version == VERSION and kind in (KIND_VALUE, KIND_ERASED)
    if not (whole and known) or length != end - _HEADER_LENGTH or counter < 1:
        return _TORN
    return Slot(counter, None if kind == KIND_ERASED else memoryview(record)[_HEADER_LENGTH:end])


class Keystore:
    """The Keystore port over a folder of the flash. One program at a time."""

    def __init__(self, path: str = PATH, folder: "Folder | None" = None) -> None:
        """Open or make the folder `path`; `folder` stands in for the flash file system. KeystoreError."""
        self._path = path
        # Slots whose last write failed: what they say may be in memory and not in the flash.
        self._doubtful: "list[str]" = []
        self._open = True
        try:
            self._folder = FlashFolder(path) if folder is None else folder
        except OSError as error:
            raise self._failure("open", error)

    def load(self, name: str) -> "bytes | None":
        """The value last saved under `name` (1 to 40 of a-z 0-9 _ -), or None; KeystoreError."""
        try:
            counters, slot = self._slots(name)
            if counters[0] > counters[1]:
                # Read once more and not kept: a board has no room for two copies of two kilobytes.
                slot = _MISSING
                slot = self._slot("%s.0" % name)
                if slot.counter != counters[0]:
                    raise KeystoreError(
                        "%r in %s is another one at each look; check the flash" % (name, self._path)
                    )
            return None if slot.value is None else bytes(slot.value)
        except OSError as error:
            raise self._failure("read", error)

    def save(self, name: str, value: bytes) -> None:
        """Replace `name`. After a KeystoreError, as after a power cut, the old or the new value is there."""
        self._write(name, KIND_VALUE, value)

    def erase(self, name: str) -> None:
        """Forget `name`; nothing happens when there is none."""
        if self.load(name) is None:
            return
        self._write(name, KIND_ERASED, b"")
        try:
            for slot in (0, 1):
                self._folder.remove("%s.%d" % (name, slot))
        except OSError as error:
            raise self._failure("write", error)

    def close(self) -> None:
        """Nothing is read or written any more; may be called twice."""
        self._open = False

    def _slots(self, name: str) -> "tuple[list[int], Slot]":
        """The counters of both slots of `name`, and the second slot; KeystoreError when both are damaged."""
        if not self._open:
            raise LocalError("the keystore was closed")
        if not 1 <= len(name) <= MAX_NAME or not all(letter in _LETTERS for letter in name):
            raise LocalError("%r is no name for a value; use 1 to 40 of a-z 0-9 _ -" % name)
        first = self._slot("%s.0" % name).counter
        # After a save both are the same, and the one that was read last need not be read again.
        slot = self._slot("%s.1" % name)
        counters = [first, slot.counter]
        if counters == [_TORN.counter, _TORN.counter]:
            raise KeystoreError(
                "both copies of %r in %s are damaged; reset the device and onboard it again"
                % (name, self._path)
            )
        return counters, slot

    def _slot(self, file: str) -> Slot:
        record = self._folder.read(file)
        if record is None:
            return _MISSING
        if record[:4] == MAGIC and record[4:5] > bytes([VERSION]):
            raise KeystoreError(
                "%s/%s is of keystore version %d and this handfast reads version %d; use the firmware that "
                "wrote it" % (self._path, file, record[4], VERSION)
            )
        return _TORN if file in self._doubtful else decode_slot(record)

    def _write(self, name: str, kind: int, value: bytes) -> None:
        try:
            counters = self._slots(name)[0]
            record = encode_slot(kind, max(counters) + 1, value)
            worse = 0 if counters[0] <= counters[1] else 1
            for slot in (worse, 1 - worse):
                file = "%s.%d" % (name, slot)
                if file not in self._doubtful:
                    self._doubtful.append(file)
                self._folder.write(file, record)
                self._doubtful.remove(file)
        except OSError as error:
            raise self._failure("write", error)

    def _failure(self, verb: str, error: OSError) -> KeystoreError:
        if error.errno == _FLASH_FULL:
            return KeystoreError("the flash of the keystore %s is full; remove files" % self._path)
        if error.errno == _READ_ONLY:
            return KeystoreError("the keystore %s lies on a read-only file system" % self._path)
        return KeystoreError("could not %s the keystore %s: %s; check the flash" % (verb, self._path, error))
