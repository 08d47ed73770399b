"""What a board is made of and what runs at boot: set up, Wi-Fi, readings, commands, retries."""

import asyncio

import board_time
from refusal import refused, refused_by
from sources import Source
from test_keystore import CutFolder, FailingFolder

import handfast_micropython
from handfast.core.codes import encode_hub_code
from handfast.core.constants import SOURCE_OPERATING_SYSTEM, SOURCE_QUANTUM
from handfast.core.errors import (
    DecodeError,
    EntropyError,
    KeystoreError,
    LinkClosed,
    LinkError,
    LinkTimeout,
    LocalError,
)
from handfast_micropython import board as board_module
from handfast_micropython import configuration, main, wifi
from handfast_micropython.board import Board
from handfast_micropython.keystore import Keystore

assert board_time


def flash(files: "dict[str, bytes] | None" = None) -> Keystore:
    """A keystore in memory."""
    return Keystore("flash", CutFolder({} if files is None else files, 10**9))


def test_the_names_of_the_package_are_those_of_a_program() -> None:
    for name in ("Board", "MqttLink", "UartLink"):
        assert getattr(handfast_micropython, name).__name__ == name
    refused(AttributeError, getattr, handfast_micropython, "Bored")


def test_a_board_has_the_source_that_it_was_given() -> None:
    for arguments, kind, model in (
        ({}, SOURCE_OPERATING_SYSTEM, "operating system"),
        ({"qrng": "os"}, SOURCE_OPERATING_SYSTEM, "operating system"),
        ({"qrng_uart": 1}, SOURCE_QUANTUM, "serial 1"),
        ({"qrng": "uart:2#baud=9600"}, SOURCE_QUANTUM, "serial 2"),
        ({"qrng": Source()}, SOURCE_QUANTUM, "scripted"),
    ):
        assert Board(keystore=flash(), **arguments).entropy.report()[:2] == [kind, model]
    refused(LocalError, lambda: Board(keystore=flash(), qrng="os", qrng_uart=1))
    refused(LocalError, lambda: Board(keystore=flash(), qrng="dice").entropy)
    assert board_module.unique_id() == b""


def test_the_folder_of_the_keystore_hides_no_package() -> None:
    """A board imports from / before /lib and before what is frozen, and a bare folder counts there."""
    for package in ("handfast", "handfast_micropython"):
        assert board_module.PATH.strip("/") != package
    # No import statement can spell it.
    assert "-" in board_module.PATH


async def test_a_board_lets_go_of_source_and_keystore() -> None:
    source = Source()
    board = Board(keystore=flash(), qrng=source)
    assert board.entropy is board.entropy
    await board.close()
    await board.close()
    assert source.closed == 2
    refused(LocalError, board.keystore.load, "identity")


async def test_a_board_lets_go_of_its_source_when_all_was_drawn_and_repeats_no_draw() -> None:
    board = Board(keystore=flash(), qrng="os")
    draws = []
    for _ in range(2):
        entropy = board.entropy
        await entropy.prepare(2)
        draws += [entropy.random(32), entropy.random(32)]
        board.passed("drawn")
        assert board.entropy is not entropy
    assert len(set(draws)) == 4
    await board.close()


async def test_a_board_is_set_up_once_and_again_after_a_power_cut() -> None:
    files = {}
    board = Board(keystore=flash(files), qrng=Source())
    code = encode_hub_code(board.crypto, bytes(range(32)))
    wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
    await refused_by(DecodeError, main.set_up(board, wrong, broker="hub.local"))
    await refused_by(LocalError, main.set_up(board, code, broker=""))
    await refused_by(LocalError, main.set_up(board, code, brokr="hub.local"))
    await refused_by(LocalError, main.set_up(board, code, broker="hub.local", port="1883"))
    # A first call was cut before the identity was stored; nothing keeps a second one from working.
    claim = await main.set_up(board, code, broker="hub.local", suites=[-22], period=5)
    assert len(claim.split("-")) == 7
    await refused_by(LocalError, main.set_up(board, code, broker="hub.local"))
    again = flash(files)
    assert configuration.load(again)["period"] == 5 and configuration.load(again)["port"] == 1883
    assert configuration.settings(again).suites == (-22,)
    assert main.link(again)._name == "hub.local:1883"


async def test_a_stuck_source_makes_no_key() -> None:
    files = {}
    source = Source()
    source.fault = bytes
    board = Board(keystore=flash(files), qrng=source)
    code = encode_hub_code(board.crypto, bytes(32))
    await refused_by(EntropyError, main.set_up(board, code, broker="hub.local"))
    assert "identity.0" not in files


def test_a_board_that_was_never_set_up_or_is_damaged_says_so() -> None:
    keystore = flash()
    assert "set_up" in refused(LocalError, configuration.load, keystore).detail
    for rubbish in (b"\xff", b"\x01"):
        keystore.save(configuration.NAME, rubbish)
        refused(KeystoreError, configuration.load, keystore)


class Wlan:
    """network.WLAN that joins after some looks, or says `status` for ever."""

    def __init__(self, looks: int = 3, status: int = 1001) -> None:
        self.looks = looks
        self.code = status
        self.calls = []

    def active(self, on: bool) -> None:
        """Switch it on."""
        self.calls.append("active" if on else "off")

    def connect(self, name: str, password: str) -> None:
        """Begin."""
        if self.code == -100:
            raise OSError(1)
        self.calls.append((name, password))

    def disconnect(self) -> None:
        """End."""
        self.calls.append("disconnect")

    def isconnected(self) -> bool:
        """Whether it is done."""
        self.looks -= 1
        return self.looks < 0

    def status(self) -> int:
        """What goes on."""
        return self.code


async def test_a_board_joins_its_wifi_once() -> None:
    keystore = flash()
    await wifi.connect(keystore, interface=Wlan(10**9))
    wifi.save(keystore, "cellar", "correct horse")
    wlan = Wlan()
    await wifi.connect(keystore, interface=wlan)
    await wifi.connect(keystore, interface=wlan)
    assert wlan.calls == ["active", ("cellar", "correct horse")]


async def test_a_wifi_that_does_not_let_us_in_is_an_error_that_names_no_password() -> None:
    keystore = flash()
    wifi.save(keystore, "cellar", "correct horse")
    for status, error, text in (
        (202, LinkError, "password is wrong"),
        (201, LinkError, "no such network"),
        (-3, LinkError, "password is wrong"),
        (1001, LinkTimeout, "within 0.1 s"),
        (-100, LinkClosed, "does not start"),
    ):
        refusal = await refused_by(error, wifi.connect(keystore, interface=Wlan(10**9, status), patience=0.1))
        assert text in refusal.detail and "horse" not in refusal.detail
    # This machine has no Wi-Fi.
    assert "no Wi-Fi" in (await refused_by(LinkError, wifi.connect(keystore))).detail
    keystore.save(wifi.WIFI, b"\x01")
    await refused_by(KeystoreError, wifi.connect(keystore, interface=Wlan()))
    for name, password in (("", ""), ("x" * 33, ""), ("x", "short"), ("x", "x" * 64)):
        refused(LocalError, wifi.save, keystore, name, password)
    wifi.save(keystore, "open", "")


class Enough(BaseException):
    """The test has seen enough."""


class Naps:
    """A clock whose sleeps take no time and end the test after `most` of them."""

    def __init__(self, most: int) -> None:
        self.slept = []
        self._most = most

    def now(self) -> float:
        """No time passes."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)
        if len(self.slept) == self._most:
            raise Enough
        await asyncio.sleep(0)


async def test_whatever_fails_is_said_and_tried_again_after_a_growing_pause() -> None:
    board = Board(keystore=flash(), qrng=Source())
    code = encode_hub_code(board.crypto, bytes(32))
    await main.set_up(board, code, broker="hub.local")
    troubles = [
        EntropyError("stuck"),
        KeystoreError("flash is full"),
        LinkClosed("away"),
        MemoryError("allocating 512 bytes"),
        EntropyError("silent"),
    ]
    said = []

    async def stay(*arguments: "object") -> None:
        raise troubles.pop(0)

    board.clock = Naps(5)
    genuine = main.stay
    main.stay = stay
    try:
        await main.run(lambda: b"", board=board, say=said.append)
        raise AssertionError("it ended")
    except Enough:
        pass
    finally:
        main.stay = genuine
    assert said == [
        "the quantum source: stuck",
        "flash is full",
        "away",
        "the memory is full: allocating 512 bytes; starting again",
        "the quantum source: silent",
    ]
    assert board.clock.slept == [2, 4, 8, 16, 32]


async def test_a_flash_that_fails_while_a_board_is_set_up_loses_no_identity() -> None:
    folder = FailingFolder({})
    board = Board(keystore=Keystore("flash", folder), qrng=Source())
    code = encode_hub_code(board.crypto, bytes(32))
    folder.failing = 28
    await refused_by(KeystoreError, main.set_up(board, code, broker="hub.local"))
    folder.failing = 0
    assert "-" in await main.set_up(board, code, broker="hub.local")
