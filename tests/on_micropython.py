"""Runs tests/core, tests/shell and tests/firmware under MicroPython; test_on_micropython.py calls it.

    python tests/on_micropython.py [test file ...]

The interpreter is $MICROPYTHON, else a unix port built from source (firmware_micropython/unix), else
npm's build for node. With CI set only the first two will do.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
for folder in ("unix", "native"):
    sys.path.insert(0, str(ROOT / "firmware_micropython" / folder))

from build_native import native_module  # noqa: E402
from build_unix_port import BuildError, unix_port  # noqa: E402

# Compiling a test file takes more than a board has; what fits into a board is measured elsewhere.
HEAP = "-X heapsize=64m"
NPM_PACKAGE = "@micropython/micropython-webassembly-pyscript@1.27.0"


def test_files() -> list[Path]:
    """Every test file that runs on both interpreters."""
    folders = [ROOT / "tests" / name for name in ("core", "shell", "firmware")]
    return sorted(path for folder in folders for path in folder.glob("test_*.py"))


def written(path: Path) -> int:
    """How many tests the file has, as far as its source says."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(path.read_text()).body
    return sum(isinstance(node, kinds) and node.name.startswith("test_") for node in body)


def interpreter(bits: int = 64) -> list[str]:
    """The command that takes a MicroPython program and its arguments; BuildError when there is none.

    With `bits` 32 it is a unix port with the words of a chip and nothing else will do.
    """
    own = os.environ.get("MICROPYTHON")
    if own and bits == 64:
        return [own, *HEAP.split()]
    try:
        return [str(unix_port(bits)), *HEAP.split()]
    except BuildError as error:
        if bits == 32 or os.environ.get("CI") or shutil.which("node") is None or shutil.which("npm") is None:
            raise
        print(f"{error}\nnpm's build stands in", file=sys.stderr)
    return _node()


def with_native_module(command: list[str], bits: int) -> list[str]:
    """The same command of a unix port, with the kernels in C on its path; BuildError when there are none."""
    folder = native_module("x64" if bits == 64 else "x86").parent
    return ["env", f"MICROPYPATH={folder}:.frozen", *command]


def _node() -> list[str]:
    folder = ROOT / ".build" / "node"
    if not (folder / "node_modules").exists():
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), NPM_PACKAGE]
        subprocess.run(npm, check=True, capture_output=True)
    return ["node", str(ROOT / "tests" / "micropython_in_node.mjs")]


def call_line(call: tuple[object, ...]) -> str:
    """A call of the Crypto port as firmware/crypto_calls.py reads it."""
    return " ".join([part.hex() or "-" if isinstance(part, bytes) else str(part) for part in call])


def run(command: list[str], path: Path) -> tuple[int, int, str]:
    """Run one file: how many tests passed, how many failed, and what was printed."""
    name = path.relative_to(ROOT).as_posix()
    program = [*command, "tests/micropython_runner.py", ".", name]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    said = done.stdout + done.stderr
    counts = re.search(r": (\d+) passed, (\d+) failed$", done.stdout.strip())
    if counts is None:
        return 0, 1, said + f"\n{name}: exit code {done.returncode}"
    return int(counts[1]), int(counts[2]), said


def main() -> int:
    """Run the named files or all; 0 when nothing fails."""
    command = interpreter()
    passed = failed = 0
    for path in [Path(name).resolve() for name in sys.argv[1:]] or test_files():
        good, bad, said = run(command, path)
        print(said if bad else said.strip().splitlines()[-1])
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed and {failed} failed with {command[0]}")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
