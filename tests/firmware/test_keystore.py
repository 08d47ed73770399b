"""The keystore of a board: power cut at every write, faults of the flash, and real files."""

import os

from refusal import refused

from handfast.core.errors import KeystoreError, LocalError
from handfast_micropython import flash
from handfast_micropython import keystore as module
from handfast_micropython.flash import FlashFolder
from handfast_micropython.keystore import KIND_VALUE, Keystore, decode_slot, encode_slot


class PowerCut(BaseException):
    """The power is gone."""


class CutFolder:
    """Files in memory. The power goes at step `cut`; every write and every removal has five steps."""

    # What a file is when the power goes: before, emptied, half written, all but a byte, done.
    STEPS = 5

    def __init__(self, files: "dict[str, bytes]", cut: int = -1) -> None:
        self.files = files
        self.cut = cut

    def read(self, name: str) -> "bytes | None":
        """The file."""
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Write until the power goes."""
        if 0 <= self.cut < self.STEPS:
            if self.cut:
                self.files[name] = (b"", data[: len(data) // 2], data[:-1], data)[self.cut - 1]
            raise PowerCut
        self.cut -= self.STEPS
        self.files[name] = data

    def remove(self, name: str) -> None:
        """Remove, or not, when the power goes."""
        if 0 <= self.cut < self.STEPS:
            if self.cut >= self.STEPS // 2:
                self.files.pop(name, None)
            raise PowerCut
        self.cut -= self.STEPS
        self.files.pop(name, None)


def cut_everywhere(files: "dict[str, bytes]", work: "object") -> "list[dict[str, bytes]]":
    """What lies in the flash after `work` was cut at each of its steps, and last after it was not."""
    left = []
    cut = 0
    while True:
        after = dict(files)
        try:
            work(Keystore("flash", CutFolder(after, cut)))
        except PowerCut:
            left.append(after)
            cut += 1
        else:
            left.append(after)
            return left


def loaded(files: "dict[str, bytes]") -> "bytes | None":
    """What a new start finds."""
    return Keystore("flash", CutFolder(files)).load("root")


def test_a_power_cut_at_every_write_leaves_the_old_or_the_new_value() -> None:
    start = {}
    Keystore("flash", CutFolder(start)).save("root", b"the old value")
    for before, old in (({}, None), (start, b"the old value")):
        ends = cut_everywhere(before, lambda keystore: keystore.save("root", b"a new one"))
        assert len(ends) == 2 * CutFolder.STEPS + 1
        assert {loaded(files) for files in ends} == {old, b"a new one"}
        assert loaded(ends[-1]) == b"a new one"


def test_a_second_cut_while_the_first_one_is_repaired_loses_nothing() -> None:
    start = {}
    Keystore("flash", CutFolder(start)).save("root", b"one")
    for first in cut_everywhere(start, lambda keystore: keystore.save("root", b"two")):
        old = loaded(first)
        for second in cut_everywhere(first, lambda keystore: keystore.save("root", b"three")):
            assert loaded(second) in (old, b"three")
            Keystore("flash", CutFolder(second)).save("root", b"four")
            assert loaded(second) == b"four"


def test_a_power_cut_in_an_erase_leaves_the_value_or_nothing() -> None:
    start = {}
    Keystore("flash", CutFolder(start)).save("root", b"value")
    ends = cut_everywhere(start, lambda keystore: keystore.erase("root"))
    assert {loaded(files) for files in ends} == {None, b"value"}
    assert ends[-1] == {}
    for files in ends:
        Keystore("flash", CutFolder(files)).save("root", b"again")
        assert loaded(files) == b"again"


def test_a_replaced_value_is_in_no_slot_any_more() -> None:
    files = {}
    keystore = Keystore("flash", CutFolder(files))
    keystore.save("root", b"an old secret")
    keystore.save("root", b"new")
    assert len(files) == 2 and not [record for record in files.values() if b"old" in record]


def test_one_rotten_copy_does_no_harm_and_two_are_an_error() -> None:
    for slot in ("root.0", "root.1"):
        files = {}
        keystore = Keystore("flash", CutFolder(files))
        keystore.save("root", b"value")
        for at in range(len(files[slot])):
            whole = files[slot]
            files[slot] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            if at != len(module.MAGIC):
                assert keystore.load("root") == b"value", at
            files[slot] = whole
    files["root.0"] = files["root.1"] = b"garbage"
    assert "both copies" in refused(KeystoreError, keystore.load, "root").detail
    assert "both copies" in refused(KeystoreError, keystore.save, "root", b"").detail


def test_a_value_that_is_damaged_between_two_looks_is_an_error_and_not_a_missing_one() -> None:
    files = {}
    folder = CutFolder(files)
    keystore = Keystore("flash", folder)
    keystore.save("root", b"old")
    old = files["root.1"]
    keystore.save("root", b"value")
    # The power was cut between the slots: the first one is newer, and it is read once more.
    files["root.1"] = old
    whole, looks = folder.read, []

    def failing(name: str) -> "bytes | None":
        looks.append(name)
        return whole(name) if len(looks) < 3 else b"garbage"

    folder.read = failing
    assert "at each look" in refused(KeystoreError, Keystore("flash", folder).load, "root").detail


class FailingFolder(CutFolder):
    """Flash whose next writes fail, with everything in the file or with nothing."""

    failing = 0
    half = False

    def write(self, name: str, data: bytes) -> None:
        """Fail, or write."""
        if not self.failing:
            self.files[name] = data
            return
        if self.half:
            self.files[name] = data
        raise OSError(self.failing, "flash")


def test_a_write_that_fails_is_an_error_and_the_old_value_stays() -> None:
    for half in (False, True):
        folder = FailingFolder({})
        keystore = Keystore("flash", folder)
        keystore.save("root", b"old")
        folder.half = half
        for number, text in ((28, "full"), (30, "read-only"), (5, "check the flash")):
            folder.failing = number
            assert text in refused(KeystoreError, keystore.save, "root", b"new").detail
            assert keystore.load("root") == b"old"
        folder.failing = 0
        keystore.save("root", b"newer")
        assert keystore.load("root") == loaded(folder.files) == b"newer"


def test_names_and_closed_keystores_are_refused() -> None:
    keystore = Keystore("flash", CutFolder({}))
    for name in ("", "Root", "a/b", "../x", "a.0", "x" * 41):
        refused(LocalError, keystore.save, name, b"")
        refused(LocalError, keystore.load, name)
    keystore.save("x" * 40, b"")
    keystore.close()
    keystore.close()
    refused(LocalError, keystore.load, "root")


def test_a_record_of_a_later_version_is_not_overwritten() -> None:
    files = {"root.0": module.MAGIC + b"\x02" + bytes(40)}
    keystore = Keystore("flash", CutFolder(files))
    assert "version 2" in refused(KeystoreError, keystore.load, "root").detail
    refused(KeystoreError, keystore.save, "root", b"x")
    assert len(files) == 1


def test_records_are_those_of_a_cpython_machine() -> None:
    record = encode_slot(KIND_VALUE, 7, b"value")
    assert record.hex() == (
        "68666b730100000000000000000700000005" + "76616c7565" + "bd1823b9324e9051ba6be423dde5506f"
    )
    assert (decode_slot(record).counter, decode_slot(record).value) == (7, b"value")


def test_values_come_back_from_real_files_after_a_new_start() -> None:
    path = "/tmp/handfast-test-%s/flash/keys" % os.urandom(8).hex()
    keystore = Keystore(path)
    assert keystore.load("root") is None
    keystore.save("root", b"first")
    keystore.save("root", b"second, longer")
    keystore.save("root", b"third")
    keystore.save("empty", b"")
    keystore = Keystore(path)
    assert (keystore.load("root"), keystore.load("empty")) == (b"third", b"")
    assert sorted(os.listdir(path)) == ["empty.0", "empty.1", "root.0", "root.1"]
    keystore.erase("root")
    keystore.erase("root")
    keystore.erase("empty")
    assert os.listdir(path) == []
    folder = FlashFolder(path)
    folder.remove("never")
    for depth in range(3):
        os.rmdir(path.rsplit("/", depth)[0])


def test_a_keystore_where_none_can_be_is_an_error() -> None:
    path = "/tmp/handfast-test-%s" % os.urandom(8).hex()
    FlashFolder("/tmp").write(path.rsplit("/", 1)[1], b"a file, where a folder should be")
    refused(KeystoreError, Keystore, path + "/keys")
    os.remove(path)


class MountedOs:
    """`os` of a port that mounts its flash at /flash: the rest of / is nowhere."""

    def __init__(self) -> None:
        self.made: "list[str]" = []

    def mkdir(self, path: str) -> None:
        """As MicroPython's vfs.c: 19 where nothing is mounted, 17 for a mount point."""
        if path == "/flash":
            raise OSError(17, "there already")
        if not path.startswith("/flash/"):
            raise OSError(19, "no such device")
        self.made.append(path)


def test_where_the_root_is_no_file_system_the_keystore_lies_in_the_flash() -> None:
    os_of_board, flash.os = flash.os, MountedOs()
    try:
        FlashFolder("/handfast-keys")
        assert flash.os.made == ["/flash/handfast-keys"]
    finally:
        flash.os = os_of_board
