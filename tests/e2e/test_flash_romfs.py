"""handfast flash on an emulated board that has a partition for a ROMFS, where code runs in place."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import emulator
import mosquitto
import pytest
from build_native import native_module
from emulated_board import needs_qemu
from flashed_board import OURS, SETTINGS, FlashedBoard, cable, flashed, hub_says, run
from micropython_build import BuildError
from processes import PATIENCE, environment, hub_behind

from handfast_cpython import firmware

pytestmark = needs_qemu
WHERE = "import handfast\nprint(repr(handfast.__file__))"
HEAD = b"\xd2\xcd\x31"
# Not enough for the same files in its file system, which take 200 KB.
HEAP = 176 * 1024
IN_ROM, IN_FILES = "/rom/lib/handfast/__init__.mpy", "/lib/handfast/__init__.mpy"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[FlashedBoard]:
    """A board with MicroPython, an empty file system and an empty partition for a ROMFS."""
    with FlashedBoard(tmp_path, rom=tmp_path / "rom.img") as board:
        yield board


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a board that was flashed once, and its thumbprint."""
    folder = tmp_path_factory.mktemp("first")
    with FlashedBoard(folder, rom=folder / "rom.img") as board:
        said = flashed("--port", board.port, *SETTINGS)
    # Unasked, for there is a partition and nothing is in it.
    assert (said["place"], said["made"], said["unchanged"]) == ("ROMFS", True, 0)
    return folder, said["thumbprint"]


@pytest.fixture
def board_in_use(tmp_path: Path, first: tuple[Path, str]) -> Iterator[FlashedBoard]:
    """A board that was flashed before."""
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    with FlashedBoard(tmp_path, rom=tmp_path / "rom.img") as board:
        yield board


def mpremote(board: FlashedBoard, *words: str) -> str:
    """mpremote with these words, as a person types them."""
    command = [sys.executable, "-m", "mpremote", "connect", board.port, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@mosquitto.needs_mosquitto
def test_a_board_is_flashed_by_its_romfs_admitted_and_heard(tmp_path: Path) -> None:
    """With room to wait: a board that asks again and again for approval cuts its heap into small pieces."""
    with hub_behind(tmp_path, "mosquitto") as (hub, broker):
        assert broker is not None
        hub.start()
        wire = emulator.tcp(broker.host, broker.port)
        with FlashedBoard(tmp_path, wire, rom=tmp_path / "rom.img", heap=HEAP) as board:
            words = ["--port", board.port, "--hub", hub.code, "--broker", "uart:1"]
            said = flashed(*words, "--romfs", "--period", "1")
            assert (said["place"], said["made"], said["unchanged"]) == ("ROMFS", True, 0)
            hub_says(hub, "approve", said["claim_code"])
            first = json.loads(hub_says(hub, "listen", "--after", "0", "--count", "1", "--json"))
            assert bytes.fromhex(first["data"]).endswith(b" bytes of memory are free")
            [device] = json.loads(hub_says(hub, "devices", "--json"))
            assert device["thumbprint"] == said["thumbprint"]
            assert board.ask(WHERE) == IN_ROM


def test_the_romfs_is_written_once_and_said_to_be_used(
    board_in_use: FlashedBoard, first: tuple[Path, str]
) -> None:
    board = board_in_use
    assert board.rom is not None
    image = board.rom.read_bytes()
    # Files of an older way of it take room, and might be found first.
    board.ask(
        "import os\nos.mkdir('/lib'); os.mkdir('/lib/handfast')\n"
        "file = open('/lib/handfast/device.mpy', 'w'); file.close()\nprint(None)"
    )
    again = run("--port", board.port, "--period", "5")
    assert again.returncode == 0, again.stderr
    assert "files       in the ROMFS: 0 copied" in again.stdout and first[1] in again.stdout
    assert board.rom.read_bytes() == image
    assert not [path for path in board.files() if path.startswith(OURS)]


def test_there_and_back_the_identity_stays(board_in_use: FlashedBoard, first: tuple[Path, str]) -> None:
    board = board_in_use
    assert board.ask(WHERE) == IN_ROM
    own = "print('mine')"
    board.ask(f"file = open('/main.py', 'w'); file.write({own!r}); file.close()\nprint(None)")
    files = flashed("--port", board.port, "--no-romfs")
    assert (files["place"], files["thumbprint"]) == ("file system", first[1])
    assert board.ask(WHERE) == IN_FILES
    assert "rom" not in board.ask("import os\nprint(os.listdir('/'))")
    back = flashed("--port", board.port, "--romfs")
    assert (back["place"], back["thumbprint"]) == ("ROMFS", first[1])
    assert board.ask(WHERE) == IN_ROM
    assert board.ask("print(repr(open('/main.py').read()))") == own


def test_a_power_cut_leaves_a_whole_romfs_or_none(board: FlashedBoard, first: tuple[Path, str]) -> None:
    """The power goes with the cable, at ever later bytes; half an image would be run at the next start."""
    assert board.rom is not None
    whole = (first[0] / "rom.img").read_bytes()
    broken = length = 0
    while True:
        length += 45_000
        with cable(board, length) as line:
            done = run("--port", line.port, *SETTINGS, "--json")
        if not line.broken:
            break
        broken += 1
        assert done.returncode == 5 and done.stdout == "", done.stderr
        rom = board.rom.read_bytes()
        assert rom[: len(HEAD)] != HEAD or rom == whole
        board.switch_on()
        assert "/main.py" not in board.files()
    assert done.returncode == 0, done.stderr
    assert broken >= 4
    assert json.loads(done.stdout)["place"] == "ROMFS"
    assert board.rom.read_bytes() == whole and "/main.py" in board.files()


def test_an_old_image_goes_before_anything_of_a_new_one_comes(board: FlashedBoard, tmp_path: Path) -> None:
    old = tmp_path / "old" / "lib" / "handfast"
    old.mkdir(parents=True)
    (old / "__init__.py").write_text("old = 1" + "  # and so on" * 20_000)
    mpremote(board, "romfs", "--no-mpy", "deploy", str(tmp_path / "old"))
    with cable(board, 100_000) as line:
        done = run("--port", line.port, *SETTINGS)
    assert line.broken and done.returncode == 5, done.stderr
    board.switch_on()
    assert "rom" not in board.ask("import os\nprint(os.listdir('/'))")
    assert flashed("--port", board.port, *SETTINGS)["place"] == "ROMFS"
    assert board.ask(WHERE) == IN_ROM


def test_somebodys_romfs_is_left_alone_until_he_says_otherwise(board: FlashedBoard, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.py").write_text("number = 7")
    assert "deployed" in mpremote(board, "romfs", "deploy", str(own))
    mine = "import mine\nprint(mine.number)"
    said = flashed("--port", board.port, *SETTINGS)
    assert said["place"] == "file system" and board.ask(mine) == 7
    done = run("--port", board.port, "--romfs")
    assert done.returncode == 2 and "Erase mine.mpy in the ROMFS" in done.stderr and "--yes" in done.stderr
    assert board.ask(mine) == 7
    again = flashed("--port", board.port, "--romfs", "--yes")
    assert (again["place"], again["thumbprint"]) == ("ROMFS", said["thumbprint"])
    assert not [path for path in board.files() if path.startswith(OURS)]


def test_a_romfs_with_handfast_and_files_of_an_application_is_only_set_up(
    board_in_use: FlashedBoard, tmp_path: Path
) -> None:
    board = board_in_use
    own = tmp_path / "own"
    for path, data in firmware.compiled("armv7m", lambda count: None).items():
        (own / "lib" / path).parent.mkdir(parents=True, exist_ok=True)
        (own / "lib" / path).write_bytes(data)
    (own / "mine.py").write_text("number = 7")
    mpremote(board, "romfs", "deploy", str(own))
    said = flashed("--port", board.port)
    assert (said["place"], said["copied"], said["unchanged"]) == ("ROMFS", 0, 0)
    assert board.ask(WHERE) == IN_ROM
    done = run("--port", board.port, "--no-romfs")
    assert done.returncode == 2 and "beside mine.mpy" in done.stderr


def test_what_does_not_fit_goes_into_the_files_unless_it_was_asked_for(tmp_path: Path) -> None:
    rom = tmp_path / "rom.img"
    rom.write_bytes(emulator.ERASED * (64 << 10))
    with FlashedBoard(tmp_path, rom=rom) as board:
        done = run("--port", board.port, *SETTINGS, "--romfs")
        assert done.returncode == 2 and "KB and the partition of this board 64 KB" in done.stderr
        assert board.files() == set() and rom.read_bytes() == emulator.ERASED * (64 << 10)
        assert flashed("--port", board.port, *SETTINGS)["place"] == "file system"


def test_a_board_without_a_partition_says_so(tmp_path: Path) -> None:
    with FlashedBoard(tmp_path) as board:
        done = run("--port", board.port, *SETTINGS, "--romfs")
        assert done.returncode == 2 and "has no partition for a ROMFS" in done.stderr
        assert board.files() == set()


def test_a_boot_program_that_runs_from_the_romfs_is_not_pulled_away(board_in_use: FlashedBoard) -> None:
    board = board_in_use
    assert board.rom is not None
    image = board.rom.read_bytes()
    board.ask("file = open('/boot.py', 'w'); file.write('import handfast'); file.close()\nprint(None)")
    done = run("--port", board.port, "--no-romfs")
    assert done.returncode == 2 and "boot.py of this board loads handfast" in done.stderr
    assert board.rom.read_bytes() == image


def test_kernels_in_c_are_loaded_from_the_romfs(board_in_use: FlashedBoard) -> None:
    board = board_in_use
    try:
        kernels = native_module("armv7m")
    except BuildError as error:
        pytest.skip(f"no kernels in C: {error}")
    said = flashed("--port", board.port, "--kernels", str(kernels))
    assert said["place"] == "ROMFS"
    assert board.ask("from handfast_micropython.tier import TIER\nprint(repr(TIER))") == "native"
