"""Builds the MicroPython images for QEMU's MPS2 boards; prints their paths.

    python firmware_micropython/qemu/build_qemu_port.py [an385 an386 an500]

Needs arm-none-eabi-gcc with newlib's headers (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi).
Where the source comes from stands in micropython_build.py.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from micropython_build import BuildError, built  # noqa: E402

BOARDS = ("an385", "an386", "an500")
ROOT = HERE.parents[1]
# What an image is made of; a change builds it anew.
BARE = (
    *HERE.glob("*.[chl]*"),
    HERE / "Makefile",
    HERE / "manifest_bare.py",
    HERE / "boards",
    HERE / "frozen",
)
DEVICE = (HERE / "manifest.py", HERE.parent / "manifest.py", HERE / "frozen_device")
DEVICE += (ROOT / "sdk" / "handfast", HERE.parent / "handfast_micropython")


def firmware(board: str = "an385", bare: bool = False) -> Path:
    """The image for `board`, without handfast when `bare`; built now unless an earlier call left one.

    BuildError when it cannot be.
    """
    if board not in BOARDS:
        raise BuildError(f"there is no board {board}; choose one of {', '.join(BOARDS)}")
    manifest = HERE / ("manifest_bare.py" if bare else "manifest.py")
    recipe = board
    for part in BARE if bare else (*BARE, *DEVICE):
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file() and path.suffix != ".pyc":
                recipe += f"{path.relative_to(ROOT)}\n{path.read_text()}"
    variables = [f"BOARD={board}", f"FROZEN_MANIFEST={manifest}"]
    return built("firmware.elf", recipe, HERE, ["arm-none-eabi-gcc"], variables)


def main() -> int:
    """Build what was asked for, or all."""
    try:
        for board in sys.argv[1:] or BOARDS:
            print(firmware(board))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
