"""Who may import whom (docs/architecture.md). Imports point inwards only; this reads the sources with ast."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, SDK = "sdk/handfast/core", "sdk/handfast"
CPYTHON, MICROPYTHON = "sdk/handfast_cpython", "firmware_micropython/handfast_micropython"
HUB, KME = "hub/handfast_hub", "hub/handfast_kme"

# Everything that a shared file may import.
CORE_MAY = {"handfast.core", "binascii", "collections", "struct"}
SDK_MAY = CORE_MAY | {"handfast", "asyncio"}
# Which packages of ours the others may import; third parties are their own affair.
OURS = {
    "handfast",
    "handfast_cpython",
    "handfast_micropython",
    "handfast_hub",
    "handfast_kme",
    "tests",
    "examples",
}
FRIENDS = {
    CPYTHON: {"handfast", "handfast_cpython"},
    MICROPYTHON: {"handfast", "handfast_micropython"},
    HUB: {"handfast.core", "handfast.ports", "handfast_cpython", "handfast_hub"},
    # A simulated installation: it speaks to hubs over the wire alone.
    KME: {"handfast.core", "handfast_cpython", "handfast_kme"},
}
# Hand the shipped test pieces to users' own tests, and so know the device's side.
TEST_PIECES = {ROOT / "hub/handfast_hub/pytest_plugin.py", ROOT / "hub/handfast_hub/memory_hub.py"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports when it runs; what stands under TYPE_CHECKING does not run."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from package import name` may name a module. A relative import shows as one of no package.
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def inside(module: str, prefixes: set[str]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def strangers(folder: str, allowed: set[str]) -> list[str]:
    """What the files of `folder` import and may not."""
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for module in imports(path)
        if not inside(module, allowed) and path not in TEST_PIECES
    ]


def test_the_core_imports_the_core_only() -> None:
    assert strangers(CORE, CORE_MAY) == []


def test_the_sdk_imports_itself_and_asyncio_only() -> None:
    assert strangers(SDK, SDK_MAY) == []


@pytest.mark.parametrize("folder", FRIENDS)
def test_the_outer_packages_import_their_friends_only(folder: str) -> None:
    found = strangers(folder, FRIENDS[folder])
    assert [line for line in found if inside(line.split(" imports ")[1], OURS)] == []


def test_an_import_that_breaks_a_rule_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("import os.path\ndef late():\n    from handfast import device\n    from . import x\n")
    assert sorted(imports(file)) == [".x", "handfast.device", "os.path"]
    file.write_text("if TYPE_CHECKING:\n    import typing\nelse:\n    import json\n")
    assert list(imports(file)) == ["json"]


def public_classes(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def test_twin_files_of_the_two_ports_have_the_same_classes() -> None:
    for board in sorted((ROOT / MICROPYTHON).glob("*.py")):
        machine = ROOT / CPYTHON / board.name
        if machine.exists():
            assert public_classes(board) == public_classes(machine), board.name


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("handfast.core", ["asyncio", "handfast.device"]),
        ("handfast_hub", ["handfast.device", "handfast.testing", "handfast_kme", "numpy"]),
        ("handfast_kme", ["handfast.device", "handfast_hub"]),
    ],
)
def test_importing_one_end_loads_nothing_of_the_other(package: str, unwanted: list[str]) -> None:
    program = f"import {package}, sys; print([name for name in {unwanted} if name in sys.modules])"
    command, paths = [sys.executable, "-c", program], {"PYTHONPATH": "sdk:hub"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=paths, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
