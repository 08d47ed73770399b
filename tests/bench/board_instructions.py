"""Instructions on the emulated Cortex-M3, beside the published figures of C; part of make bench.

    python tests/bench/board_instructions.py [--json]

Viper as it is frozen into the image, and the kernels in C as a board has them: handfast_native.mpy in /lib
of its flash, loaded into the heap by the same image.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT / "firmware_micropython" / "native")]

import board_program  # noqa: E402
from build_native import native_module  # noqa: E402
from build_qemu_port import BuildError, firmware  # noqa: E402

COUNTING = "shift=5,sleep=off"
PATIENCE = 600.0
# Of a usual chip: what a collection takes grows with the heap.
HEAP = 192 << 10
# (what, in words, the target of viper and of machine code in millions of instructions, and the cycles in
# millions that pqm4 publishes for C with assembly on a Cortex-M4, None where we know of none).
ROWS = (
    ("keccak", "Keccak-f[1600]", 0.062, 0.024, None),
    ("kem_first_key", "ML-KEM-768 key, and loading what makes it", None, None, None),
    ("kem_key", "ML-KEM-768 key", 5.5, 2.3, 0.642),
    ("encapsulate", "ML-KEM-768 encapsulation", 6.0, 2.3, 0.659),
    ("decapsulate", "ML-KEM-768 decapsulation", 7.5, 3.0, 0.708),
    ("signature_first_key", "ML-DSA-65 key, and loading what makes it", None, None, None),
    ("signature_key", "ML-DSA-65 key", 19.0, 8.0, None),
    ("sign", "ML-DSA-65 signature, average of 20", 120.0, 45.0, 6.2),
    ("verify", "ML-DSA-65 verification", 20.0, 7.0, 2.4),
    ("x25519", "X25519, one multiplication", 20.0, 3.0, None),
    ("kmac256", "KMAC256, 32 bytes", None, None, None),
    ("seal_32", "AES-128-CCM, 32 bytes", None, None, None),
    ("handshake", "handshake of suite -21, the device's part", 240.0, 80.0, None),
    ("handshake_sign", "of it the signature, an unlucky one", None, None, None),
    ("handshake_seal_in_place", "sealing message_3", None, None, None),
    ("handshake_kem_public_key", "the key of X-Wing", None, None, None),
    ("handshake_decapsulate", "its decapsulation", None, None, None),
    ("handshake_verify", "verification", None, None, None),
    ("handshake_kmac256", "KMAC256, all calls", None, None, None),
    ("handshake_hash", "SHAKE256, all calls", None, None, None),
)


def measure(native: Path | None = None) -> dict[str, object]:
    """Instructions by the names of ROWS, and `tier`; BuildError or BoardError when there is no measuring.

    `native` is the module with the kernels in C, if they are to be measured.
    """
    program = "import sys\nsys.path += ['/host/tests/bench', '/host/tests/core']\nimport board_primitives\n"
    with tempfile.TemporaryDirectory() as folder:
        flash = None
        if native:
            flash = Path(folder) / "flash.img"
            program = (
                "import emulator, os, sys\n"
                "if '/lib' not in sys.path: sys.path.append('/lib')\n"
                "os.mkdir('/lib')\n"
                f"with open('/lib/{native.name}', 'wb') as file: file.write(emulator.read({str(native)!r}))\n"
            ) + program
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


def table(viper: dict[str, object], native: dict[str, object]) -> str:
    """The table of docs/benchmarks.md."""
    lines = [
        "| millions | viper | target | native | target | C, published |",
        "|---|---|---|---|---|---|",
    ]
    for name, title, viper_target, native_target, published in ROWS:
        cells = [title]
        for found, target in ((viper, viper_target), (native, native_target)):
            value = found.get(name)
            cells += ["" if value is None else f"{int(str(value)) / 1e6:.3g}", _text(target)]
        lines.append("| " + " | ".join([*cells, _text(published)]) + " |")
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print everything for a program")
    chosen = parser.parse_args()
    try:
        viper = measure()
        native = measure(native_module("armv7m"))
    except (BuildError, board_program.BoardError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"viper": viper, "native": native}, indent=1) if chosen.json else table(viper, native))
    return 0


if __name__ == "__main__":
    sys.exit(main())
