"""The Entropy port of a board: power cuts, and every way in which a source or the flash fails."""

import asyncio

import board_time
from refusal import refused
from sources import Source
from test_keystore import CutFolder, FailingFolder, PowerCut

from handfast.core.errors import EntropyError, KeystoreError
from handfast_micropython.crypto import Crypto
from handfast_micropython.entropy import MAX_READ, STATE, Entropy
from handfast_micropython.keystore import Keystore
from handfast_micropython.qrng_second import SecondSource

CRYPTO = Crypto()
assert board_time


class Unchanging:
    """A clock without jitter."""

    def ticks_us(self) -> int:
        """Always the same."""
        return 5


def board(
    source: Source, files: "dict[str, bytes] | None" = None, cut: int = -1, **settings: "object"
) -> Entropy:
    """The port after a start, over a flash that may lose power at step `cut`."""
    folder = CutFolder({} if files is None else files, 10**9 if cut < 0 else cut)
    return Entropy(CRYPTO, Keystore("flash", folder), source, **settings)


async def alarmed(port: Entropy) -> EntropyError:
    """The error of `prepare`."""
    try:
        await port.prepare(1)
    except EntropyError as error:
        refused(EntropyError, port.random, 32)
        return error
    raise AssertionError("the source passed")


async def test_draws_come_from_a_tested_source_and_never_twice() -> None:
    files = {}
    draws = []
    for _ in range(3):
        # The same raw bytes at every start: what the pool keeps makes the difference.
        port = board(Source(), files)
        assert port.report()[3:6] == [2, 0, len(draws) // 4 * (1024 + 64 * 5)]
        refused(EntropyError, port.random, 32)
        port._batch = 4
        await port.prepare(4)
        draws.extend([port.random(32) for _ in range(4)])
        refused(EntropyError, port.random, 32)
        assert port.report()[:5] == [1, "scripted", 900, 0, 0]
    assert len(set(draws)) == 12
    assert port.report()[6] == ["jitter", "os"]


async def test_a_power_cut_at_every_write_repeats_no_draw() -> None:
    files = {}
    draws = []
    cuts = 0
    for cut in range(2 * CutFolder.STEPS + 1):
        port = board(Source(), files, cut, batch=2)
        try:
            await port.prepare(2)
            draws.append(port.random(16))
        except PowerCut:
            cuts += 1
            # Nothing can be drawn before the reservation is in the flash.
            refused(EntropyError, port.random, 16)
        port = board(Source(), files, batch=2)
        await port.prepare(2)
        draws.append(port.random(16))
    assert cuts == 2 * CutFolder.STEPS
    assert len(set(draws)) == len(draws) == cuts + 2


async def test_a_write_that_fails_makes_no_draw_and_the_next_one_does() -> None:
    folder = FailingFolder({})
    port = Entropy(CRYPTO, Keystore("flash", folder), Source(), batch=2)
    folder.failing = 28
    try:
        await port.prepare(2)
    except KeystoreError as error:
        assert "full" in error.detail
    refused(EntropyError, port.random, 32)
    folder.failing = 0
    await port.prepare(2)
    assert len(port.random(48)) == 48


async def test_a_stuck_source_is_an_alarm_until_somebody_restarts_it() -> None:
    files = {}
    source = Source()
    source.fault = bytes
    port = board(source, files)
    assert "health test" in (await alarmed(port)).detail
    source.fault = None
    assert "health test" in (await alarmed(port)).detail
    assert port.alarm is not None and port.report()[3:5] == [1, 1]
    await port.restart()
    await port.prepare(1)
    assert len(port.random(32)) == 32 and port.report()[3:5] == [0, 1]
    # The count of alarms outlives the power.
    assert board(Source(), files).report()[4] == 1


async def test_a_source_that_gets_stuck_later_gives_no_further_draw() -> None:
    source = Source()
    port = board(source, batch=2)
    await port.prepare(2)
    source.fault = bytes
    assert len(port.random(32)) == 32
    await port.prepare(1)
    port.random(32)
    await alarmed(port)


async def test_a_silent_source_is_an_error_in_time_and_is_tested_anew_when_it_speaks() -> None:
    source = Source()
    source.after = 700
    source.fault = lambda length: None
    port = board(source, timeout=0.5)
    assert "silent" in (await alarmed(port)).detail
    assert port.alarm is None
    given = len(source.given)
    source.fault = None
    port._timeout = 10.0
    await port.prepare(1)
    port.random(1)
    assert len(source.given) - given == 1024 + 64 * 7


async def test_a_source_that_breaks_or_gives_too_much_is_an_error() -> None:
    def broken(length: int) -> bytes:
        raise EntropyError("the module is gone")

    for fault, text in (
        (broken, "module is gone"),
        (lambda length: b"", "gave 0 bytes"),
        (lambda length: b"x" * (length + 1), "gave 129 bytes"),
    ):
        source = Source()
        source.fault = fault
        assert text in (await alarmed(board(source))).detail


async def test_a_source_that_gives_a_byte_at_a_time_is_as_good() -> None:
    source = Source()
    source.fault = lambda length: source.noise(1)
    port = board(source, batch=1)
    await port.prepare(1)
    assert len(port.random(32)) == 32


async def test_reads_are_small_and_others_work_in_between() -> None:
    turns = []

    async def work() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    source = Source()
    worker = asyncio.create_task(work())
    await board(source).prepare(1)
    worker.cancel()
    assert len(turns) >= len(source.given) // MAX_READ


async def test_two_who_prepare_at_once_share_one_reservation() -> None:
    files = {}
    port = board(Source(), files, batch=4)
    await asyncio.gather(port.prepare(2), port.prepare(2))
    assert port._pool.available == 4
    assert STATE + ".0" in files


async def test_the_unique_number_of_a_chip_tells_two_first_starts_apart() -> None:
    numbers = (b"chip 1", b"chip 2", b"chip 2")
    states = [board(Source(), unique_id=number)._pool.state() for number in numbers]
    assert states[0] != states[1] == states[2]


async def test_a_board_lets_go_of_its_source() -> None:
    source = Source()
    port = board(source)
    await port.close()
    assert source.closed == 1


def test_the_second_source_is_new_each_time_even_without_jitter() -> None:
    second = SecondSource(Unchanging())
    assert len(second.read(1000)) == 1000
    assert second.read(64) != second.read(64)


def test_jitter_alone_differs_between_two_reads() -> None:
    second = SecondSource()
    assert second._jitter() != second._jitter()
