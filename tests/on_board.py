"""Runs the files that on_micropython.py runs on the emulated board; test_on_board.py calls it.

    python tests/on_board.py [test file ...]

handfast is what was frozen into the image; the tests come from /host. One start of the board runs many
files, and before each everything of ours is imported anew.
"""

import re
import sys
import tempfile
from pathlib import Path

import board_program
import on_micropython
from build_qemu_port import firmware

ROOT = on_micropython.ROOT
# Tests of the unix port's own folder tree, and of what only it imports from source.
ONLY_UNIX = {"test_imports"}
PATIENCE = 600.0
# Files in one start of the board: names that were seen once stay in its heap.
AT_ONCE = 4


def test_files() -> list[Path]:
    """Every test file that runs on the board."""
    return [path for path in on_micropython.test_files() if path.stem not in ONLY_UNIX]


def run(image: Path, paths: list[Path], native: Path | None = None) -> dict[Path, tuple[int, int, str]]:
    """Run the files: how many tests of each passed, how many failed, and what it printed.

    `native`, the module with the kernels in C, is put into /lib of the board's flash and loaded from there.
    """
    found = {}
    for first in range(0, len(paths), AT_ONCE):
        found.update(_run(image, paths[first : first + AT_ONCE], native))
    return found


def _run(image: Path, paths: list[Path], native: Path | None) -> dict[Path, tuple[int, int, str]]:
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    program = (
        "import sys\n"
        "sys.path.append('/host/tests')\n"
        "import board_runner\n"
        f"board_runner.main('/host', {names!r})\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        flash = Path(folder) / "flash.img"
        if native:
            program = with_native(native) + program
        said = board_program.run(image, program, flash=flash, patience=PATIENCE)
    parts = re.split(r"^begin (\S+)\n", said, flags=re.MULTILINE)[1:]
    found = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        counts = re.search(r": (\d+) passed, (\d+) failed$", text.strip())
        found[ROOT / name] = (int(counts[1]), int(counts[2]), text) if counts else (0, 1, text)
    return found


def with_native(native: Path) -> str:
    """The beginning of a program: it puts the module with the kernels in C into /lib of the flash."""
    return (
        "import emulator, os, sys\n"
        "if '/lib' not in sys.path: sys.path.append('/lib')\n"
        "if 'lib' not in os.listdir('/'): os.mkdir('/lib')\n"
        f"with open('/lib/{native.name}', 'wb') as file: file.write(emulator.read({str(native)!r}))\n"
    )


def main() -> int:
    """Run the named files or all; 0 when nothing fails."""
    paths = [Path(name).resolve() for name in sys.argv[1:]] or test_files()
    passed = failed = 0
    for path, (good, bad, said) in run(firmware(), paths).items():
        print(said if bad else f"{path.relative_to(ROOT)}: {good} passed")
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed and {failed} failed on the emulated board")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
