"""A folder of the host as a file system that can be read: for tests, which need not go into the flash."""

import io

import emulator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_ONLY = 30
_NOT_THERE = 2


class HostFolder:
    """What `vfs.mount` wants of a file system, as far as imports and `open` ask for it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def ilistdir(self, path: str) -> "Iterator[tuple[str, int, int, int]]":
        """What a folder holds, as far as the file of the option listing= knows: the host lists none."""
        parts: "list[str]" = []
        for part in path.strip("/").split("/"):
            if part == "..":
                parts.pop()
            elif part:
                parts.append(part)
        path = "".join([part + "/" for part in parts])
        found = {}
        for line in emulator.read(emulator.option("listing")).decode().split("\n"):
            if line and line.startswith(path):
                name, _, below = line[len(path) :].partition("/")
                found[name] = 0x4000 if below else 0x8000
        return iter([(name, kind, 0, 0) for name, kind in sorted(found.items())])

    def chdir(self, path: str) -> None:
        """Folders are asked for by their whole path."""

    def mount(self, readonly: bool, mkfs: bool) -> None:
        """Nothing to prepare."""

    def umount(self) -> None:
        """Nothing to put away."""

    def open(self, path: str, mode: str) -> "io.IOBase":
        """The whole file in memory; OSError when it is not there or should be written."""
        if "w" in mode or "a" in mode or "+" in mode:
            raise OSError(_READ_ONLY)
        data = emulator.read(self._folder + path)
        return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode())

    def stat(self, path: str) -> "tuple[int, ...]":
        """Whether it is a file or a folder; nothing else is known of it."""
        kind = emulator.kind(self._folder + path)
        if not kind:
            raise OSError(_NOT_THERE)
        return (kind, 0, 0, 0, 0, 0, 0, 0, 0, 0)
