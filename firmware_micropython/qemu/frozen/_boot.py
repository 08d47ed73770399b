"""Runs first at every start: mounts the flash, which is made into a file system when it is new.

With the option host=FOLDER that folder of the host is at /host, to be read.
"""

import sys

import emulator
import vfs


def mount(flash: "emulator.Flash") -> None:
    """Put the file system at /. A flash that cannot be read is left alone: only an empty one is formatted."""
    start = bytearray(64)
    if flash.readblocks(0, start) == 0 and start in (bytes(64), b"\xff" * 64):
        vfs.VfsLfs2.mkfs(flash)
    try:
        vfs.mount(vfs.VfsLfs2(flash), "/")
    except OSError as error:
        print("the flash holds no file system that can be read:", error)


sys.path.append("/lib")
try:
    mount(emulator.Flash())
    # As on stock boards, so that tools which install packages find their place.
    sys.path.append("/lib")
except OSError:
    # The emulator was started without one.
    pass

if emulator.option("host"):
    from host_folder import HostFolder

    vfs.mount(HostFolder(emulator.option("host")), "/host")
