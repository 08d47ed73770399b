"""handfast flash on an emulated board that comes with MicroPython and nothing else, up to its first reading.

Everything is real but the chip: the command, the raw prompt, the file system, the hub, Mosquitto.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import emulator
import mosquitto
import pytest
from emulated_board import needs_qemu
from flashed_board import FlashedBoard, cable, flashed, run
from processes import PATIENCE, HubProcess, environment, hub_behind

from handfast.core.codes import encode_hub_code
from handfast_cpython.crypto import Crypto

pytestmark = needs_qemu
MAIN, OURS = "/main.py", ("/lib/handfast/", "/lib/handfast_micropython/")
# A hub that nobody runs: a board is set up without talking to it.
HUB = encode_hub_code(Crypto(), bytes(range(32)))
SETTINGS = ("--board", "qemu", "--hub", HUB, "--broker", "uart:1")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[FlashedBoard]:
    with FlashedBoard(tmp_path) as board:
        yield board


def hub_says(hub: HubProcess, *words: str) -> str:
    """`handfast-hub` with these words, as its operator types them."""
    command = [sys.executable, "-m", "handfast_hub.cli", "--config", str(hub.file), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@mosquitto.needs_mosquitto
@pytest.mark.parametrize("way", ["claim code", "token"])
def test_a_bare_board_is_flashed_admitted_and_heard(tmp_path: Path, way: str) -> None:
    with hub_behind(tmp_path, "mosquitto") as (hub, broker):
        assert broker is not None
        hub.start()
        with FlashedBoard(tmp_path, emulator.tcp(broker.host, broker.port)) as board:
            words = ["--port", board.port, "--hub", hub.code, "--broker", "uart:1", "--name", "cellar"]
            token = ""
            if way == "token":
                words += ["--token", "-"]
                [made] = json.loads(hub_says(hub, "token", "--json"))
                token = made["token"] + "\n"
            said = flashed(*words, "--period", "1", typed=token)
            assert (said["made"], said["board"], said["unchanged"]) == (True, "qemu", 0)
            assert said["hub"] == hub.hub_id.hex()
            if way == "claim code":
                hub_says(hub, "approve", said["claim_code"])
            first = json.loads(hub_says(hub, "listen", "--after", "0", "--count", "1", "--json"))
            assert bytes.fromhex(first["data"]).startswith(b"up ")
            [device] = json.loads(hub_says(hub, "devices", "--json"))
            assert device["thumbprint"] == said["thumbprint"]


def test_a_flashed_board_keeps_its_identity_and_gets_only_what_differs(board: FlashedBoard) -> None:
    first = flashed("--port", board.port, *SETTINGS)
    assert first["made"] is True
    again = flashed("--port", board.port, "--period", "5")
    assert (again["made"], again["copied"], again["unchanged"]) == (False, 0, first["copied"])
    assert again["thumbprint"] == first["thumbprint"]

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
    assert len([path for path in files if path.startswith(OURS)]) == first["copied"]
    assert "/main.py.held" not in files


def test_another_hub_is_refused_and_a_reset_asks_first(board: FlashedBoard) -> None:
    first = flashed("--port", board.port, *SETTINGS)
    other = encode_hub_code(Crypto(), bytes(32))
    done = run("--port", board.port, "--hub", other, "--broker", "uart:1")
    assert done.returncode == 2 and "another hub" in done.stderr and done.stdout == ""
    done = run("--port", board.port, "--hub", other, "--broker", "uart:1", "--reset")
    assert done.returncode == 2 and "--yes" in done.stderr
    assert flashed("--port", board.port)["thumbprint"] == first["thumbprint"]

    new = flashed("--port", board.port, "--hub", other, "--broker", "uart:1", "--reset", "--yes")
    assert (new["made"], new["hub"]) == (True, bytes(32).hex())
    assert new["thumbprint"] != first["thumbprint"]


def test_a_wrong_board_is_refused_in_one_sentence_and_untouched(board: FlashedBoard) -> None:
    before = board.files()
    done = run("--port", board.port, "--board", "rp2", "--hub", HUB, "--broker", "mqtt://hub.local")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("cli.py: --board says rp2, but this is a qemu (mps2-an385")
    assert board.files() == before


def test_a_new_board_without_a_hub_and_a_port_without_a_board_say_so(board: FlashedBoard) -> None:
    done = run("--port", board.port)
    assert (done.returncode, board.files()) == (2, set())
    assert "give --hub and --broker" in done.stderr
    board.cut_power()
    done = run("--port", board.port, *SETTINGS)
    assert done.returncode == 5 and "does not open" in done.stderr


def test_a_cable_that_breaks_anywhere_leaves_a_board_that_flash_repairs(board: FlashedBoard) -> None:
    """The power goes with the cable, at ever later bytes; nothing starts by itself before all is there."""
    broken = 0
    length = 60_000
    while True:
        with cable(board, length) as line:
            done = run("--port", line.port, *SETTINGS, "--json")
        if not line.broken:
            break
        broken += 1
        assert done.returncode == 5 and done.stdout == "", done.stderr
        board.switch_on()
        if MAIN in (files := board.files()):
            # It was cut after the last step.
            assert "/handfast-keys/identity.1" in files
        board.power_cycle()
        # Once the files are there, what remains is short and is cut more finely.
        length = 60_000 if "copying" in done.stderr else (3_000 if length == 60_000 else length + 500)
    assert done.returncode == 0, done.stderr
    assert broken >= 5
    said = json.loads(done.stdout)
    board.power_cycle()
    again = flashed("--port", board.port)
    assert (again["copied"], again["thumbprint"]) == (0, said["thumbprint"])
    assert MAIN in board.files()


def test_the_owners_main_is_kept_or_replaced_as_asked(board: FlashedBoard, tmp_path: Path) -> None:
    board.ask("file = open('/main.py', 'w'); file.write('mine = 1'); file.close()\nprint(None)")
    flashed("--port", board.port, *SETTINGS)
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
