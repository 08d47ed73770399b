"""The Entropy port: real sources, a real keystore, and every way in which one of them fails."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from handfast.core.constants import SOURCE_QUANTUM
from handfast.core.errors import EntropyError, KeystoreError
from handfast.ports import QuantumSource
from handfast_cpython.crypto import Crypto
from handfast_cpython.entropy import STATE, Entropy
from handfast_cpython.keystore import Keystore
from handfast_cpython.qrng_second import SecondSource
from handfast_cpython.qrng_simulated import SimulatedSource

CRYPTO = Crypto()


class FailingKeystore:
    """A keystore in memory that fails at its save number `at`, counted from 1."""

    def __init__(self, at: int = 0) -> None:
        self.values: dict[str, bytes] = {}
        self.saves = 0
        self.at = at

    def load(self, name: str) -> bytes | None:
        return self.values.get(name)

    def save(self, name: str, value: bytes) -> None:
        self.saves += 1
        if self.saves == self.at:
            raise KeystoreError("the disk is full")
        self.values[name] = value

    def erase(self, name: str) -> None:
        self.values.pop(name, None)

    def close(self) -> None:
        pass


class Scripted:
    """A simulated source that calls `interrupt` in the place of its read number `at`, counted from 1."""

    kind = SOURCE_QUANTUM
    model = "scripted"
    min_entropy = 0.9

    def __init__(self, interrupt: Callable[[int], bytes], at: int) -> None:
        self.reads = 0
        self.given: list[bytes] = []
        self._source = SimulatedSource("short-reads", seed=1)
        self._interrupt = interrupt
        self._at = at

    async def read(self, length: int) -> bytes:
        self.reads += 1
        raw = self._interrupt(length) if self.reads == self._at else await self._source.read(length)
        self.given.append(raw)
        return raw

    async def close(self) -> None:
        pass


def entropy(source: QuantumSource, keystore: FailingKeystore | None = None, **options: object) -> Entropy:
    return Entropy(CRYPTO, keystore or FailingKeystore(), source, **options)  # type: ignore[arg-type]


async def test_draws_come_from_a_tested_source_and_never_twice(tmp_path: Path) -> None:
    draws = []
    for _ in range(3):
        with Keystore(tmp_path / "keys") as keystore:
            port = Entropy(CRYPTO, keystore, SimulatedSource(seed=5))
            assert port.report()[3:5] == [2, 0]
            await port.prepare(20)
            draws += [port.random(32) for _ in range(20)]
            kind, model, claim, health, alarms, taken, second = port.report()
            assert (kind, model, claim, health, alarms) == (3, "simulated photonic source", 930, 0, 0)
            assert isinstance(taken, int) and taken >= 1024 + 64 * 21
            assert isinstance(second, list) and second[-2:] == ["jitter", "os"]
            await port.close()
    assert len(set(draws)) == 60


async def test_no_draw_is_left_when_all_that_were_prepared_are_drawn() -> None:
    port = entropy(SimulatedSource(), batch=3)
    with pytest.raises(EntropyError, match="no draw is prepared"):
        port.random(32)
    await port.prepare(2)
    for _ in range(3):
        port.random(32)
    with pytest.raises(EntropyError, match="no draw is prepared"):
        port.random(32)


async def test_prepare_writes_once_for_a_batch() -> None:
    keystore = FailingKeystore()
    port = entropy(SimulatedSource(), keystore, batch=16)
    for _ in range(4):
        await port.prepare(4)
        for _ in range(4):
            port.random(32)
    assert keystore.saves == 1
    await port.prepare(1)
    assert keystore.saves == 2


async def test_tasks_that_share_the_entropy_each_have_what_they_prepared() -> None:
    port = entropy(SimulatedSource("short-reads"), batch=4)
    draws = []

    async def task() -> None:
        await port.prepare(3)
        draws.extend(port.random(16) for _ in range(3))

    await asyncio.gather(*(task() for _ in range(20)))
    assert len(set(draws)) == 60


async def test_threads_draw_while_the_next_batch_is_made() -> None:
    port = entropy(SimulatedSource(), batch=600)
    await port.prepare(600)
    draws: list[list[bytes]] = [[], [], []]

    def draw(mine: list[bytes]) -> None:
        mine.extend(port.random(16) for _ in range(150))

    loop = asyncio.get_running_loop()
    threads = [loop.run_in_executor(None, draw, mine) for mine in draws]
    await port.prepare(601)
    await asyncio.gather(*threads)
    assert len({value for mine in draws for value in mine}) == 450


@pytest.mark.parametrize("fault", ["stuck-zero", "stuck-byte", "zero-start"])
async def test_a_source_that_is_bad_from_the_start_gives_nothing(fault: str) -> None:
    port = entropy(SimulatedSource(fault))
    with pytest.raises(EntropyError, match="failed the health test 'repetition count over") as error:
        await port.prepare(1)
    for _ in range(2):
        with pytest.raises(EntropyError) as again:
            await port.prepare(1)
        assert again.value.detail == error.value.detail
        with pytest.raises(EntropyError):
            port.random(32)
    assert port.alarm is not None and f"at sample {port.alarm.sample} " in error.value.detail
    assert port.report()[3:5] == [1, 1]


@pytest.mark.parametrize("fault", ["stuck-zero", "stuck-byte", "slow-bias"])
async def test_a_source_that_fails_later_takes_the_prepared_draws_with_it(fault: str) -> None:
    port = entropy(SimulatedSource(fault, after=2048, seed=3), batch=2)
    draws = 0
    with pytest.raises(EntropyError, match="failed the health test"):
        for _ in range(200):
            await port.prepare(2)
            port.random(32)
            draws += 1
    assert draws > 0
    with pytest.raises(EntropyError, match="failed the health test"):
        port.random(32)


async def test_short_reads_are_no_fault() -> None:
    port = entropy(SimulatedSource("short-reads"))
    await port.prepare(4)
    assert len(port.random(64)) == 64 and port.report()[3:5] == [0, 0]


async def test_a_silent_source_is_given_up_and_tested_from_the_start_when_it_speaks_again() -> None:
    silent = asyncio.Event()
    source = SimulatedSource(seed=9)
    read = source.read

    async def stutter(length: int) -> bytes:
        if silent.is_set():
            await asyncio.Event().wait()
        return await read(length)

    source.read = stutter  # type: ignore[method-assign]
    port = entropy(source, batch=2, timeout=0.05)
    await port.prepare(2)
    silent.set()
    with pytest.raises(EntropyError, match=r"was silent for 0\.05 seconds"):
        await port.prepare(3)
    with pytest.raises(EntropyError, match="was silent"):
        port.random(32)
    assert port.alarm is None and port.report()[3:5] == [1, 1]
    silent.clear()
    taken = port.report()[5]
    await port.prepare(2)
    assert len(port.random(32)) == 32
    assert port.report()[3:5] == [0, 1] and isinstance(taken, int)
    assert port.report()[5] == taken + 1024 + 3 * 64


async def test_after_an_alarm_only_a_restart_helps() -> None:
    port = entropy(SimulatedSource("zero-start"))
    for _ in range(2):
        with pytest.raises(EntropyError):
            await port.prepare(1)
    await port.restart()
    await port.prepare(1)
    assert len(port.random(16)) == 16
    assert port.report()[3:5] == [0, 1]


async def test_the_count_of_alarms_outlives_the_process() -> None:
    keystore = FailingKeystore()
    for alarms in (1, 2, 3):
        port = entropy(SimulatedSource("stuck-zero"), keystore)
        with pytest.raises(EntropyError):
            await port.prepare(1)
        assert port.report()[4] == alarms


async def test_an_alarm_that_cannot_be_stored_is_an_alarm_all_the_same() -> None:
    port = entropy(SimulatedSource("stuck-zero"), FailingKeystore(at=1))
    with pytest.raises(EntropyError, match="failed the health test"):
        await port.prepare(1)


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_reservation_that_cannot_be_stored_gives_no_draw(at: int) -> None:
    keystore = FailingKeystore(at)
    port = entropy(SimulatedSource(), keystore, batch=1)
    draws = []
    failures = 0
    for _ in range(4):
        try:
            await port.prepare(1)
        except KeystoreError:
            failures += 1
            with pytest.raises(EntropyError):
                port.random(32)
        else:
            draws.append(port.random(32))
    assert failures == 1 and len(set(draws)) == 3


def gone(length: int) -> bytes:
    raise EntropyError("the module was pulled out")


@pytest.mark.parametrize(
    ("interrupt", "sentence"),
    [
        (gone, "cannot be read: the module was pulled out"),
        (lambda length: b"", "gave 0 bytes where 1 to"),
        (lambda length: bytes(length + 1), "bytes where 1 to"),
        (lambda length: b"\x5a" * length, "failed the health test"),
    ],
    ids=["gone", "nothing", "too many", "stuck"],
)
async def test_a_fault_at_any_read_gives_an_entropy_error_and_no_draw(
    interrupt: Callable[[int], bytes], sentence: str
) -> None:
    whole = Scripted(gone, 0)
    await entropy(whole, batch=1).prepare(1)
    assert whole.reads > 300
    for at in (*range(1, 8), *range(8, whole.reads - 4, 37), *range(whole.reads - 3, whole.reads + 1)):
        source = Scripted(interrupt, at)
        port = entropy(source, batch=1)
        # The last reads ask for a byte or two, which may be any byte.
        if sentence == "failed the health test" and at > whole.reads - 8:
            continue
        with pytest.raises(EntropyError, match=sentence) as error:
            await port.prepare(1)
        with pytest.raises(EntropyError):
            port.random(32)
        assert all(raw.hex() not in error.value.detail for raw in source.given if len(raw) > 2)


async def test_raw_bytes_are_in_no_log_text_or_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keystore = FailingKeystore()
    source = Scripted(lambda length: b"\x5a" * length, 700)
    port = entropy(source, keystore, batch=2)
    texts = []
    try:
        for _ in range(20):
            await port.prepare(2)
            texts += [port.random(32).hex(), keystore.values[STATE].hex()]
    except EntropyError as error:
        texts += [str(error), repr(error)]
    texts += [repr(port), str(port), str(port.report()), caplog.text]
    stream = b"".join(source.given).hex()
    windows = {stream[at : at + 16] for at in range(0, len(stream) - 16, 2)}
    assert all(not windows & {text[at : at + 16] for at in range(len(text) - 15)} for text in texts)


def test_the_second_source_says_what_it_is_and_never_repeats() -> None:
    second = SecondSource()
    assert len({second.read(64) for _ in range(20)}) == 20
    assert len(second.read(640)) == 640
    assert second.names in (["hwrng", "jitter"], ["jitter"])
    beside = SecondSource("/dev/hwrng (virtio_rng.0)")
    beside.read(64)
    assert beside.names == ["jitter"]
