"""`handfast-hub` with a configuration or a database that fails: one sentence, and nothing lost."""

import sqlite3

import pytest
from operator_shell import Shell

from handfast_cpython.terminal import FAILED, USAGE
from handfast_hub.registry import engine


def test_a_missing_or_wrong_configuration_is_one_sentence(empty: Shell) -> None:
    assert "run 'handfast-hub init --name NAME'" in empty.one_sentence("devices", code=USAGE)
    empty.config.write_text('name = "x"\n[mqtt]\nprot = 1\n')
    assert empty.one_sentence("config", "check", code=USAGE).endswith(
        "[mqtt] has no key 'prot'; did you mean 'port'?"
    )


def test_a_missing_database_is_one_sentence_and_makes_none(shell: Shell) -> None:
    (shell.folder / "hub.sqlite").unlink()
    assert "cannot be opened" in shell.one_sentence("devices", code=FAILED)
    assert not (shell.folder / "hub.sqlite").exists()


def test_a_missing_master_key_is_one_sentence(shell: Shell) -> None:
    (shell.folder / "master.key").unlink()
    assert "there is no master key at" in shell.one_sentence("token", code=FAILED)


def test_a_locked_database_is_one_sentence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.05)
    other = sqlite3.connect(shell.folder / "hub.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "is locked by another process" in shell.one_sentence("token", code=FAILED)
    assert shell.json("tokens") == []
    other.close()
    shell.type("token")


def test_a_full_disk_is_one_sentence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    configure = engine._configure

    def small(connection: sqlite3.Connection, record: object) -> None:
        configure(connection, record)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    monkeypatch.setattr(engine, "_configure", small)
    sentence = shell.one_sentence("token", "--count", "2000", code=FAILED)
    assert sentence.endswith("the disk is full; nothing was lost, make room and try again")
    monkeypatch.undo()
    assert shell.json("tokens") == []


def test_a_read_only_database_is_one_sentence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    configure = engine._configure

    def frozen(connection: sqlite3.Connection, record: object) -> None:
        configure(connection, record)
        connection.execute("PRAGMA query_only = ON").fetchall()

    monkeypatch.setattr(engine, "_configure", frozen)
    assert "cannot be written" in shell.one_sentence("token", code=FAILED)
    assert shell.json("tokens") == []
