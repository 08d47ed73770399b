"""The way of handfast onto a board, step by step; each may be cut, and is repaired by doing all again.

1. ask the board what it is, and refuse what cannot work before anything is changed
2. compile for it
3. put main.py aside, so that a board that is half written does not start
4. remove files of ours that do not belong there, write those that differ, compare all of them; or the same
   with the image of a ROMFS, where the board has a partition for it
5. configuration, then the identity, which is made on the board; an existing one is kept
6. main.py, last: only a board that has everything starts by itself
"""

import ast
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from handfast.core.errors import EntropyError, Error, KeystoreError, LinkError, LocalError
from handfast_cpython import boards, firmware, romfs
from handfast_cpython.raw_repl import RawRepl

MAIN, HELD, NEW = "main.py", "main.py.held", "main.py.new"
# Seconds that a chip may be busy with a key of ML-DSA, the start-up test of its source and the imports.
MAKING = 180.0
# Where handfast lies on a board, and the bytes of memory below which a person is told; a frozen image needs
# far less. Onboarding from files was seen to fail with 192 KB and to work with 200, from a ROMFS with 136 and
# with 138; one that waited for its approval with 145 did not get on board once, for it asks again and again.
FILES, ROMFS, FROZEN = "file system", "ROMFS", "firmware"
LITTLE_MEMORY = {FILES: 208 * 1024, ROMFS: 160 * 1024}

LIST = """
import hashlib, os
def look(path, kind):
    if kind & 0x4000:
        for entry in os.ilistdir(path):
            look(path + "/" + entry[0], entry[1])
        return
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            data = file.read(512)
            if not data:
                break
            digest.update(data)
    print((path, digest.digest()))
try:
    there = os.stat(LIB)
except OSError:
    there = None
for entry in os.ilistdir(LIB) if there else ():
    if entry[0] in NAMES:
        look(LIB + "/" + entry[0], entry[1])
"""

# Files alone; folders that are empty afterwards hurt nobody.
REMOVE = """
import os
for path in PATHS:
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != 2:
            raise
print(None)
"""

MAKE_FOLDERS = """
import os
for path in PATHS:
    try:
        os.mkdir(path)
    except OSError as error:
        if error.errno != 17:
            raise
print(None)
"""

# A file system may refuse to rename to a name that is taken.
RENAME = """
import os
try:
    os.remove(NEW)
except OSError as error:
    if error.errno != 2:
        raise
os.rename(OLD, NEW)
print(None)
"""

SET_UP = """
from handfast_micropython import provisioning
provisioning.answer(provisioning.bring_up(WISHES))
"""

# What the board may answer with, and the error that it then is here; anything else is a LinkError.
ERRORS: dict[str, type[Error]] = {
    "LocalError": LocalError,
    "DecodeError": LocalError,
    "EntropyError": EntropyError,
    "KeystoreError": KeystoreError,
}
# The shape of the answer when all went well.
SET_UP_ANSWER = {"made": bool, "thumbprint": bytes, "claim_code": str, "hub": bytes, "onboard": bool}


class Wishes(NamedTuple):
    """What the person asked for. `setup` goes to `handfast_micropython.provisioning` as it is.

    It has a configuration, which may be empty. `board` is a name of the table, or None for whatever is
    there; `main` is its program, or None for the one that is there, else the default; `kernels` is the
    module of kernels in C, or None for those in viper. `romfs`: True or False for where the files should lie,
    None for a ROMFS that is empty or ours, where there is one.
    """

    setup: dict[str, Any]
    board: str | None = None
    main: bytes | None = None
    kernels: bytes | None = None
    romfs: bool | None = None


class Flashed(NamedTuple):
    """What came of it. `thumbprint` and `hub` have 32 bytes; `made` is False for a kept identity.

    `place` is FILES, ROMFS or FROZEN.
    """

    thumbprint: bytes
    claim_code: str
    hub: bytes
    made: bool
    onboard: bool
    board: str
    machine: str
    micropython: str
    place: str
    copied: int
    unchanged: int


class Progress(Protocol):
    """Who watches."""

    def step(self, text: str, total: int = 0) -> None:
        """A step begins; `total` pieces of work are in it, 0 when nobody can say."""

    def advance(self, count: int) -> None:
        """`count` more pieces of the step are done."""

    def note(self, text: str) -> None:
        """Something that the person should know."""


def flash(repl: RawRepl, wishes: Wishes, progress: Progress, confirm: Callable[[str], None]) -> Flashed:
    """Bring handfast onto the board at `repl`, and make it a device.

    `confirm` is called before an identity, or a ROMFS with somebody's files, is erased, and stops everything
    by an exception of its own.
    LocalError for what cannot work, LinkError when the line breaks: then call again.
    """
    progress.step("asking the board what it is")
    answer = boards.understand(repl.ask(f"NEEDED = {boards.NEEDED!r}\n{boards.QUESTION}"))
    kind = boards.kind_of(answer, wishes.board)
    boards.check(answer, firmware.mpy_format())
    if wishes.kernels is not None:
        boards.check_kernels(answer, wishes.kernels)
    reset = bool(wishes.setup.get("reset"))
    if (reset or not answer.identity) and not (
        wishes.setup.get("hub") and wishes.setup["configuration"].get("broker")
    ):
        raise LocalError("this board is no device yet and needs to know its hub: give --hub and --broker")
    if reset and answer.identity:
        confirm(f"Erase the identity and all keys of this {answer.machine} for good?")
    place, copied, unchanged = _bring(repl, answer, wishes, progress, confirm)
    progress.step("writing the configuration, making the identity")
    made = _set_up(repl, wishes.setup)
    _bring_main(repl, answer.home or "", wishes.main, progress)
    repl.start()
    return Flashed(
        board=kind.name,
        machine=answer.machine,
        micropython=answer.version,
        place=place,
        copied=copied,
        unchanged=unchanged,
        **made,
    )


def _bring(
    repl: RawRepl,
    answer: boards.Answer,
    wishes: Wishes,
    progress: Progress,
    confirm: Callable[[str], None],
) -> tuple[str, int, int]:
    """Where handfast lies then, how many files were copied, and how many were there already."""
    if answer.frozen:
        progress.note("handfast is part of the firmware of this board: no files are copied")
        return FROZEN, 0, 0
    if romfs.is_built_in(answer, wishes.romfs):
        progress.note("handfast is in the ROMFS of this board, beside other files: no files are copied")
        return ROMFS, 0, 0
    made = _compiled(answer, wishes.kernels, progress)
    image = romfs.image(made)
    in_rom = romfs.is_used(answer, wishes.romfs, len(image))
    place = ROMFS if in_rom else FILES
    if answer.memory < LITTLE_MEMORY[place]:
        progress.note(
            f"this board has {answer.memory // 1024} KB of memory free: enough for a key, perhaps not for "
            "onboarding; an image with handfast frozen in needs less (firmware_micropython/README.md)"
        )
    if in_rom:
        if romfs.others(answer):
            confirm(f"Erase {', '.join(romfs.others(answer))} in the ROMFS of this {answer.machine}?")
        changed = _bring_image(repl, answer, image, progress)
        copied, unchanged = (len(made), 0) if changed else (0, len(made))
    else:
        if romfs.ours(answer):
            progress.note("an older handfast is in the ROMFS of this board, which is emptied")
            _hold_main(repl, answer)
            # The question looked into the package that lies there.
            repl.restart()
            romfs.clear(repl)
            answer = answer._replace(main=False)
        elif answer.rom:
            progress.note("the ROMFS of this board is left as it is")
        copied, unchanged = _bring_files(repl, answer, made, progress)
    # What was imported before is not what lies there now.
    repl.restart()
    return place, copied, unchanged


def _compiled(answer: boards.Answer, kernels: bytes | None, progress: Progress) -> dict[str, bytes]:
    native = kernels is not None
    total = len(firmware.files_for(answer.architecture, native))
    progress.step(f"compiling for {answer.architecture}", total)
    made = firmware.compiled(answer.architecture, progress.advance, native)
    if kernels is not None:
        made[firmware.KERNELS] = kernels
    return made


def _bring_image(repl: RawRepl, answer: boards.Answer, image: bytes, progress: Progress) -> bool:
    """Whether it was not there yet."""
    progress.step("comparing with what is there")
    # They would be loaded instead of what is in the ROMFS, or need room for nothing.
    strays = sorted(_listing(repl, answer))
    changed = not romfs.holds(repl, image)
    if strays or changed:
        _hold_main(repl, answer)
        repl.ask(f"PATHS = {strays!r}\n{REMOVE}")
    if changed:
        # The question looked into the package that lies there.
        repl.restart()
        progress.step(f"writing a ROMFS of {len(image) // 1024} KB", len(image))
        romfs.deploy(repl, image, progress.advance)
    return changed


def _bring_files(
    repl: RawRepl, answer: boards.Answer, made: dict[str, bytes], progress: Progress
) -> tuple[int, int]:
    """How many files were copied, and how many were there already."""
    wanted = {f"{answer.home}/lib/{name}": data for name, data in made.items()}
    digests = {path: hashlib.sha256(data).digest() for path, data in wanted.items()}
    progress.step("comparing with what is there")
    there = _listing(repl, answer)
    # An older file, or a .py, which is looked for first, would be loaded instead of ours.
    strays = sorted(there.keys() - wanted.keys())
    changed = [path for path in wanted if there.get(path) != digests[path]]
    if not strays and not changed:
        return 0, len(wanted)
    _hold_main(repl, answer)
    repl.ask(f"PATHS = {strays!r}\n{REMOVE}")
    _need_space(repl, answer, [len(wanted[path]) for path in changed])
    repl.ask(f"PATHS = {_folders(answer.home or '', changed)!r}\n{MAKE_FOLDERS}")
    progress.step(f"copying {len(changed)} files", sum(len(wanted[path]) for path in changed))
    for path in changed:
        repl.write(path, wanted[path], progress.advance)
    progress.step("comparing with what was sent")
    there = _listing(repl, answer)
    wrong = [path for path in wanted if there.get(path) != digests[path]]
    if wrong:
        raise LinkError(f"{wrong[0]} is not on the board as it was sent; call again, or look at its flash")
    return len(changed), len(wanted) - len(changed)


def _listing(repl: RawRepl, answer: boards.Answer) -> dict[str, bytes]:
    """Every file of our packages on the board with the SHA-256 of what it holds."""
    program = f"LIB, NAMES = {f'{answer.home}/lib'!r}, {firmware.OURS!r}\n{LIST}"
    try:
        return dict(ast.literal_eval(line) for line in repl.run(program))
    except (ValueError, TypeError, SyntaxError):
        raise LinkError("the board should list its files, but its answer is something else") from None


def _folders(home: str, paths: list[str]) -> list[str]:
    """Every folder that these files need, the outer ones first."""
    found: set[str] = set()
    for path in paths:
        parts = path.removeprefix(home + "/").split("/")[:-1]
        found.update(f"{home}/{'/'.join(parts[: end + 1])}" for end in range(len(parts)))
    return sorted(found)


def _need_space(repl: RawRepl, answer: boards.Answer, sizes: list[int]) -> None:
    """LocalError when files of these sizes do not fit; each is counted in whole blocks, and as new."""
    needed = sum(-(-size // answer.block) * answer.block for size in sizes)
    free = repl.ask(f"import os\ns = os.statvfs({answer.home or '/'!r})\nprint(s[0] * s[3])")
    if not isinstance(free, int):
        raise LinkError("the board should say how much room it has, but its answer is something else")
    if free < needed:
        raise LocalError(
            f"the files need {needed // 1024} KB on the board and {free // 1024} KB are free: "
            "remove files from it"
        )


def _hold_main(repl: RawRepl, answer: boards.Answer) -> None:
    """A board whose files do not fit together should not start; its main.py comes back at the end."""
    if answer.main:
        repl.ask(f"OLD, NEW = {f'{answer.home}/{MAIN}'!r}, {f'{answer.home}/{HELD}'!r}\n{RENAME}")


def _set_up(repl: RawRepl, setup: dict[str, Any]) -> dict[str, Any]:
    """What the board answers when it has its configuration and its identity; errors as on the board."""
    said = repl.ask(f"WISHES = {setup!r}\n{SET_UP}", MAKING)
    if isinstance(said, dict) and said.keys() == {"error", "detail"}:
        raise ERRORS.get(str(said["error"]), LinkError)(boards.printable(str(said["detail"])))
    if not isinstance(said, dict) or {name: type(value) for name, value in said.items()} != SET_UP_ANSWER:
        raise LinkError("the board should say which identity it has, but its answer is something else")
    return said


def _bring_main(repl: RawRepl, home: str, program: bytes | None, progress: Progress) -> None:
    """main.py in its place at once: the one that was asked for, else the board's own, else ours."""
    main, held, new = (f"{home}/{name}" for name in (MAIN, HELD, NEW))
    names = repl.ask(f"import os\nprint(os.listdir({home or '/'!r}))")
    if not isinstance(names, list):
        raise LinkError("the board should list its files, but its answer is something else")
    if program is None and (MAIN in names or HELD in names):
        progress.note("the board keeps its own main.py")
        if MAIN not in names:
            repl.ask(f"OLD, NEW = {held!r}, {main!r}\n{RENAME}")
        return
    repl.write(new, program or firmware.default_main(), lambda count: None)
    repl.ask(f"OLD, NEW = {new!r}, {main!r}\n{RENAME}")
    repl.ask(f"PATHS = {[held]!r}\n{REMOVE}")
