"""Builds the unix port of MicroPython that the tests run on; prints the path of the interpreter.

    python firmware_micropython/unix/build_unix_port.py

No TLS, viper on. Where its source comes from stands in micropython_build.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from micropython_build import BuildError, built  # noqa: E402

# Off: what needs libraries, and what a board has not. Everything else as in the standard variant.
FEATURES_OFF = ("SSL", "FFI", "BTREE", "TERMIOS", "THREAD")
SWITCHES = [f"MICROPY_PY_{name}=0" for name in FEATURES_OFF] + [
    "MICROPY_SSL_MBEDTLS=0",
    "MICROPY_USE_READLINE=0",
    "MICROPY_VFS_FAT=0",
    "MICROPY_VFS_LFS1=0",
    "MICROPY_VFS_LFS2=0",
]


def unix_port(bits: int = 64) -> Path:
    """The interpreter; built now unless an earlier call left one. BuildError when it cannot be.

    `bits` is 64, for the machine's own words, or 32, for the words of a chip (on an x86 machine).
    """
    switches = [*SWITCHES, "MICROPY_FORCE_32BIT=1"] if bits == 32 else SWITCHES
    if bits == 32:
        _need_32_bit()
    manifest = HERE / "manifest.py"
    recipe = f"{switches}{manifest.read_text()}"
    variables = [*switches, f"FROZEN_MANIFEST={manifest}"]
    return built("micropython", recipe, Path("ports/unix"), ["cc"], variables)


def _need_32_bit() -> None:
    command = ["cc", "-m32", "-x", "c", "-o", os.devnull, "-"]
    program = '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
    found = shutil.which("cc") is not None
    if (
        not found
        or subprocess.run(command, input=program.encode(), capture_output=True, check=False).returncode
    ):
        raise BuildError("the C compiler makes no 32-bit programs here; Debian's gcc-multilib would")


if __name__ == "__main__":
    try:
        print(unix_port())
    except BuildError as error:
        sys.exit(f"{error}")
