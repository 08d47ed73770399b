"""Secrets at rest: what seals them, and the file that the key lies in."""

import os
from pathlib import Path

import pytest

from handfast.core.errors import KeystoreError
from handfast_hub.vault import Vault, create_master_key, load_master_key, open_vault


def test_what_was_sealed_opens_in_its_place_and_nowhere_else() -> None:
    vault = Vault(bytes(32))
    sealed = vault.seal(b"secret", b"here")
    assert vault.open(sealed, b"here") == b"secret"
    assert len(sealed) == 28 + 6
    for wrong in (lambda: vault.open(sealed, b"there"), lambda: Vault(b"k" * 32).open(sealed, b"here")):
        with pytest.raises(KeystoreError, match="does not open"):
            wrong()


def test_every_changed_or_missing_byte_is_noticed() -> None:
    vault = Vault(bytes(32))
    sealed = vault.seal(b"secret", b"here")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(KeystoreError):
            vault.open(changed, b"here")
        with pytest.raises(KeystoreError):
            vault.open(sealed[:at], b"here")


def test_no_nonce_comes_twice() -> None:
    vault = Vault(bytes(32))
    assert len({vault.seal(b"", b"")[:12] for _ in range(1000)}) == 1000


def test_a_master_key_is_32_bytes() -> None:
    with pytest.raises(KeystoreError, match="32 bytes"):
        Vault(b"short")


def test_a_master_key_is_made_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    key = create_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_master_key(path) == key
    assert open_vault(path).open(Vault(key).seal(b"x", b""), b"") == b"x"
    with pytest.raises(KeystoreError, match="exists already"):
        create_master_key(path)
    assert load_master_key(path) == key


def test_a_master_key_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_master_key(path)
    path.chmod(0o640)
    with pytest.raises(KeystoreError, match=f"chmod 600 {path}"):
        load_master_key(path)


@pytest.mark.parametrize(
    "content", [b"", b"handfast-master-key-1 abc", b"ab" * 32, b"\xff\xfe", os.urandom(300)]
)
def test_a_damaged_master_key_is_one_sentence_without_the_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(KeystoreError, match="master key"):
        load_master_key(path)


def test_a_missing_master_key_and_a_missing_folder_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="no master key at"):
        load_master_key(tmp_path / "master.key")
    with pytest.raises(KeystoreError, match="cannot write"):
        create_master_key(tmp_path / "nowhere" / "master.key")


def test_what_somebody_who_was_killed_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    (tmp_path / ".master.key.part").write_bytes(b"handfast-mas")
    key = create_master_key(path)
    assert load_master_key(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["master.key"]
    with pytest.raises(KeystoreError, match="exists already"):
        create_master_key(path)
    assert [each.name for each in tmp_path.iterdir()] == ["master.key"]


def test_a_key_that_could_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "master.key"

    def broken(_: int) -> bytes:
        raise KeystoreError("no randomness")

    with pytest.raises(KeystoreError):
        create_master_key(path, broken)
    assert list(tmp_path.iterdir()) == []
