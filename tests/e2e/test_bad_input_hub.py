"""What goes wrong on the side of the hub, with whole processes: one sentence, the right code, nothing lost.

The device's side, and how a scenario is built, stand in test_bad_input.py.
"""

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import SETPRIV, Command, ended, handfast, handfast_hub, until
from disks import Disk, small_disk
from free_ports import free_port
from mosquitto import make_certificates, needs_mosquitto, running
from processes import HubProcess

from handfast_cpython.terminal import ENTROPY_ALARM, FAILED, REFUSED, UNREACHABLE, USAGE
from handfast_hub.config import load_config

NAME = 'name = "berlin"\n'
EMBEDDED = NAME + "[mqtt]\nport = 0\n"


@pytest.fixture
def operator(tmp_path: Path) -> Command:
    """A hub that does not serve; its file is hub.toml of `tmp_path`."""
    operator = handfast_hub(tmp_path / "hub.toml")
    operator.works("init", "--name", "berlin")
    (tmp_path / "hub.toml").write_text(EMBEDDED)
    return operator


def serves(operator: Command) -> None:
    """It starts, serves and ends well."""
    with operator.start("serve") as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert "serves at" in said, err.decode()
    assert process.returncode == 0


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process holds the write lock of the database."""
    program = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "other.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            yield
        finally:
            holder.communicate(timeout=60)


# The configuration

MISTYPED = (
    (USAGE, NAME + "[mqtt]\nhots = 'x'\n", "[mqtt] has no key 'hots'; did you mean 'host'?"),
    (USAGE, NAME + "prot = 1\n", "has no key 'prot'; did you mean 'mqtt.port'?"),
    (USAGE, "name = \n", "is not TOML"),
    (USAGE, NAME + "[mqtt]\nbroker = 'external'\ntls = true\nca = 'no.pem'\n", "no.pem should hold PEM"),
    (USAGE, NAME + "database = 'sqllite:///hub.sqlite'\n", "sqllite://, which is no database known here"),
    (FAILED, NAME + "database = 'other'\n", "other cannot be opened; check 'database' in hub.toml"),
    (FAILED, NAME + "master_key = 'other'\n", "there is no master key at"),
    (ENTROPY_ALARM, NAME + "[entropy]\nsource = 'simulated:stuck-zero'\n", "failed the health test"),
    (UNREACHABLE, NAME + "[mqtt]\nhost = '203.0.113.1'\n", "should listen on 203.0.113.1:1883 but cannot"),
    (UNREACHABLE, NAME + "[mqtt]\nbroker = 'external'\nport = {port}\n", "should accept a connection"),
)


def test_a_wrong_configuration_is_one_sentence_and_the_right_one_serves(
    operator: Command, tmp_path: Path
) -> None:
    operator.works("token", "--label", "kept")
    for code, text, sentence in MISTYPED:
        (tmp_path / "hub.toml").write_text(text.replace("{port}", str(free_port())))
        assert sentence in operator.fails(code, "serve")
    (tmp_path / "hub.toml").write_text(EMBEDDED)
    sentence = operator.fails(USAGE, "serve", environ={"HANDFAST_HUB_MQTT__PROT": "1"})
    assert sentence.endswith("did you mean HANDFAST_HUB_MQTT__PORT?")
    error = json.loads(operator("tokens", "--json", environ={"HANDFAST_HUB_NAM": "x"}).err)
    assert (error["exit_code"], error["retryable"]) == (USAGE, False)
    serves(operator)
    assert [token["label"] for token in operator.json("tokens")] == ["kept"]


@needs_mosquitto
def test_a_hub_says_why_it_cannot_join_its_broker(operator: Command, tmp_path: Path) -> None:
    ca, tls = make_certificates(tmp_path / "right")
    other, _ = make_certificates(tmp_path / "wrong")
    config = load_config(tmp_path / "hub.toml")
    from handfast.core.base32 import b32encode
    from handfast_hub.installation import hub_id_of

    with running(tmp_path / "broker", b32encode(hub_id_of(config)[:8]), tls) as broker:
        (tmp_path / "password").write_text(broker.password)
        (tmp_path / "wrong.password").write_text("wrong")

        def external(tls: bool, ca: Path, password: str) -> str:
            return (
                f"{NAME}[mqtt]\nbroker = 'external'\nhost = '127.0.0.1'\nport = {broker.port}\n"
                f"username = '{broker.username}'\npassword_file = '{password}'\n"
                f"tls = {str(tls).lower()}\nca = '{ca}'\n"
            )

        for text, sentence in (
            (external(True, other, "password"), "not trusted"),
            (external(True, ca, "wrong.password"), "refused the hub"),
            (external(False, ca, "password"), "the broker closed the connection"),
        ):
            (tmp_path / "hub.toml").write_text(text)
            assert sentence in operator.fails(UNREACHABLE, "serve")
        (tmp_path / "hub.toml").write_text(external(True, ca, "password"))
        serves(operator)


# The database and the disk


def test_a_locked_database_is_one_sentence_and_readers_need_no_lock(
    operator: Command, tmp_path: Path
) -> None:
    with locked(tmp_path / "hub.sqlite"):
        waiting = [operator.start(*words) for words in (("token",), ("serve",), ("approve", "A" * 56))]
        assert operator.json("tokens") == []
        said = [ended(process) for process in waiting]
    for each in said[:2]:
        assert (each.code, each.out) == (FAILED, "")
        assert "hub.sqlite is locked by another process for more than 5 s; end the program" in each.sentence
    operator.works("token")
    assert len(operator.json("tokens")) == 1
    serves(operator)


@pytest.mark.skipif(not SETPRIV, reason="root needs setpriv to be a user like any other")
def test_what_this_user_may_not_write_is_one_sentence(operator: Command, tmp_path: Path) -> None:
    (tmp_path / "hub.sqlite").chmod(0o400)
    sentence = operator.fails(FAILED, "token", unprivileged=True)
    assert "cannot be written; give this user write access to it, its -wal and -shm files" in sentence
    for path in tmp_path.glob("hub.sqlite*"):
        path.chmod(0o600)
    operator.works("token", unprivileged=True)
    (tmp_path / "master.key").chmod(0)
    assert "cannot read the master key" in operator.fails(FAILED, "token", unprivileged=True)
    (tmp_path / "master.key").chmod(0o600)
    tmp_path.chmod(0o500)
    sentence = operator.fails(FAILED, "backup", str(tmp_path / "copy"), unprivileged=True)
    assert sentence == f"cannot create {tmp_path}/copy.part: Permission denied"
    tmp_path.chmod(0o700)
    operator.works("backup", str(tmp_path / "copy"), unprivileged=True)


def test_one_hub_serves_and_the_other_one_says_who(tmp_path: Path) -> None:
    with HubProcess(tmp_path / "hub") as hub:
        hub.start()
        operator = handfast_hub(hub.file)
        assert "in use by process" in operator.fails(FAILED, "serve")
        # With a generator of its own it comes as far as the database.
        text = hub.file.read_text()
        hub.file.write_text(text + '\n[entropy]\nstate = "another"\n')
        assert "another process serves this hub" in operator.fails(FAILED, "serve")
        sentence = operator.fails(FAILED, "init")
        assert "has a hub already and was left as it is" in sentence
        taken = f"{NAME}[mqtt]\nport = {hub.address.rpartition(':')[2]}\n"
        second = handfast_hub(tmp_path / "second.toml")
        (tmp_path / "second.toml").write_text(taken)
        second.works("init")
        assert "but cannot" in second.fails(UNREACHABLE, "serve")
        (tmp_path / "second.toml").write_text(EMBEDDED)
        serves(second)


def test_a_full_disk_makes_no_half_hub(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        operator = handfast_hub(disk.path / "hub.toml")
        for spare in (0, 2, 4, 12, 40):
            with disk.full(spare):
                said = operator("init", "--name", "berlin")
                assert said.code == FAILED
                assert "full" in said.sentence or "No space left" in said.sentence or "disk" in said.sentence
        made = operator.json("init", "--name", "berlin")
        # Which also says that there is little room on this disk.
        assert made["hub_code"] in operator("check", "--json").out
        with disk.full():
            assert "full" in operator.fails(FAILED, "token", "--count", "100")
            assert "full" in operator.fails(FAILED, "backup", str(disk.path / "copy"))
            assert not list(disk.path.glob("copy*"))
        assert operator.json("tokens") == []
        operator.works("token")
        operator.works("backup", str(disk.path / "copy"))
        with disk.read_only():
            assert "read-only" in operator.fails(FAILED, "serve")
            assert "cannot be written" in operator.fails(FAILED, "token")
        assert len(operator.json("tokens")) == 1
        (disk.path / "hub.toml").write_text(EMBEDDED)
        serves(operator)


# While the hub serves


@contextlib.contextmanager
def hub_on(disk: Disk, folder: Path) -> Iterator[HubProcess]:
    """A hub that serves; its database is on `disk`."""
    with HubProcess(folder, None, f'database = "{disk.path}/hub.sqlite"') as hub:
        hub.start()
        yield hub


def test_a_hub_that_serves_outlives_a_full_disk_and_a_lock_and_loses_no_reading(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk, hub_on(disk, tmp_path / "hub") as hub:
        operator, device = handfast_hub(hub.file), handfast(tmp_path / "home")
        token = operator.works("--quiet", "token").strip()
        words = "--hub", hub.code, "--broker", hub.address, "--token", token
        device.works("init", *words)
        device.works("onboard")
        device.works("send", "before")
        with disk.full():
            sending = device.start("send", "while it was full")
            until(lambda: "the disk is full" in hub.log)
        assert ended(sending).code == 0
        with locked(disk.path / "hub.sqlite"):
            later = device.start("send", "while it was locked")
            until(lambda: "is locked by another process" in hub.log)
        assert ended(later).code == 0
        assert readings(operator, 3) == ["before", "while it was full", "while it was locked"]
        assert hub.stop() == 0
        with contextlib.closing(sqlite3.connect(disk.path / "hub.sqlite")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_hub_that_cannot_write_its_log_serves_all_the_same(operator: Command, tmp_path: Path) -> None:
    device = handfast(tmp_path / "home")
    with Path("/dev/full").open("wb") as full, operator.start("serve", stderr=full) as hub:
        try:
            assert hub.stdout is not None
            address = hub.stdout.readline().decode().split("serves at ")[1].split(";")[0]
            code = hub.stdout.readline().decode().split()[-1]
            claim = device.json("init", "--hub", code, "--broker", address)["claim_code"]
            operator.works("approve", claim)
            device.works("onboard")
            device.works("send", "unlogged")
        finally:
            hub.terminate()
        assert hub.wait(60) == 0
    assert readings(operator, 1) == ["unlogged"]


def readings(operator: Command, count: int) -> list[str]:
    """What the hub has, which are `count`."""
    lines = operator.works("listen", "--after", "0", "--count", str(count), "--json").splitlines()
    return [bytes.fromhex(json.loads(line)["data"]).decode() for line in lines]


def test_what_an_operator_mistypes_changes_nothing(tmp_path: Path) -> None:
    with HubProcess(tmp_path / "hub") as hub:
        hub.start()
        operator, device = handfast_hub(hub.file), handfast(tmp_path / "home")
        token = operator.works("--quiet", "token").strip()
        device.works("init", "--hub", hub.code, "--broker", hub.address, "--token", token)
        name = device.json("onboard")["device_id"]
        large = "00" * 64_996
        assert operator.fails(USAGE, "send", name, large, "--hex") == (
            "a command has at most 64995 bytes, this has 64996; send it in parts"
        )
        assert "no device is called" in operator.fails(USAGE, "send", "abcdef", "x")
        assert "a duration such as 30s" in operator.fails(USAGE, "token", "--expires", "1y")
        assert operator.json("commands") == []
        with Path("/dev/full").open("wb") as full:
            said = operator("token", stdout=full)
        assert (said.code, said.sentence.partition(":")[0]) == (FAILED, "standard output cannot be written")
        with device.running("listen", "--reply", "done"):
            assert operator.works("send", name, large[:-2], "--hex") == "done: done\n"
        operator.works("revoke", name)
        assert "needs an onboarded device" in operator.fails(USAGE, "send", name, "x")
        assert "the hub has revoked this device" in device.fails(REFUSED, "send", "x")
