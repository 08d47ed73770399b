"""The keystore in a directory: what it refuses, and that it never mixes two values."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handfast.core.errors import KeystoreError, LocalError
from handfast_cpython import keystore as module
from handfast_cpython.keystore import KIND_VALUE, Keystore, decode_slot, encode_slot


def test_a_value_comes_back_after_the_keystore_was_closed(tmp_path: Path) -> None:
    with Keystore(tmp_path / "a" / "keys") as keystore:
        assert keystore.load("identity") is None
        keystore.save("identity", b"first")
        keystore.save("identity", b"second")
        keystore.save("empty", b"")
    with Keystore(tmp_path / "a" / "keys") as keystore:
        assert keystore.load("identity") == b"second"
        assert keystore.load("empty") == b""


def test_an_erased_value_is_gone_with_its_files(tmp_path: Path) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        keystore.save("root", b"value")
        keystore.erase("root")
        keystore.erase("root")
        assert keystore.load("root") is None
        assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["lock"]
        keystore.save("root", b"again")
        assert keystore.load("root") == b"again"


def test_a_replaced_value_is_in_no_file_any_more(tmp_path: Path) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        keystore.save("root", b"an old secret")
        keystore.save("root", b"new")
        assert all(b"old" not in path.read_bytes() for path in (tmp_path / "keys").iterdir())


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        keystore.save("root", b"value")
        assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["", "Root", "a/b", "../x", "a.0", "x" * 41])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        with pytest.raises(LocalError, match="is no name"):
            keystore.save(name, b"")
        with pytest.raises(LocalError, match="is no name"):
            keystore.load(name)


def test_a_closed_keystore_is_refused(tmp_path: Path) -> None:
    keystore = Keystore(tmp_path / "keys")
    keystore.close()
    keystore.close()
    with pytest.raises(LocalError, match="closed"):
        keystore.load("root")
    with pytest.raises(LocalError, match="closed"):
        keystore.save("root", b"")


def test_one_rotten_copy_does_no_harm(tmp_path: Path) -> None:
    for slot in (0, 1):
        path = tmp_path / f"keys{slot}"
        with Keystore(path) as keystore:
            keystore.save("root", b"old")
            keystore.save("root", b"new")
            file = path / f"root.{slot}"
            file.write_bytes(file.read_bytes()[:-3])
            assert keystore.load("root") == b"new"
            keystore.save("root", b"newer")
            assert decode_slot(file.read_bytes()).value == b"newer"


def test_two_rotten_copies_are_an_error_and_stay_as_they_are(tmp_path: Path) -> None:
    with Keystore(tmp_path / "keys") as keystore:
        keystore.save("root", b"value")
        for slot in (0, 1):
            (tmp_path / "keys" / f"root.{slot}").write_bytes(b"rubbish")
        for call in (lambda: keystore.load("root"), lambda: keystore.save("root", b"x")):
            with pytest.raises(KeystoreError, match=r"both copies of 'root'.*damaged.*backup"):
                call()
        assert (tmp_path / "keys" / "root.0").read_bytes() == b"rubbish"


def test_every_changed_byte_of_a_slot_is_noticed() -> None:
    record = encode_slot(KIND_VALUE, 7, b"value")
    assert decode_slot(record).value == b"value"
    for at in range(len(record)):
        torn = bytearray(record)
        torn[at] ^= 1
        assert decode_slot(bytes(torn)).value is None
        assert decode_slot(record[:at]).value is None


def test_a_second_process_learns_who_holds_the_keystore(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv[:] = ['/usr/bin/handfast', 'listen', '--token', 'SECRET']\n"
        "from handfast_cpython.keystore import Keystore\n"
        f"Keystore({str(tmp_path / 'keys')!r}); print('held', flush=True); sys.stdin.read()"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(
            KeystoreError, match=rf"in use by process {holder.pid} \(handfast listen\)"
        ) as error:
            Keystore(tmp_path / "keys")
        assert "SECRET" not in error.value.detail
        holder.kill()
    Keystore(tmp_path / "keys").close()


def test_one_process_cannot_open_it_twice(tmp_path: Path) -> None:
    with Keystore(tmp_path / "keys"):
        with pytest.raises(KeystoreError, match=f"in use by process {os.getpid()} "):
            Keystore(tmp_path / "keys")
    Keystore(tmp_path / "keys").close()


def test_permissions_that_are_too_open_are_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with Keystore(path) as keystore:
        keystore.save("root", b"value")
    (path / "root.1").chmod(0o640)
    with pytest.raises(KeystoreError, match=r"mode 0640.*chmod 600 .*root\.1"):
        Keystore(path)
    (path / "root.1").chmod(0o600)
    path.chmod(0o755)
    with pytest.raises(KeystoreError, match=r"mode 0755.*chmod 700 "):
        Keystore(path)
    path.chmod(0o700)
    Keystore(path).close()


def test_a_foreign_version_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with Keystore(path) as keystore:
        keystore.save("root", b"value")
        newer = bytearray((path / "root.0").read_bytes())
        newer[4] = 2
        (path / "root.0").write_bytes(newer)
        with pytest.raises(KeystoreError, match="version 2 and this handfast reads version 1"):
            keystore.save("root", b"x")
    with pytest.raises(KeystoreError, match="version 2 and this handfast reads version 1"):
        Keystore(path)
    assert (path / "root.0").read_bytes() == newer


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeystoreError, match="is not a directory"):
        Keystore(tmp_path / "keys")


def test_a_link_in_the_place_of_a_slot_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    Keystore(path).close()
    (tmp_path / "elsewhere").write_text("mine")
    (path / "root.0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeystoreError, match="not a regular file"):
        Keystore(path)
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "is full; free some space"),
        (errno.EDQUOT, "is full; free some space"),
        (errno.EROFS, "read-only file system"),
        (errno.EACCES, "this user may not write"),
        (errno.EIO, "could not write .*Input/output error"),
    ],
)
def test_a_write_that_fails_says_why_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with Keystore(tmp_path / "keys") as keystore:
        keystore.save("root", b"old")
        with monkeypatch.context() as patch:
            patch.setattr(module.os, "write", full)
            with pytest.raises(KeystoreError, match=sentence):
                keystore.save("root", b"new")
        assert keystore.load("root") == b"old"
        keystore.save("root", b"new")
        assert keystore.load("root") == b"new"


def test_a_value_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    """The kernel itself refuses to let the file grow."""
    program = (
        "import resource, signal, sys\n"
        "from handfast.core.errors import KeystoreError\n"
        "from handfast_cpython.keystore import Keystore\n"
        f"keystore = Keystore({str(tmp_path / 'keys')!r})\n"
        "keystore.save('root', b'old')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n    keystore.save('root', bytes(500))\n"
        "except KeystoreError as error:\n    print(error.detail)\n"
        "print(keystore.load('root'))\n"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert "File too large" in done.stdout
    assert done.stdout.endswith("b'old'\n")


@pytest.mark.parametrize("call", ["write", "ftruncate", "fsync"])
def test_what_a_failed_write_left_in_memory_is_not_taken_for_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """After a failed sync the kernel may show bytes that the disk never got."""

    def fail(descriptor: int, *rest: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "keys"
    with Keystore(path) as keystore:
        keystore.save("root", b"old")
        with monkeypatch.context() as patch:
            patch.setattr(module.os, call, fail)
            with pytest.raises(KeystoreError, match="Input/output error"):
                keystore.save("root", b"new")
        assert keystore.load("root") == b"old"
        written = []
        with monkeypatch.context() as patch:
            patch.setattr(
                module.os,
                "fsync",
                lambda descriptor: written.append(Path(f"/proc/self/fd/{descriptor}").readlink()),
            )
            keystore.save("root", b"newer")
        # The doubtful slot is written first, while the other one still holds the old value.
        assert [file.name for file in written] == ["root.0", "root.1"]
        assert keystore.load("root") == b"newer"


def test_a_process_that_is_killed_at_any_call_leaves_the_old_or_the_new_value(tmp_path: Path) -> None:
    """Real processes, real SIGKILL: a parent forks a child for each call of the operating system."""
    program = f"""
import os, signal, sys
from handfast_cpython import keystore as module
from handfast_cpython.keystore import Keystore

class Dying:
    def __init__(self, at):
        self.left = at
    def __getattr__(self, name):
        call = getattr(os, name)
        if name not in ("open", "write", "ftruncate", "fsync", "close", "unlink", "fdopen"):
            return call
        def count(*positional, **named):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*positional, **named)
        return count

def story(path, change):
    for at in range(1, 100):
        with Keystore(path) as keystore:
            keystore.save("root", b"old")
            keystore.save("other", b"untouched")
        child = os.fork()
        if child == 0:
            keystore = Keystore(path)
            module.os = Dying(at)
            change(keystore)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        with Keystore(path) as keystore:
            print(change.__name__, at, os.WIFSIGNALED(status), keystore.load("root"), keystore.load("other"))
        if not os.WIFSIGNALED(status):
            return

def save(keystore):
    keystore.save("root", b"new")

def erase(keystore):
    keystore.erase("root")

story({str(tmp_path / "save")!r}, save)
story({str(tmp_path / "erase")!r}, erase)
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert {line[4] for line in lines} == {"b'untouched'"}
    for verb, new in (("save", "b'new'"), ("erase", "None")):
        story = [line for line in lines if line[0] == verb]
        assert len(story) > 10
        assert [line[2] for line in story] == ["True"] * (len(story) - 1) + ["False"]
        values = [line[3] for line in story]
        # Old up to some call, new from there on.
        turn = values.index(new)
        assert turn > 0 and values == ["b'old'"] * turn + [new] * (len(values) - turn)
