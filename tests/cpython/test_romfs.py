"""The image of a ROMFS, and when handfast flash uses one."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
from mpremote.romfs import make_romfs  # type: ignore[import-untyped]

from handfast.core.errors import LocalError
from handfast_cpython import boards, firmware, romfs

OURS = ["lib/handfast", "lib/handfast_micropython"]
BOARD = boards.Answer(
    platform="nrf",
    version="1.28.0",
    mpy=7 << 10 | 3 << 8 | 6,
    machine="nRF52840",
    home="/flash",
    block=4096,
    free=100_000,
    memory=200_000,
    missing=[],
    frozen=False,
    identity=False,
    main=False,
    held=False,
    rom=1000,
    rom_names=[],
)


def board(**changes: Any) -> boards.Answer:
    return BOARD._replace(**changes)


def test_an_image_is_what_mpremote_makes_of_the_same_folder(tmp_path: Path) -> None:
    names = ["handfast/__init__.mpy", "handfast/core/cbor.mpy", "handfast/device.mpy", "handfast_native.mpy"]
    files = {name: name.encode() * 40 for name in names}
    for name, data in files.items():
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = make_romfs(str(tmp_path), mpy_cross=False)
    assert romfs.image(files) == expected


def test_an_image_of_handfast_fits_into_the_partitions_that_the_readme_names() -> None:
    image = romfs.image(firmware.compiled("armv7emsp", lambda count: None))
    assert image.startswith(b"\xd2\xcd\x31") and len(image) < 256 << 10


@pytest.mark.parametrize(
    ("wish", "names", "size", "used"),
    [
        (None, [], 1000, True),
        (None, OURS, 1000, True),
        (None, [], 1001, False),
        (None, ["mine.mpy"], 1000, False),
        (True, ["mine.mpy"], 1000, True),
        (False, [], 1000, False),
        (False, OURS, 1000, False),
    ],
)
def test_it_is_used_when_it_is_there_and_fits_and_nobody_else_has_it(
    wish: bool | None, names: list[str], size: int, used: bool
) -> None:
    assert romfs.is_used(board(rom_names=names), wish, size) is used
    assert not romfs.is_built_in(board(rom_names=names), wish)
    assert romfs.is_used(board(rom=0), wish=None, size=size) is False


def test_what_was_asked_for_and_cannot_be_is_said_with_numbers() -> None:
    with pytest.raises(LocalError, match=r"MicroPython 1\.28\.0 of this board has no partition"):
        romfs.is_used(board(rom=0), True, 1000)
    with pytest.raises(LocalError, match="has 167 KB and the partition of this board 64 KB"):
        romfs.is_used(board(rom=64 << 10), True, 167 << 10)


def test_an_image_of_an_application_that_holds_handfast_is_its_own() -> None:
    mixed = board(rom_names=[*OURS, "lib/sensor.mpy"])
    assert romfs.is_built_in(mixed, None)
    assert not romfs.is_built_in(mixed, True) and romfs.is_used(mixed, True, 1000)
    with pytest.raises(LocalError, match=r"beside lib/sensor\.mpy"):
        romfs.is_built_in(mixed, False)
