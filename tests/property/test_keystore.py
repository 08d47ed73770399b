"""A power cut at any moment of a write leaves the old or the new value, whatever the disk had not yet kept.

The keystore runs on a real directory while every call that changes it is written down. Then a disk is
rebuilt for each moment: what was synced is there, and of the rest any part may be: none, all, the first
bytes, zeros in the place of bytes, or rubbish; a new name may be missing, an unlinked one may be back.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handfast.core.errors import Error, KeystoreError
from handfast_cpython import keystore as module
from handfast_cpython.keystore import Keystore, decode_slot

Files = dict[str, bytes]


class Change(NamedTuple):
    """One call that reached the disk."""

    kind: str
    file: str
    at: int = 0
    data: bytes = b""


class Recorder:
    """Stands where the keystore looks for `os`: passes every call on and writes the changes down."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._files: dict[int, str] = {}
        self._at: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        new = flags & os.O_CREAT and path != "lock" and dir_fd is not None and path not in os.listdir(dir_fd)  # noqa: PTH208
        descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
        self._files[descriptor] = str(path) if dir_fd is not None else "/"
        self._at[descriptor] = 0
        if new:
            self.changes.append(Change("create", str(path)))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        # Short writes are legal: half of a long one is taken.
        taken = os.write(descriptor, data[: len(data) // 2 + 1])
        self.changes.append(
            Change("write", self._files[descriptor], self._at[descriptor], bytes(data[:taken]))
        )
        self._at[descriptor] += taken
        return taken

    def ftruncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)
        self.changes.append(Change("truncate", self._files[descriptor], length))

    def fsync(self, descriptor: int) -> None:
        self.changes.append(Change("sync", self._files.get(descriptor, "/")))

    def unlink(self, path: str, *, dir_fd: int) -> None:
        os.unlink(path, dir_fd=dir_fd)
        self.changes.append(Change("unlink", path))


@pytest.fixture(autouse=True)
def _no_real_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of keystores are opened here; their directories need no disk under them."""
    monkeypatch.setattr(module, "os", Recorder())


def applied(data: bytes, change: Change) -> bytes:
    if change.kind == "create":
        return data
    if change.kind == "truncate":
        return data[: change.at].ljust(change.at, b"\0")
    return data[: change.at].ljust(change.at, b"\0") + change.data + data[change.at + len(change.data) :]


class Disk:
    """What is certain to be on the disk, and what else may be."""

    def __init__(self, files: Files) -> None:
        self.synced = dict(files)  # contents by file, whether or not a name is certain
        self.named = set(files)
        self.pending: dict[str, list[Change]] = {}
        self.unsure: set[str] = set()  # names that come or go

    def follow(self, change: Change) -> None:
        file = change.file
        if change.kind == "sync" and file == "/":
            self.unsure = set()
        elif change.kind == "sync":
            for waiting in self.pending.pop(file, []):
                self.synced[file] = applied(self.synced[file], waiting)
        elif change.kind == "create":
            self.synced[file] = b""
            self.named.add(file)
            self.unsure.add(file)
        elif change.kind == "unlink":
            self.named.discard(file)
            self.unsure.add(file)
        else:
            self.pending.setdefault(file, []).append(change)

    def contents(self, file: str) -> list[bytes]:
        """Everything that the file may hold after a cut now."""
        whole = self.synced[file]
        states = [whole]
        for change in self.pending.get(file, []):
            whole = applied(whole, change)
            states.append(whole)
        if len(states) > 1:
            # Blocks of a new length whose data never came, data without its tail, and rubbish.
            states += [
                bytes(len(whole)),
                whole[:-1],
                whole[: len(whole) // 2],
                whole[:-1] + bytes([whole[-1] ^ 1]),
            ]
            states.append(self.synced[file][: len(whole) // 2] + whole[len(whole) // 2 :])
        return sorted(set(states))

    def outcomes(self) -> Iterator[Files]:
        """Every disk that may be found after a cut now."""
        files = sorted(self.named | self.unsure)
        choices: list[list[bytes | None]] = []
        for file in files:
            states: list[bytes | None] = list(self.contents(file))
            if file in self.unsure:
                states.append(None)
            choices.append(states)
        for picked in itertools.product(*choices):
            yield {file: data for file, data in zip(files, picked, strict=True) if data is not None}


def place(path: Path, files: Files) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    for old in path.iterdir():
        old.unlink()
    for file, data in files.items():
        (path / file).write_bytes(data)
        (path / file).chmod(0o600)


def found(path: Path, name: str = "root") -> bytes | None:
    with Keystore(path) as keystore:
        return keystore.load(name)


def value_in(
    files: Files, path: Path, known: dict[frozenset[tuple[str, bytes]], bytes | None]
) -> bytes | None:
    """What a keystore over these files says; each set of files is opened once."""
    key = frozenset(files.items())
    if key not in known:
        place(path, files)
        known[key] = found(path)
    return known[key]


def record(path: Path, monkeypatch: pytest.MonkeyPatch, call: Any) -> tuple[Files, list[Change]]:
    """The files before `call` on a keystore, and the changes that it made."""
    with Keystore(path) as keystore:
        before = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock"}
        recorder = Recorder()
        with monkeypatch.context() as patch:
            patch.setattr(module, "os", recorder)
            call(keystore)
    return before, recorder.changes


OLD, NEW = b"the old value, which is longer", b"the new one"
CASES: dict[str, tuple[list[bytes | None], bytes | None]] = {
    "first": ([], NEW),
    "replace": ([OLD], NEW),
    "grow": ([NEW], OLD),
    "again": ([OLD, OLD], NEW),
    "after-erase": ([OLD, None], NEW),
    "erase": ([OLD], None),
}


def change(keystore: Keystore, value: bytes | None) -> None:
    if value is None:
        keystore.erase("root")
    else:
        keystore.save("root", value)


@pytest.mark.parametrize("case", CASES)
def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    history, value = CASES[case]
    with Keystore(tmp_path / "keys") as keystore:
        for step in history:
            change(keystore, step)
        old = keystore.load("root")
    before, changes = record(tmp_path / "keys", monkeypatch, lambda keystore: change(keystore, value))
    assert len(changes) >= 8
    disk = Disk(before)
    seen = set()
    for done in range(len(changes) + 1):
        for files in disk.outcomes():
            place(tmp_path / "cut", files)
            now = found(tmp_path / "cut")
            assert now in (old, value), f"after {done} of {len(changes)} calls with {files}"
            seen.add((now == value, done))
            # And the next write works on whatever the cut left.
            with Keystore(tmp_path / "cut") as keystore:
                keystore.save("root", b"next")
                assert keystore.load("root") == b"next"
        if done < len(changes):
            disk.follow(changes[done])
    # Before the first call only the old value, after the last one only the new one.
    assert (True, 0) not in seen and (False, len(changes)) not in seen
    assert {True, False} == {new for new, _ in seen}


@pytest.mark.parametrize("case", ["first", "replace"])
def test_a_second_cut_in_the_write_that_follows_a_cut_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        for value in CASES[case][0]:
            change(keystore, value)
    before, changes = record(tmp_path / "keys", monkeypatch, lambda keystore: keystore.save("root", NEW))
    disk = Disk(before)
    outcomes = []
    for step in changes:
        disk.follow(step)
        outcomes += [files for files in disk.outcomes() if files not in outcomes]
    assert len(outcomes) > 8
    known: dict[frozenset[tuple[str, bytes]], bytes | None] = {}
    for files in outcomes:
        place(tmp_path / "first", files)
        old = found(tmp_path / "first")
        start, again = record(
            tmp_path / "first", monkeypatch, lambda keystore: keystore.save("root", b"third")
        )
        second = Disk(start)
        for step in again:
            second.follow(step)
            for remains in second.outcomes():
                assert value_in(remains, tmp_path / "second", known) in (old, b"third")


@pytest.mark.parametrize("case", ["first", "replace"])
def test_a_killed_process_and_then_a_power_cut_in_the_next_one_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        for value in CASES[case][0]:
            change(keystore, value)
    before, changes = record(tmp_path / "keys", monkeypatch, lambda keystore: keystore.save("root", NEW))
    known: dict[frozenset[tuple[str, bytes]], bytes | None] = {}
    for done in range(len(changes) + 1):
        # What the next process reads is whole, though little of it may be on the disk.
        read = dict(before)
        for step in changes[:done]:
            if step.kind != "sync":
                read[step.file] = applied(read.get(step.file, b""), step)
        place(tmp_path / "killed", read)
        recorder = Recorder()
        with monkeypatch.context() as patch:
            patch.setattr(module, "os", recorder)
            with Keystore(tmp_path / "killed") as keystore:
                old = keystore.load("root")
                keystore.save("root", b"third")
        disk = Disk(before)
        for step in changes[:done]:
            disk.follow(step)
        opened = False
        for step in recorder.changes:
            disk.follow(step)
            # The directory is synced when the keystore is open; its user has seen nothing before.
            opened = opened or (step.kind, step.file) == ("sync", "/")
            for remains in disk.outcomes():
                assert not opened or value_in(remains, tmp_path / "cut", known) in (old, b"third")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.binary(max_size=40)), min_size=1, max_size=8
    ),
    data=st.data(),
)
def test_any_story_of_writes_and_cuts_keeps_each_name_apart(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, bytes | None]],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("story") / "keys"
    expected: dict[str, bytes | None] = dict.fromkeys("abc")
    for name, value in steps:

        def write(keystore: Keystore, name: str = name, value: bytes | None = value) -> None:
            if value is None:
                keystore.erase(name)
            else:
                keystore.save(name, value)

        before, changes = record(path, monkeypatch, write)
        cut = data.draw(st.integers(0, len(changes)))
        disk = Disk(before)
        for step in changes[:cut]:
            disk.follow(step)
        place(path, data.draw(st.sampled_from(list(disk.outcomes()))))
        for other in "abc":
            now = found(path, other)
            if other == name:
                assert now in (expected[name], value)
                assert cut < len(changes) or now == value
                expected[name] = now
            else:
                assert now == expected[other]


@settings(max_examples=300)
@given(record=st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"hfks\x01\x00" + tail))
def test_any_bytes_in_a_slot_are_a_value_or_torn(record: bytes) -> None:
    slot = decode_slot(record)
    assert slot.counter != 0
    assert (slot.value is None) or slot.counter > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.none() | st.binary(max_size=60), second=st.none() | st.binary(max_size=60))
def test_any_bytes_in_the_files_give_a_value_or_a_keystore_error(
    tmp_path: Path, first: bytes | None, second: bytes | None
) -> None:
    files = {f"root.{i}": data for i, data in enumerate((first, second)) if data is not None}
    place(tmp_path / "any", files)
    try:
        assert found(tmp_path / "any") is None
    except Error as error:
        assert type(error) is KeystoreError
