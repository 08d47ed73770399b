"""The bundle of ports: made in one line, and nothing stays locked when it cannot be made."""

from pathlib import Path

import pytest

import handfast_cpython
from handfast.core.errors import EntropyError, KeystoreError, LocalError
from handfast_cpython.clock import Clock
from handfast_cpython.host import Host
from handfast_cpython.keystore import Keystore
from handfast_cpython.qrng_simulated import SimulatedSource


async def test_a_host_draws_stores_and_tells_the_time(tmp_path: Path) -> None:
    host = Host(tmp_path / "device")
    await host.entropy.prepare(2)
    assert len(host.entropy.random(32)) == 32
    assert host.entropy.report()[:4] == [2, "operating system", 1000, 0]
    host.keystore.save("identity", b"value")
    now = host.clock.now()
    await host.clock.sleep(0)
    assert host.clock.now() >= now
    assert len(host.crypto.hash(-16, b"")) == 32
    await host.close()
    await host.close()
    again = Host(tmp_path / "device", qrng=SimulatedSource())
    assert again.keystore.load("identity") == b"value"
    assert again.entropy.report()[:4] == [3, "simulated photonic source", 930, 2]
    await again.close()


async def test_a_host_with_a_stuck_source_makes_no_key(tmp_path: Path) -> None:
    host = Host(tmp_path / "device", qrng="simulated:stuck-zero")
    with pytest.raises(EntropyError, match="'simulated photonic source, stuck-zero' failed the health test"):
        await host.entropy.prepare(1)
    with pytest.raises(EntropyError):
        host.entropy.random(32)
    await host.close()


def test_an_unknown_source_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="choose os"):
        Host(tmp_path / "device", qrng="quantis")
    assert not (tmp_path / "device").exists()


@pytest.mark.parametrize("state", [b"short", b"\x02" + bytes(52)])
def test_a_damaged_state_leaves_the_keystore_unlocked(tmp_path: Path, state: bytes) -> None:
    with Keystore(tmp_path / "device") as keystore:
        keystore.save("entropy", state)
    for _ in range(2):
        with pytest.raises(LocalError, match="entropy state"):
            Host(tmp_path / "device")


async def test_a_second_host_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path / "device")
    with pytest.raises(KeystoreError, match="in use by process"):
        Host(tmp_path / "device")
    await host.close()
    await Host(tmp_path / "device").close()


async def test_two_machines_with_one_image_draw_differently(tmp_path: Path) -> None:
    """The same keystore copied, the same simulated source with the same seed."""
    first = Host(tmp_path / "first", qrng="simulated#seed=1")
    await first.entropy.prepare(1)
    await first.close()
    (tmp_path / "second").mkdir(mode=0o700)
    for file in (tmp_path / "first").iterdir():
        copy = tmp_path / "second" / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o600)
    draws = []
    for name in ("first", "second"):
        host = Host(tmp_path / name, qrng="simulated#seed=2")
        await host.entropy.prepare(1)
        draws.append(host.entropy.random(32))
        await host.close()
    assert draws[0] != draws[1]


def test_the_public_names_lead_to_the_ports() -> None:
    assert handfast_cpython.Host is Host
    assert handfast_cpython.Keystore is Keystore
    assert handfast_cpython.Clock is Clock
    with pytest.raises(AttributeError):
        _ = handfast_cpython.Toaster
