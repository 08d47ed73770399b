"""What strangers and broken parts may cost a running hub."""

import asyncio
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from handfast.core import topics
from handfast.core.credentials import Identity, make_ccs
from handfast.core.initiator import Initiator
from handfast_cpython.swarm import Swarm
from handfast_hub import randomness
from handfast_hub.config import HubConfig, load_config
from handfast_hub.installation import create_hub
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.service import configure_logs


@pytest.fixture
def hub_config(tmp_path: Path) -> HubConfig:
    file = tmp_path / "hub.toml"
    file.write_text('name = "test"\n[limits]\nhalf_open = 8\n[log]\nlevel = "warning"\n', encoding="utf-8")
    config = load_config(file)
    create_hub(config)
    return config


async def test_a_stranger_who_is_turned_away_uses_up_no_tested_randomness(hub: MemoryHub) -> None:
    seed = os.urandom(32)
    credential = make_ccs(hub.crypto, "stranger", -49, hub.crypto.signature_public_key(-49, seed))
    before = hub._random._left
    assert before == randomness.BATCH
    for number in range(100):
        machine = Initiator(hub.crypto, os.urandom, Identity(seed, credential), hub.hub_id)
        machine.start(0.0)
        endpoint = topics.onboarding(hub.hub_id[:8], number.to_bytes(topics.CHAN_LENGTH, "big"))
        (payload,) = machine.frames_to_send(0.0)
        hub._sessions.receive(topics.reply_topic(endpoint.up), payload, lambda: None)
    await hub._sessions.settle()
    # The signing bucket was never empty; who was let in costs one draw and the others none.
    assert 4 <= hub._sessions.half_open <= 8
    assert before - hub._random._left == hub._sessions.half_open


async def test_a_hub_stops_when_what_keeps_it_going_has_a_fault(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hub._sessions, "expire", fault)
    await hub.fake_clock.advance(2)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(hub.run(), 60)


@pytest.mark.parametrize("broken", ["deliver", "load"])
async def test_a_record_that_meets_a_fault_is_dropped_and_holds_up_nothing(
    hub: MemoryHub, swarm: Callable[..., Swarm], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with swarm(devices=1, seed=7) as fleet:
        await fleet.onboard(within=60)
        device = fleet.devices[0].device
        assert device is not None
        assert device.device_id is not None
        await device.send(b"before")
        await hub.fake_clock.advance(1)

        async def fault(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(hub._registry, broken, fault)
            hub._traffic.forget(device.device_id)
            await device.send(b"dropped")
            await hub.fake_clock.advance(1)
        assert hub.broker.waiting == 0
        await device.send(b"after")
        await hub.fake_clock.advance(1)
        await asyncio.wait_for(hub._traffic.close(), 60)
    readings = await hub.operator.readings(0, 10)
    assert [reading.data for reading in readings] == [b"before", b"after"]


@pytest.mark.parametrize("shape", ["console", "json"])
def test_a_log_shows_no_local_variable(
    hub_config: HubConfig, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = hub_config.log.model_copy(update={"format": shape})
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    before = structlog.get_config()
    try:
        configure_logs(hub_config.model_copy(update={"log": log}))
        k_tok = os.urandom(16).hex()
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            structlog.get_logger("test").exception("a fault")
    finally:
        structlog.configure(**before)
    assert "a fault" in written.getvalue()
    # Where it happened, for whoever has to mend it.
    assert "test_strangers.py" in written.getvalue()
    assert "ZeroDivisionError" in written.getvalue()
    assert k_tok not in written.getvalue()
