"""Small files in the flash file system of a board (littlefs or FAT), for the keystore."""

import os

# errno of MicroPython and of Linux alike.
_NOT_THERE = 2
_THERE_ALREADY = 17
_NO_SUCH_DEVICE = 19
# Where the ports stm32, mimxrt and nrf mount the flash: on them nothing can be written to / itself.
_MOUNTED = "/flash"


class FlashFolder:
    """The files of one folder, whole ones only. OSError when the flash does not do what it should.

    A power cut while `write` is at work leaves the file as it was, torn or new, whatever the file
    system makes of it; what was written before stays.
    """

    def __init__(self, path: str) -> None:
        """`path`: made when it is not there, with every folder on the way; below /flash where that is
        the flash file system and / is none."""
        self._path = path.rstrip("/")
        try:
            self._make()
        except OSError as error:
            if error.errno != _NO_SUCH_DEVICE or self._path.startswith(_MOUNTED + "/"):
                raise
            self._path = _MOUNTED + self._path
            self._make()

    def _make(self) -> None:
        for end, character in enumerate(self._path + "/"):
            if character == "/" and end:
                try:
                    os.mkdir(self._path[:end])
                except OSError as error:
                    if error.errno != _THERE_ALREADY:
                        raise

    def read(self, name: str) -> "bytes | bytearray | None":
        """The bytes of the file, or None when there is none."""
        try:
            with open(self._path + "/" + name, "rb") as file:
                # As much memory as the file is long: `read` alone doubles it until it is enough. Its end
                # tells the length; `os.stat` would look for the file a second time.
                data = bytearray(file.seek(0, 2))
                file.seek(0)
                length = file.readinto(data)
            return data if length == len(data) else bytes(data[:length])
        except OSError as error:
            if error.errno == _NOT_THERE:
                return None
            raise

    def write(self, name: str, data: "bytes | bytearray") -> None:
        """Make or replace the file; when this returns, `data` is in the flash."""
        with open(self._path + "/" + name, "wb") as file:
            file.write(data)
            # On littlefs and FAT closing commits the file; flush is fsync on the unix port.
            file.flush()

    def remove(self, name: str) -> None:
        """Remove the file, if it is there."""
        try:
            os.remove(self._path + "/" + name)
        except OSError as error:
            if error.errno != _NOT_THERE:
                raise
