"""`handfast-hub` as a program: made, checked, backed up, and what stands at its prompt."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from operator_shell import ROOT, SOURCES, Shell, claim, handfast_hub
from typer.testing import CliRunner

from handfast_cpython.terminal import DONE, FAILED, USAGE
from handfast_hub.cli import app


def test_init_makes_a_hub_and_prints_its_code(empty: Shell) -> None:
    made = empty.json("init", "--name", "berlin")
    assert re.fullmatch(r"([A-Z2-7]{8}-){6}[A-Z2-7]{8}", made["hub_code"])
    assert len(made["hub_id"]) == 64
    assert sorted(path.name for path in empty.folder.iterdir() if path.is_file()) == [
        "hub.sqlite",
        "hub.toml",
        "master.key",
    ]
    for name in ("hub.sqlite", "master.key"):
        assert (empty.folder / name).stat().st_mode & 0o777 == 0o600
    assert made["hub_code"] in empty.type("check")


def test_a_hub_that_exists_is_left_as_it_is(shell: Shell) -> None:
    before = {path.name: path.read_bytes() for path in shell.folder.iterdir() if path.is_file()}
    sentence = shell.one_sentence("init", "--name", "berlin", code=FAILED)
    assert sentence.startswith("this database has a hub already and was left as it is")
    sentence = shell.one_sentence("init", "--name", "paris", code=USAGE)
    assert "is the configuration of the hub 'berlin'" in sentence
    after = {path.name: path.read_bytes() for path in shell.folder.iterdir() if path.is_file()}
    assert after == before


def test_an_init_that_was_interrupted_goes_on(shell: Shell) -> None:
    (shell.folder / "hub.sqlite").unlink()
    key = (shell.folder / "master.key").read_bytes()
    shell.type("init")
    assert (shell.folder / "master.key").read_bytes() == key


@pytest.mark.parametrize(
    ("words", "sentence"), [((), "give the new hub a name"), (("--name", "a b"), "got 'a b'")]
)
def test_init_needs_a_name(empty: Shell, words: "tuple[str, ...]", sentence: str) -> None:
    assert sentence in empty.one_sentence("init", *words, code=USAGE)
    assert list(empty.folder.iterdir()) == []


def test_a_backup_is_made_and_restored(shell: Shell) -> None:
    shell.type("approve", claim(1))
    copy = str(shell.folder / "copy")
    assert "master.key is not in it" in shell.type("backup", copy)
    assert "exists already" in shell.one_sentence("backup", copy, code=FAILED)
    shell.type("approve", claim(2))
    done = shell.json("restore", copy)
    assert Path(done["set_aside"]).exists()
    assert len(shell.json("devices")) == 1
    assert "name the file of a backup" in shell.one_sentence("restore", copy + "x", code=FAILED)


def test_check_tells_what_is_wrong(shell: Shell) -> None:
    assert all(finding["good"] for finding in shell.json("check"))
    shell.config.write_text('name = "berlin"\n[mqtt]\nbroker = "external"\nport = 1\n')
    assert "127.0.0.1:1 does not answer" in " ".join(shell.type("check", code=FAILED).split())
    (shell.folder / "master.key").chmod(0o644)
    findings = json.loads(shell.type("check", "--json", code=FAILED))
    assert [finding["subject"] for finding in findings if not finding["good"]] == ["master key"]


def test_the_configuration_is_checked_and_shown(shell: Shell) -> None:
    assert "is right: the hub 'berlin'" in shell.type("config", "check")
    assert shell.json("config", "check")["mqtt"]["port"] == 1883
    assert shell.type("config", "reference") == (ROOT / "docs" / "configuration.md").read_text()
    assert shell.type("--quiet", "config", "check") == ""


def test_nothing_and_nonsense_show_how_it_is_used() -> None:
    assert CliRunner().invoke(app, []).exit_code == USAGE
    assert CliRunner().invoke(app, ["dance"]).exit_code == USAGE
    assert CliRunner().invoke(app, ["--help"]).exit_code == DONE


def test_the_version_names_the_crypto() -> None:
    process = handfast_hub("--version")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == DONE, stderr
    assert "pycryptodome" in stdout
    assert "cryptography" in stdout


def test_the_command_starts_without_server_modules() -> None:
    program = (
        "import sys, handfast_hub.cli; print(sorted({'sqlalchemy', 'pydantic', 'cryptography', 'Crypto',"
        " 'structlog', 'rich.table'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout == "[]\n", found.stderr
