"""The boards that `handfast flash` knows: one table, and what a board says of itself."""

from typing import NamedTuple

from handfast.core.errors import LinkError, LocalError


class Kind(NamedTuple):
    """A row: its name on the command line, `sys.platform` there, what its machine code is, and examples."""

    name: str
    platform: str
    architectures: tuple[str, ...]
    examples: str


# Stock firmware of these ports has asyncio, hashlib.sha256, os.urandom and a file system.
KINDS = (
    Kind("esp32", "esp32", ("xtensawin",), "ESP32, ESP32-S2, ESP32-S3"),
    Kind("esp32c", "esp32", ("rv32imc",), "ESP32-C3, ESP32-C6"),
    Kind("rp2", "rp2", ("armv6m",), "Raspberry Pi Pico, Pico W"),
    Kind("rp2350", "rp2", ("armv7emsp", "rv32imc"), "Raspberry Pi Pico 2, Pico 2 W"),
    Kind("stm32", "pyboard", ("armv7emsp", "armv7m"), "Pyboard, Nucleo boards with a random generator"),
    Kind("mimxrt", "mimxrt", ("armv7emsp",), "Teensy 4, MIMXRT evaluation boards"),
    Kind("nrf", "nrf", ("armv7emsp", "bytecode"), "nRF52840 boards"),
    Kind("samd", "samd", ("armv7emsp",), "SAMD51 boards"),
    Kind("qemu", "qemu", ("armv7m", "armv7emsp"), "the emulated boards mps2-an385, an386 and an500"),
)
NAMES = ", ".join(kind.name for kind in KINDS)

# MP_NATIVE_ARCH_* of MicroPython's py/persistentcode.h, and what we compile for it. A Cortex-M3 calls itself
# armv7em; code with double precision is never emitted, so single precision is what an armv7emdp gets.
ARCHITECTURES = {
    0: "bytecode",
    4: "armv6m",
    5: "armv7m",
    6: "armv7m",
    7: "armv7emsp",
    8: "armv7emsp",
    10: "xtensawin",
    11: "rv32imc",
}

# What the firmware cannot do without, as (module, name in it).
NEEDED = (("asyncio", "StreamReader"), ("hashlib", "sha256"), ("os", "urandom"), ("binascii", "a2b_base64"))

# Where the file system may be mounted; None for nowhere.
HOMES = ("", "/flash", None)

# Runs on a bare board, so it uses nothing but what MicroPython itself has.
QUESTION = """
import gc, os, sys
gc.collect()
def has(module, name):
    try:
        return hasattr(__import__(module), name)
    except ImportError:
        return False
libs = [path for path in sys.path if path in ("/lib", "/flash/lib")]
home = libs[0][:-4] if libs else ""
space = os.statvfs(home or "/")
try:
    import handfast_micropython
    # In a file system it has a whole path, and where its first file is missing none at all.
    frozen = getattr(handfast_micropython, "__file__", "/")[0] != "/"
except Exception:
    # Not there, or half of it.
    frozen = False
def rom():
    try:
        import vfs
        part = vfs.rom_ioctl(2, 0)
        size = part.ioctl(4, 0) * part.ioctl(5, 0) if hasattr(part, "ioctl") else len(part)
    except Exception:
        # An older MicroPython, one without ROMFS, or a board without a partition for it.
        return 0, []
    try:
        look = vfs.VfsRom(part).ilistdir
        names = [entry[0] for entry in look("/")]
        return size, [name for name in names if name != "lib"] + [
            "lib/" + entry[0] for entry in (look("/lib") if "lib" in names else ())
        ]
    except OSError:
        # Nothing was ever deployed there.
        return size, []
rom_size, rom_names = rom()
def there(name):
    try:
        os.stat(home + "/" + name)
        return True
    except OSError:
        return False
print(repr({
    "platform": sys.platform, "version": ".".join([str(part) for part in sys.implementation[1][:3]]),
    "mpy": getattr(sys.implementation, "_mpy", 0), "machine": getattr(sys.implementation, "_machine", ""),
    "home": home if libs else None, "block": space[0], "free": space[0] * space[3], "memory": gc.mem_free(),
    "missing": [module for module, name in NEEDED if not has(module, name)], "frozen": frozen,
    "identity": there("handfast-keys/identity.0") or there("handfast-keys/identity.1"),
    "main": there("main.py"), "held": there("main.py.held"), "rom": rom_size, "rom_names": rom_names,
}))
"""


class Answer(NamedTuple):
    """What a board said. `home` is where its main.py lies, without the slash at the end; sizes in bytes.

    `rom` is the size of its partition for a ROMFS, 0 when it has none, and `rom_names` what lies there: the
    entries of its root, and of lib below that.
    """

    platform: str
    version: str
    mpy: int
    machine: str
    home: str | None
    block: int
    free: int
    memory: int
    missing: list[str]
    frozen: bool
    identity: bool
    main: bool
    held: bool
    rom: int
    rom_names: list[str]

    @property
    def architecture(self) -> str:
        """What to compile for: a name of mpy-cross, or "bytecode"; LocalError when there is none."""
        number = self.mpy >> 10
        if number not in ARCHITECTURES:
            raise LocalError(f"this board has machine code number {number}, which handfast does not compile")
        return ARCHITECTURES[number]

    @property
    def format(self) -> tuple[int, int]:
        """Version and sub-version of the .mpy files that this board loads."""
        return self.mpy & 0xFF, self.mpy >> 8 & 3


def understand(value: object) -> Answer:
    """What `QUESTION` printed; LinkError when a board would not have said that."""
    if isinstance(value, dict) and value.keys() == set(Answer._fields):
        answer = Answer(**value)
        numbers = (answer.mpy, answer.block, answer.free, answer.memory, answer.rom)
        texts = (answer.platform, answer.version, answer.machine)
        if (
            all(type(number) is int and number >= 0 for number in numbers)
            and all(isinstance(text, str) for text in texts)
            and answer.home in HOMES
            and isinstance(answer.missing, list)
            and all(name in [module for module, _ in NEEDED] for name in answer.missing)
            and isinstance(answer.rom_names, list)
            and all(isinstance(name, str) for name in answer.rom_names)
        ):
            platform, version, machine = map(printable, texts)
            block = max(answer.block, 1)
            names = list(map(printable, answer.rom_names))
            return answer._replace(
                platform=platform, version=version, machine=machine, block=block, rom_names=names
            )
    raise LinkError("the board should say what it is, but its answer is something else; reset it, try again")


def printable(text: str) -> str:
    """What a board said, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def check_name(name: str | None) -> None:
    """LocalError when no row has this name; None is any board."""
    if name is not None and name not in {kind.name for kind in KINDS}:
        raise LocalError(f"no board {name!r}; there are {NAMES}")


def kind_of(answer: Answer, name: str | None) -> Kind:
    """The row of this board. LocalError when it is not the one called `name`, or none that we know."""
    check_name(name)
    for kind in KINDS:
        if kind.platform == answer.platform and answer.architecture in kind.architectures:
            if name in (None, kind.name):
                return kind
            raise LocalError(
                f"--board says {name}, but this is a {kind.name} ({answer.machine}); "
                f"give the port of the {name}, or --board {kind.name}"
            )
    raise LocalError(
        f"this board is a {answer.platform} ({answer.machine}) with {answer.architecture}, "
        f"which is none of {NAMES}"
    )


def check(answer: Answer, format_: tuple[int, int]) -> None:
    """LocalError when stock firmware of such a board cannot run handfast, or not what we compile."""
    if answer.missing:
        raise LocalError(
            f"the MicroPython of this board has no {' and no '.join(answer.missing)}; "
            "install a build for it that has them"
        )
    if answer.home is None:
        raise LocalError("this board has no file system for programs; install a MicroPython with one")
    theirs = answer.format
    # Machine code must agree to the sub-version; bytecode to the version.
    if theirs[0] != format_[0] or (answer.architecture != "bytecode" and theirs[1] != format_[1]):
        raise LocalError(
            f"MicroPython {answer.version} on this board loads .mpy {theirs[0]}.{theirs[1]}, and mpy-cross "
            f"here writes {format_[0]}.{format_[1]}; update the board, or install the mpy-cross of its age"
        )


def check_kernels(answer: Answer, module: bytes) -> None:
    """LocalError when this board would not load the .mpy file `module`, by what its head says."""
    if len(module) < 4 or module[:1] != b"M":
        raise LocalError("kernels in C are a .mpy file of firmware_micropython/native/build_native.py")
    made_for = ARCHITECTURES.get(module[2] >> 2, "another chip")
    if made_for != answer.architecture or (module[1], module[2] & 3) != answer.format:
        raise LocalError(
            f"these kernels are for {made_for}, .mpy {module[1]}.{module[2] & 3}, and this board loads "
            f"{answer.architecture}, .mpy {answer.format[0]}.{answer.format[1]}: build them for it"
        )
