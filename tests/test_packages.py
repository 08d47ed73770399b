"""What mip installs, what a manifest freezes and what handfast flash copies is one set of files."""

import http.server
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import on_micropython
import pytest
import test_architecture
from mpremote import mip
from test_firmware_sources import generator

from handfast_cpython import firmware

ROOT = Path(__file__).parents[1]
FILES = firmware.files()


def module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module(name): path for name, path in FILES.items()}


def wanted(path: Path) -> set[str]:
    """The modules of ours that a file imports when it runs."""
    found = set()
    for name in test_architecture.imports(path):
        # `from package import name` shows as one: the longest part that is a file is the module.
        parts = name.split(".")
        if parts[0] in ("handfast", "handfast_micropython"):
            while len(parts) > 1 and not module_exists(parts):
                parts.pop()
            found.add(".".join(parts))
    return found


def module_exists(parts: list[str]) -> bool:
    base = ROOT / ("sdk" if parts[0] == "handfast" else "firmware_micropython")
    place = base.joinpath(*parts)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def test_every_file_of_a_board_finds_what_it_imports() -> None:
    missing = {(name, want) for name, path in FILES.items() for want in wanted(path) if want not in MODULES}
    assert missing == set()


def test_what_is_left_out_exists_and_is_the_hubs() -> None:
    for name in firmware.LEFT_OUT:
        assert (ROOT / "sdk" / name).exists(), name
        assert not any(file.startswith(name) for file in FILES)
    assert {"handfast/device.py", "handfast_micropython/main.py"} <= FILES.keys()


def test_package_json_is_what_its_generator_writes() -> None:
    written = generator("write_package_json")
    assert written.TARGET.read_text() == written.package(), "call make format"


def test_the_manifest_freezes_every_file_of_a_board() -> None:
    manifest = ROOT / "firmware_micropython" / "manifest.py"
    frozen: set[str] = set()

    def package(name: str, base_path: str = ".") -> None:
        base = (manifest.parent / base_path).resolve()
        frozen.update(path.relative_to(base).as_posix() for path in (base / name).rglob("*.py"))

    exec(compile(manifest.read_text(), str(manifest), "exec"), {"package": package})
    assert FILES.keys() - frozen == set()


@pytest.mark.parametrize("architecture", ["bytecode", "armv6m", "xtensawin"])
def test_a_board_gets_one_of_each_pair_of_twins(architecture: str) -> None:
    names = firmware.files_for(architecture)
    viper = {name for name in names if name.endswith("_viper.py")}
    assert bool(viper) is (architecture != "bytecode")
    for name in names:
        if name.endswith("_bytecode.py"):
            assert name.replace("_bytecode", "_viper") not in viper
    assert not any(name.endswith("_native.py") for name in names)


def test_an_installed_wheel_compiles_the_same_firmware(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    assert not (tmp_path / "site" / "handfast_micropython").exists()
    program = (
        "import hashlib; from handfast_cpython import firmware\n"
        "print(firmware.__file__)\n"
        "made = firmware.compiled('armv6m', lambda count: None)\n"
        "print(hashlib.sha256(repr(sorted(made.items())).encode()).hexdigest())"
    )
    said = []
    for place in (tmp_path / "site", ROOT / "sdk"):
        paths = {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env=paths,
            cwd=tmp_path,
        )
        file, digest = done.stdout.split()
        assert file.startswith(str(place))
        said.append(digest)
    assert said[0] == said[1]


class Folder:
    """A board's file system for mip: a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def fs_exists(self, path: str) -> bool:
        return self._at(path).exists()

    def fs_mkdir(self, path: str) -> None:
        self._at(path).mkdir()

    def fs_writefile(self, path: str, data: bytes, progress_callback: object = None) -> None:
        self._at(path).write_bytes(data)

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")


@pytest.fixture
def server() -> Iterator[str]:
    """The files of this tree as a web server gives them."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(ROOT))

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def test_what_mip_installs_from_a_web_server_runs(server: str, tmp_path: Path) -> None:
    mip._install_package(Folder(tmp_path), f"{server}/package.json", "", "/lib", None, True)
    there = {path.relative_to(tmp_path / "lib").as_posix() for path in tmp_path.rglob("*.py")}
    assert there == FILES.keys()
    program = (
        f"import sys; sys.path[:] = ['{tmp_path}/lib', '.frozen']\n"
        "from handfast_micropython import main, provisioning\n"
        "print(main.__file__)"
    )
    interpreter = on_micropython.interpreter()
    done = subprocess.run([*interpreter, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"{tmp_path}/lib/handfast_micropython/main.py", "")
