"""`handfast-hub` as an operator types it: what it prints, and with which code it ends."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import registry_world as world
from typer.testing import CliRunner

from handfast.core.codes import encode_claim_code
from handfast_cpython.terminal import DONE, FAILED, UNREACHABLE, USAGE
from handfast_hub.cli import app
from handfast_hub.cli.options import show_table
from handfast_hub.registry import engine
from handfast_hub.registry.registry import Registry

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join((str(ROOT / "sdk"), str(ROOT / "hub")))


class Shell:
    """A folder with a hub, and a prompt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "hub.toml"

    def type(self, *words: str, code: int = DONE) -> str:
        """What the command prints, errors included; it has to end with `code`."""
        result = CliRunner().invoke(app, ["--config", str(self.config), *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        text = result.stdout + result.stderr
        assert result.exit_code == code, text
        return text

    def json(self, *words: str) -> Any:
        return json.loads(self.type(*words, "--json"))

    def one_sentence(self, *words: str, code: int) -> str:
        """The error of the command, which is one line and no traceback."""
        text = self.type(*words, code=code).strip()
        assert "\n" not in text, text
        return text.partition(": ")[2]


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def shell(empty: Shell) -> Shell:
    empty.type("init", "--name", "berlin")
    return empty


def claim(number: int) -> str:
    return encode_claim_code(world.crypto, world.credential(number).thumbprint)


async def onboarded(shell: Shell, number: int) -> bytes:
    from handfast_hub.config import load_config

    registry = await Registry.open(load_config(shell.config), world.crypto)
    await world.admit(registry, number)
    ring = await world.onboard(registry, number)
    record = world.Speaker(ring.device_id, number).record(0, 1, 1, b"21.5 C")
    await world.deliver(registry, ring, 1, record, b"21.5 C")
    await registry.close()
    device_id: bytes = ring.device_id
    return device_id


# init


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


# Bad input


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


# Tokens


def test_a_token_is_shown_once_and_listed_by_its_id(shell: Shell) -> None:
    text = shell.type("--quiet", "token", "--label", "sensor-7").strip()
    assert re.fullmatch(r"([A-Z2-7]{8}-){8}[A-Z2-7]{8}", text)
    listed = shell.type("tokens")
    assert "sensor-7" in listed
    assert text not in listed
    (info,) = shell.json("tokens")
    assert (info["state"], info["shared"], info["quota"]) == ("live", False, 1)
    assert "secret" not in json.dumps(info)
    shell.type("withdraw", info["token_id"])
    assert shell.json("tokens")[0]["state"] == "withdrawn"
    assert "16 hex digits" in shell.one_sentence("withdraw", "zz", code=USAGE)


def test_a_batch_and_a_shared_token(shell: Shell) -> None:
    batch = shell.json("token", "--count", "5", "--expires", "2w")
    assert len({made["token"] for made in batch}) == 5
    (shared,) = shell.json("token", "--shared", "--quota", "40", "--label", "lobby")
    assert shared["shared"]
    assert len(shell.json("tokens")) == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--expires", "soon"), "expected a duration such as 30s"),
        (("--expires", "0h"), "expected a duration such as 30s"),
        (("--shared",), "give --quota"),
        (("--quota", "5"), "only a shared token has a quota"),
        (("--count", "0"), "1 to 100000 tokens"),
        (("--count", "3", "--shared", "--quota", "2"), "not both"),
    ],
)
def test_a_token_that_makes_no_sense_is_one_sentence(
    shell: Shell, words: "tuple[str, ...]", sentence: str
) -> None:
    assert sentence in shell.one_sentence("token", *words, code=USAGE)
    assert shell.json("tokens") == []


# Devices


def test_a_claim_code_admits_a_device_before_it_comes(shell: Shell) -> None:
    shell.type("approve", claim(1), "--label", "cellar")
    (device,) = shell.json("devices", "--state", "admitted")
    assert device["thumbprint"] == world.credential(1).thumbprint.hex()
    assert device["label"] == "cellar"
    assert "cellar" in shell.type("devices")
    assert "no device is onboarded" in shell.type("devices", "--state", "onboarded")
    shell.type("refuse", device["thumbprint"][:6], "--reason", "not ours")
    sentence = shell.one_sentence("approve", claim(1), code=USAGE)
    assert "was refused (not ours); approve it with --again" in sentence
    shell.type("approve", claim(1), "--again")
    shell.type("revoke", device["device_id"], "--reason", "lost")
    assert [event["kind"] for event in shell.json("events")] == [
        "admitted",
        "refused",
        "admitted",
        "revoked",
    ]


def test_a_device_is_called_by_any_unique_beginning(shell: Shell) -> None:
    from handfast.core.codes import b32encode

    for number in range(1, 4):
        shell.type("approve", claim(number))
    names = [device["thumbprint"] for device in shell.json("devices")]
    for digits in (4, 5, 63, 64):
        shell.type("revoke", names[0][:digits].upper())
    shell.type("revoke", b32encode(bytes.fromhex(shell.json("devices")[1]["device_id"])))
    assert [device["state"] for device in shell.json("devices")] == ["revoked", "revoked", "admitted"]


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("abcd", "no device is called abcd"),
        ("7f3", "expected a claim code, or 4 to 64 hex digits"),
        ("sensor-7", "expected a claim code, or 4 to 64 hex digits"),
        (claim(1)[:-1] + ("A" if claim(1)[-1] != "A" else "B"), "compare it with the original"),
    ],
)
def test_a_device_that_nobody_knows_is_one_sentence(shell: Shell, reference: str, sentence: str) -> None:
    for command in ("approve", "refuse", "revoke"):
        assert sentence in shell.one_sentence(command, reference, code=USAGE)
    assert shell.json("devices") == []


def test_a_state_that_does_not_exist_is_one_sentence(shell: Shell) -> None:
    assert "expected one of waiting, admitted" in shell.one_sentence("devices", "--state", "x", code=USAGE)


def test_a_reason_that_no_record_can_carry_is_one_sentence(shell: Shell) -> None:
    assert "1 to 128 characters" in shell.one_sentence("revoke", claim(1), "--reason", "x" * 129, code=USAGE)


# Traffic


async def test_readings_are_listened_to_and_commands_are_sent(shell: Shell) -> None:
    import asyncio

    device_id = await onboarded(shell, 1)
    listened = await asyncio.to_thread(shell.type, "listen", "--after", "0", "--count", "1")
    assert listened.endswith(f"{device_id.hex()} telemetry: 21.5 C\n")
    line = await asyncio.to_thread(
        shell.type, "listen", "--after", "0", "--count", "1", "--json", "--device", device_id.hex()
    )
    assert json.loads(line)["data"] == b"21.5 C".hex()
    sent = await asyncio.to_thread(shell.json, "send", device_id.hex()[:8], "open", "--no-wait")
    assert (sent["state"], sent["data"]) == ("queued", b"open".hex())
    sentence = await asyncio.to_thread(
        shell.one_sentence, "send", device_id.hex(), "00ff", "--hex", "--expires", "1s", code=UNREACHABLE
    )
    assert "was not answered within 1s" in sentence
    assert "h'00ff'" in await asyncio.to_thread(shell.type, "commands")
    assert "expected hex digits" in await asyncio.to_thread(
        shell.one_sentence, "send", device_id.hex(), "xx", "--hex", code=USAGE
    )


def test_a_command_for_a_device_that_is_not_onboarded_is_one_sentence(shell: Shell) -> None:
    shell.type("approve", claim(1))
    device_id = shell.json("devices")[0]["device_id"]
    assert "needs an onboarded device" in shell.one_sentence("send", device_id, "open", code=USAGE)


# The hub as a whole


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


def handfast_hub(*words: str, **other: Any) -> "subprocess.Popen[str]":
    """The command as a process of its own."""
    program = "import sys; sys.argv[0] = 'handfast-hub'; from handfast_hub.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONPATH": SOURCES, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **other,
    )


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


async def test_ctrl_c_ends_listen_without_a_traceback(shell: Shell) -> None:
    import asyncio

    await onboarded(shell, 1)
    process = handfast_hub("--config", str(shell.config), "listen", "--after", "0")
    assert process.stdout is not None
    assert "21.5 C" in await asyncio.to_thread(process.stdout.readline)
    process.send_signal(signal.SIGINT)
    _, stderr = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, stderr) == (130, "")


def test_what_a_stranger_calls_itself_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("detail",), [("[/red]a[b]",), ("\x1b]0;owned\x07",)], "")
    assert capsys.readouterr().out.split()[1:] == ["[/red]a[b]", "\ufffd]0;owned\ufffd"]
