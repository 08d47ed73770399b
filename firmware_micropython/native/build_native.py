"""Builds the kernels in C: handfast_native.mpy, for one family of chips or for all that have a compiler here.

    python firmware_micropython/native/build_native.py [FAMILY ...] [--out FOLDER]

One line for each family: the file, or why there is none. The .mpy is loaded by the firmware that a board has
already; it belongs into a folder of sys.path there, such as /lib. MicroPython's own linker makes it
(tools/mpy_ld.py), from the source that the unix port is built from.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from micropython_build import BuildError, micropython_source  # noqa: E402

CACHE = ROOT / ".build" / "native"
NAME = "handfast_native.mpy"
# Freestanding: the firmware exports no libc, so the compiler must not invent calls of memset or memcpy.
# Without the scheduler before register allocation: it moves loads up until there are no registers left
# for them, and a multiplication of X25519 takes a third more.
FLAGS = (
    *("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-DNDEBUG"),
    *("-ffreestanding", "-fno-tree-loop-distribute-patterns", "-fno-schedule-insns", "-fpic", "-fno-common"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-U_FORTIFY_SOURCE"),
    *("-DNO_QSTR", "-DMICROPY_ENABLE_DYNRUNTIME", "-DMICROPY_FLOAT_IMPL=MICROPY_FLOAT_IMPL_NONE"),
)


class Family(NamedTuple):
    """A native architecture of MicroPython, named as for mpy-cross -march, and who compiles for it."""

    prefix: str
    flags: tuple[str, ...]
    package: str


ARM_PACKAGES = "gcc-arm-none-eabi with libnewlib-arm-none-eabi"
FAMILIES = {
    "x64": Family("", ("-m64",), "gcc"),
    "x86": Family("", ("-m32",), "gcc-multilib"),
    "armv6m": Family("arm-none-eabi-", ("-mthumb", "-mcpu=cortex-m0"), ARM_PACKAGES),
    "armv7m": Family("arm-none-eabi-", ("-mthumb", "-mcpu=cortex-m3"), ARM_PACKAGES),
    "armv7emsp": Family(
        "arm-none-eabi-",
        ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        ARM_PACKAGES,
    ),
    "rv32imc": Family(
        "riscv64-unknown-elf-",
        ("-march=rv32imac", "-mabi=ilp32", "-mno-relax", "-specs=picolibc.specs"),
        "gcc-riscv64-unknown-elf with picolibc-riscv64-unknown-elf",
    ),
    # Espressif's compiler; Debian has one for the older ESP8266 alone, whose calls differ.
    "xtensawin": Family("xtensa-esp32-elf-", (), "no package of Debian; Espressif's xtensa-esp-elf"),
}


def native_module(family: str) -> Path:
    """The .mpy for `family`; built now unless an earlier call left it. BuildError when it cannot be."""
    row = FAMILIES[family]
    compiler = row.prefix + "gcc"
    if shutil.which(compiler) is None:
        raise BuildError(f"{compiler} is not installed ({row.package})")
    source = micropython_source()
    recipe = hashlib.sha256(f"{row}{FLAGS}{source}".encode())
    files = sorted(HERE.glob("*.[ch]"))
    for path in [*files, Path(__file__)]:
        recipe.update(path.read_bytes())
    folder = CACHE / f"{family}-{recipe.hexdigest()[:12]}"
    target = folder / NAME
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _build([path for path in files if path.suffix == ".c"], family, source, folder)
    return target


def _build(files: list[Path], family: str, source: Path, folder: Path) -> None:
    """Collect the names that the module exports, compile each file, link."""
    row = FAMILIES[family]
    linker = [sys.executable, str(source / "tools" / "mpy_ld.py"), "--arch", family]
    names = folder / "names.h"
    _run([*linker, "--preprocess", "-o", str(names), *map(str, files)])
    objects = [folder / f"{path.stem}.o" for path in files]
    for path, made in zip(files, objects, strict=True):
        flags = [*FLAGS, *row.flags, f"-I{source}", f"-DMP_CONFIGFILE=<{names}>"]
        _run([row.prefix + "gcc", *flags, "-c", str(path), "-o", str(made)])
    # Under another name first: a build that was interrupted leaves no half of a module.
    half = folder / (NAME + ".half")
    _run([*linker, "--qstrs", str(names), "-o", str(half), *map(str, objects)])
    half.replace(folder / NAME)


def _run(command: list[str]) -> None:
    # Two jobs, like a cache of the linker beside its own file, would meet in the source's folder.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()[-12:]
        raise BuildError(f"{Path(command[0]).name} failed:\n" + "\n".join(said))


def main() -> int:
    """Build what was asked for; 0 when all of it was built, or, if nothing was named, something."""
    parser = argparse.ArgumentParser(description="Build handfast's kernels in C for MicroPython boards.")
    parser.add_argument(
        "family", nargs="*", choices=[[], *FAMILIES], help="all that have a compiler, if left out"
    )
    parser.add_argument("--out", type=Path, help="copy to FOLDER/FAMILY/" + NAME)
    wanted = parser.parse_args()
    built = 0
    for family in wanted.family or FAMILIES:
        try:
            made = native_module(family)
        except BuildError as error:
            print(f"{family}: {error}", file=sys.stderr)
            continue
        built += 1
        if wanted.out:
            (wanted.out / family).mkdir(parents=True, exist_ok=True)
            made = Path(shutil.copy(made, wanted.out / family / NAME))
        print(f"{family}: {made}, {made.stat().st_size} bytes")
    return 0 if built == len(wanted.family or ()) or (built and not wanted.family) else 1


if __name__ == "__main__":
    sys.exit(main())
