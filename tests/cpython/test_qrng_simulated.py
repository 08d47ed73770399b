"""The simulated quantum source: it says what it is, and each fault does what its name says."""

import asyncio

import pytest

from handfast_cpython.qrng_simulated import FAULTS, Optics, SimulatedSource


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_simulated_source_always_says_that_it_is_simulated(fault: str | None) -> None:
    source = SimulatedSource(fault)
    assert source.kind == 3 and "simulated" in source.model and len(source.model) <= 64


async def test_a_seed_makes_the_simulated_source_repeatable() -> None:
    async def some(source: SimulatedSource) -> bytes:
        return await source.read(100) + await source.read(28)

    assert await some(SimulatedSource(seed=4)) == await some(SimulatedSource(seed=4))
    assert await some(SimulatedSource(seed=4)) != await some(SimulatedSource(seed=5))
    assert await some(SimulatedSource()) != await some(SimulatedSource())


async def test_each_fault_of_the_simulated_source_does_what_its_name_says() -> None:
    assert await SimulatedSource("stuck-zero").read(64) == bytes(64)
    assert await SimulatedSource("stuck-byte").read(64) == b"\xa5" * 64
    assert await SimulatedSource("zero-start").read(64) == bytes(64)
    assert 1 <= len(await SimulatedSource("short-reads").read(64)) <= 3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(SimulatedSource("silence").read(64), 0.02)
    late = SimulatedSource("stuck-byte", after=100, seed=1)
    healthy = SimulatedSource(seed=1)
    assert await late.read(200) == await healthy.read(100)
    assert await late.read(200) == b"\xa5" * 200


async def test_a_slow_bias_grows() -> None:
    source = SimulatedSource("slow-bias", seed=2)
    shares = []
    for _ in range(4):
        raw = b"".join([await source.read(64) for _ in range(64)])
        shares.append(sum(byte.bit_count() for byte in raw) / (8 * len(raw)))
    assert 0.5 < shares[0] < shares[1] < shares[2] < shares[3]
    assert shares[3] > 0.85


def test_the_optics_answer_to_their_parts() -> None:
    equal = Optics(transmission=0.5, efficiency_0=0.2, efficiency_1=0.2, afterpulse=0.0)
    assert abs(equal.chance_of_one(0) - 0.5) < 1e-9 and equal.min_entropy() >= 0.999
    # A better detector 1 or more light towards it gives more ones; a trapped charge repeats the last bit.
    assert equal._replace(efficiency_1=0.25).chance_of_one(0) > 0.54
    assert equal._replace(transmission=0.45).chance_of_one(0) < 0.46
    trapping = equal._replace(afterpulse=0.3)
    assert trapping.chance_of_one(1) > 0.55 and trapping.chance_of_one(0) < 0.45
    assert trapping._replace(hold_off=200).chance_of_one(1) < 0.5001
    assert trapping.min_entropy() < equal.min_entropy()
