"""Instructions on the emulated Cortex-M3, beside the published figures of C; part of make bench.

    python tests/bench/board_instructions.py [--json] [FILE.mpy ...]

Files named, which import nothing of ours, are put into /lib of the board's flash and loaded from there before
anything else: a tier in machine code is measured without building an image.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

import board_program  # noqa: E402
from build_qemu_port import BuildError, firmware  # noqa: E402

COUNTING = "shift=5,sleep=off"
PATIENCE = 600.0
# Of a usual chip: what a collection takes grows with the heap.
HEAP = 192 << 10
# (what, in words, the target of viper and of machine code in millions of instructions, and the cycles in
# millions that pqm4 publishes for C with assembly on a Cortex-M4, None where we know of none).
ROWS = (
    ("keccak", "Keccak-f[1600]", 0.062, 0.024, None),
    ("kem_key", "ML-KEM-768 key", 5.5, 2.3, 0.642),
    ("encapsulate", "ML-KEM-768 encapsulation", 6.0, 2.3, 0.659),
    ("decapsulate", "ML-KEM-768 decapsulation", 7.5, 3.0, 0.708),
    ("signature_key", "ML-DSA-65 key", 19.0, 8.0, None),
    ("sign", "ML-DSA-65 signature, average of 20", 120.0, 45.0, 6.2),
    ("verify", "ML-DSA-65 verification", 20.0, 7.0, 2.4),
    ("x25519", "X25519, one multiplication", 20.0, 3.0, None),
    ("kmac256", "KMAC256, 32 bytes", None, None, None),
    ("seal_32", "AES-128-CCM, 32 bytes", None, None, None),
)


def measure(files: list[Path] | None = None) -> dict[str, object]:
    """Instructions by the names of ROWS, and `tier`; BuildError or BoardError when there is no measuring."""
    program = "import sys\nsys.path.append('/host/tests/bench')\nimport board_primitives\n"
    with tempfile.TemporaryDirectory() as folder:
        flash = None
        if files:
            flash = Path(folder) / "flash.img"
            program = _copy(files) + program
        said = board_program.run(
            firmware(),
            program + "board_primitives.main()",
            heap=HEAP,
            flash=flash,
            icount=COUNTING,
            patience=PATIENCE,
        )
    found: dict[str, object] = {
        name: int(value) for name, value in re.findall(r"^instructions (\S+) (\d+)$", said, re.MULTILINE)
    }
    found["tier"] = re.findall(r"^tier (.+)$", said, re.MULTILINE)[0]
    return found


def _copy(files: list[Path]) -> str:
    """A program that puts files into /lib/handfast_micropython and has them found there."""
    lines = ["import emulator, os, sys"]
    lines += [f"os.mkdir({path!r})" for path in ("/lib", "/lib/handfast_micropython")]
    for file in files:
        target = f"/lib/handfast_micropython/{file.name}"
        lines += [f"with open({target!r}, 'wb') as file: file.write(emulator.read({str(file.resolve())!r}))"]
    # A package has one place on a board: what is named is loaded from the flash, and all else is frozen.
    lines += [
        "import handfast_micropython as package",
        "frozen, package.__path__ = package.__path__, '/lib/handfast_micropython'",
    ]
    lines += [f"__import__('handfast_micropython.{file.stem}')" for file in files]
    lines += ["package.__path__ = frozen"]
    return "\n".join(lines) + "\n"


def table(viper: dict[str, object], native: dict[str, object] | None) -> str:
    """The table of docs/benchmarks.md."""
    lines = [
        "| millions | viper | target | native | target | C, published |",
        "|---|---|---|---|---|---|",
    ]
    for name, title, viper_target, native_target, published in ROWS:
        cells = [title]
        for found, target in ((viper, viper_target), (native, native_target)):
            value = None if found is None else found.get(name)
            cells += ["" if value is None else f"{int(str(value)) / 1e6:.3g}", _text(target)]
        lines.append("| " + " | ".join([*cells, _text(published)]) + " |")
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print everything for a program")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.mpy")
    chosen = parser.parse_args()
    try:
        viper = measure()
        native = measure(chosen.files) if chosen.files else None
    except (BuildError, board_program.BoardError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"viper": viper, "native": native}, indent=1) if chosen.json else table(viper, native))
    return 0


if __name__ == "__main__":
    sys.exit(main())
