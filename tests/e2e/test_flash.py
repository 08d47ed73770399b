"""handfast flash on an emulated board that comes with MicroPython and nothing else, up to its first reading.

Everything is real but the chip: the command, the raw prompt, the file system, the hub, Mosquitto.
"""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import emulator
import mosquitto
import pytest
from build_native import native_module
from emulated_board import needs_qemu
from flashed_board import HUB, OURS, SETTINGS, FlashedBoard, cable, flashed, hub_says, run
from micropython_build import BuildError
from processes import hub_behind

from handfast.core.codes import encode_hub_code
from handfast_cpython.crypto import Crypto

pytestmark = needs_qemu
MAIN = "/main.py"
SUITES = {"claim code": "-21", "token": "-22"}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[FlashedBoard]:
    """A board with MicroPython and an empty file system."""
    with FlashedBoard(tmp_path) as board:
        yield board


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The flash of a bare board that was flashed once, and what was said."""
    folder = tmp_path_factory.mktemp("first")
    with FlashedBoard(folder) as board:
        said = flashed("--port", board.port, *SETTINGS)
    assert (said["made"], said["unchanged"]) == (True, 0)
    return board.flash, said


@pytest.fixture
def board(tmp_path: Path, first: tuple[Path, dict[str, Any]]) -> Iterator[FlashedBoard]:
    """A board that was flashed before."""
    shutil.copy(first[0], tmp_path / "flash.img")
    with FlashedBoard(tmp_path) as board:
        yield board


@mosquitto.needs_mosquitto
@pytest.mark.parametrize("way", ["claim code", "token"])
def test_a_board_is_flashed_admitted_and_heard(
    tmp_path: Path, way: str, first: tuple[Path, dict[str, Any]]
) -> None:
    """Bare and by its claim code, or new for another hub and with a token."""
    if way == "token":
        shutil.copy(first[0], tmp_path / "flash.img")
    with hub_behind(tmp_path, "mosquitto") as (hub, broker):
        assert broker is not None
        hub.start()
        with FlashedBoard(tmp_path, emulator.tcp(broker.host, broker.port)) as board:
            words = ["--port", board.port, "--hub", hub.code, "--broker", "uart:1", "--name", "cellar"]
            words += ["--suite", SUITES[way]]
            token = ""
            if way == "token":
                words += ["--token", "-", "--reset", "--yes"]
                [made] = json.loads(hub_says(hub, "token", "--json"))
                token = made["token"] + "\n"
            said = flashed(*words, "--period", "1", typed=token)
            assert (said["made"], said["board"]) == (True, "qemu")
            assert said["hub"] == hub.hub_id.hex()
            if way == "claim code":
                hub_says(hub, "approve", said["claim_code"])
            first = json.loads(hub_says(hub, "listen", "--after", "0", "--count", "1", "--json"))
            assert bytes.fromhex(first["data"]).endswith(b" bytes of memory are free")
            [device] = json.loads(hub_says(hub, "devices", "--json"))
            assert device["thumbprint"] == said["thumbprint"]
            with contextlib.closing(sqlite3.connect(hub.folder / "hub.sqlite")) as database:
                assert database.execute("SELECT suite FROM keys").fetchall() == [(int(SUITES[way]),)]


def test_a_flashed_board_keeps_its_identity_and_gets_only_what_differs(
    board: FlashedBoard, first: tuple[Path, dict[str, Any]]
) -> None:
    _, said = first
    again = flashed("--port", board.port, "--period", "5")
    assert (again["made"], again["copied"], again["unchanged"]) == (False, 0, said["copied"])
    assert again["thumbprint"] == said["thumbprint"]

    # Whatever else lies in our folders would be loaded instead of it, or beside it.
    board.ask(
        "for path in ('/lib/handfast/core/cbor.py', '/lib/handfast_micropython/gone.mpy'):\n"
        "    file = open(path, 'w'); file.write('old'); file.close()\n"
        "file = open('/lib/handfast/device.mpy', 'w'); file.close()\n"
        "print(None)"
    )
    repaired = flashed("--port", board.port)
    assert (repaired["made"], repaired["copied"]) == (False, 1)
    files = board.files()
    assert {"/lib/handfast/core/cbor.py", "/lib/handfast_micropython/gone.mpy"} & files == set()
    assert len([path for path in files if path.startswith(OURS)]) == said["copied"]
    assert "/main.py.held" not in files


def test_another_hub_is_refused_and_a_reset_asks_first(
    board: FlashedBoard, first: tuple[Path, dict[str, Any]]
) -> None:
    _, said = first
    other = encode_hub_code(Crypto(), bytes(32))
    done = run("--port", board.port, "--hub", other, "--broker", "uart:1")
    assert done.returncode == 2 and "another hub" in done.stderr and done.stdout == ""
    done = run("--port", board.port, "--hub", other, "--broker", "uart:1", "--reset")
    assert done.returncode == 2 and "--yes" in done.stderr
    assert flashed("--port", board.port)["thumbprint"] == said["thumbprint"]

    new = flashed("--port", board.port, "--hub", other, "--broker", "uart:1", "--reset", "--yes")
    assert (new["made"], new["hub"]) == (True, bytes(32).hex())
    assert new["thumbprint"] != said["thumbprint"]


def test_a_wrong_board_is_refused_in_one_sentence_and_untouched(bare: FlashedBoard) -> None:
    before = bare.files()
    done = run("--port", bare.port, "--board", "rp2", "--hub", HUB, "--broker", "mqtt://hub.local")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("cli.py: --board says rp2, but this is a qemu (mps2-an385")
    assert bare.files() == before


def test_a_new_board_without_a_hub_and_a_port_without_a_board_say_so(bare: FlashedBoard) -> None:
    done = run("--port", bare.port)
    assert (done.returncode, bare.files()) == (2, set())
    assert "give --hub and --broker" in done.stderr
    bare.cut_power()
    done = run("--port", bare.port, *SETTINGS)
    assert done.returncode == 5 and "does not open" in done.stderr


def test_a_board_that_was_half_copied_is_repaired_by_the_same_command(bare: FlashedBoard) -> None:
    """The power goes with the cable, in the middle of some file."""
    broken = 0
    while True:
        with cable(bare, 60_000) as line:
            done = run("--port", line.port, *SETTINGS, "--json")
        if not line.broken:
            break
        broken += 1
        assert done.returncode == 5 and done.stdout == "", done.stderr
        bare.switch_on()
        # Nothing starts by itself before all is there.
        assert MAIN not in bare.files()
    assert done.returncode == 0, done.stderr
    assert broken >= 2
    said = json.loads(done.stdout)
    assert said["copied"] > 0 and said["unchanged"] > 0
    assert flashed("--port", bare.port)["thumbprint"] == said["thumbprint"]
    assert MAIN in bare.files()


def test_a_cable_that_breaks_while_the_identity_is_made_leaves_no_half_device(
    board: FlashedBoard, first: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The power goes with the cable, at ever later bytes."""
    own = tmp_path / "own.py"
    own.write_text("mine = 3" + "  # and so on" * 50)
    device = (
        "import handfast.identity as identity\n"
        "from handfast_micropython.crypto import Crypto\n"
        "from handfast_micropython.keystore import Keystore\n"
        "crypto, keystore = Crypto(), Keystore()\n"
        "made = keystore.load('identity') is not None\n"
        "print(identity.load(crypto, keystore).credential.thumbprint if made else None)"
    )
    seen = {first[1]["thumbprint"]}
    broken = length = 0
    while True:
        length += 600
        with cable(board, length) as line:
            done = run("--port", line.port, *SETTINGS, "--reset", "--yes", "--main", str(own), "--json")
        if not line.broken:
            break
        broken += 1
        assert done.returncode == 5 and done.stdout == "", done.stderr
        board.switch_on()
        # The old device, a new one or none; a keystore that is damaged would raise.
        seen.add(board.ask(device))
        assert {"/main.py", "/main.py.new"} & board.files()
    assert done.returncode == 0, done.stderr
    assert broken >= 5 and len(seen) >= 2
    assert board.ask(device).hex() == json.loads(done.stdout)["thumbprint"]
    assert board.ask("print(repr(open('/main.py').read()))") == own.read_text()
    assert board.files() & {"/main.py.new", "/main.py.held"} == set()


def test_the_owners_main_is_kept_or_replaced_as_asked(board: FlashedBoard, tmp_path: Path) -> None:
    board.ask("file = open('/main.py', 'w'); file.write('mine = 1'); file.close()\nprint(None)")
    # Some file is missing, so that main.py is put aside meanwhile.
    board.ask("import os\nos.remove('/lib/handfast/device.mpy')\nprint(None)")
    assert flashed("--port", board.port)["copied"] == 1
    assert board.ask("print(repr(open('/main.py').read()))") == "mine = 1"
    own = tmp_path / "own.py"
    own.write_text("mine = 2")
    flashed("--port", board.port, "--main", str(own))
    assert board.ask("print(repr(open('/main.py').read()))") == "mine = 2"
    own.write_text("def")
    assert run("--port", board.port, "--main", str(own)).returncode == 2


def test_a_board_whose_flash_is_mounted_elsewhere_is_one_too(
    board: FlashedBoard, first: tuple[Path, dict[str, Any]]
) -> None:
    """The ports stm32, mimxrt and nrf mount it at /flash, and / is then no file system."""
    boot = (
        "import emulator, os, sys, vfs\n"
        "vfs.umount('/')\n"
        "vfs.mount(vfs.VfsLfs2(emulator.Flash()), '/flash')\n"
        "os.chdir('/flash')\n"
        "sys.path[:] = ['', '.frozen', '/flash', '/flash/lib']\n"
    )
    board.ask(f"file = open('/boot.py', 'w'); file.write({boot!r}); file.close()\nprint(None)")
    again = flashed("--port", board.port)
    assert (again["copied"], again["thumbprint"]) == (0, first[1]["thumbprint"])
    new = flashed("--port", board.port, *SETTINGS, "--reset", "--yes")
    assert new["made"] is True
    assert {"/flash/main.py", "/flash/handfast-keys/identity.1"} <= board.files()


def test_kernels_in_c_are_brought_and_taken_away(board: FlashedBoard, tmp_path: Path) -> None:
    tier = "from handfast_micropython.tier import TIER\nprint(repr(TIER))"
    assert board.ask(tier) == "viper"
    try:
        kernels = native_module("armv7m")
    except BuildError as error:
        pytest.skip(f"no kernels in C: {error}")
    said = flashed("--port", board.port, "--kernels", str(kernels))
    assert said["made"] is False and said["copied"] > 1
    assert board.ask(tier) == "native"
    for_another = bytearray(kernels.read_bytes())
    for_another[2] = 10 << 2 | 3
    (tmp_path / "esp32.mpy").write_bytes(for_another)
    done = run("--port", board.port, "--kernels", str(tmp_path / "esp32.mpy"))
    assert done.returncode == 2 and "these kernels are for xtensawin" in done.stderr
    flashed("--port", board.port)
    assert board.ask(tier) == "viper"


def test_a_wifi_password_goes_to_the_board_and_nowhere_else(board: FlashedBoard) -> None:
    stored = (
        "from handfast.core.cbor import decode\n"
        "from handfast_micropython.keystore import Keystore\n"
        "print(decode(Keystore().load('wifi')))"
    )
    for number, how in enumerate(
        ({"typed": "correct horse 0\n"}, {"settings": {"HANDFAST_WIFI_PASSWORD": "correct horse 1"}})
    ):
        done = run("--port", board.port, *SETTINGS, "--wifi", "cellar", **how)
        assert done.returncode == 0, done.stderr
        assert "horse" not in done.stdout + done.stderr
        assert board.ask(stored) == [1, "cellar", f"correct horse {number}"]
    done = run("--port", board.port, "--wifi", "cellar")
    assert done.returncode == 2 and "HANDFAST_WIFI_PASSWORD" in done.stderr
    done = run("--port", board.port, "--wifi", "cellar", typed="short\n")
    assert done.returncode == 2 and "8 to 63" in done.stderr


def test_a_board_with_frozen_handfast_is_only_set_up(tmp_path: Path) -> None:
    with FlashedBoard(tmp_path, bare=False) as board:
        said = flashed("--port", board.port, *SETTINGS)
        assert (said["made"], said["copied"], said["unchanged"]) == (True, 0, 0)
        assert not [path for path in board.files() if path.startswith(OURS)]
