"""Two whole hubs, each with a registry on disk, joined by a trunk over TCP on this machine."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from two_hubs import arrivals, running, two_hubs, until, up

from handfast.core.errors import LinkTimeout, LocalError
from handfast_cpython.swarm import Swarm
from handfast_hub.config import HubConfig
from handfast_hub.trunk.carrier import encode_greeting
from handfast_hub.trunk.greeting import CHALLENGE_LENGTH
from handfast_hub.trunk.trunks import GREETINGS_LIMIT, SECRET_LENGTH, read_secret


@pytest.fixture
def configs(tmp_path: Path) -> tuple[HubConfig, HubConfig]:
    return two_hubs(tmp_path)


async def test_readings_cross_and_commands_come_back(configs: tuple[HubConfig, HubConfig]) -> None:
    async with running(configs[0]) as berlin, running(configs[1]) as vienna:
        await until(lambda: up(berlin) and up(vienna))
        async with Swarm(devices=3, hub=berlin, clock=berlin.fake_clock, seed=3) as fleet:
            await fleet.onboard(within=60)
            device = fleet.devices[0].device
            assert device is not None
            await device.send(b"21.5 C")
            await device.send(b"a block", channel="bulk")
            # No KME, so no QKD key: an alarm is secret here, and has to wait for one.
            await device.send(b"fire", channel="alarm")

            async def crossed() -> bool:
                return len(await arrivals(vienna)) == 2

            await until(crossed)
            found = await vienna._registry.bridging.arrivals(0, 10)
            assert {(row.kind, row.data, row.degraded) for row in found} == {
                (2, b"21.5 C", True),
                (3, b"a block", True),
            }
            assert {row.device_id for row in found} == {device.device_id}

            async def obey() -> None:
                async for message in device.messages():
                    await message.reply(b"did " + message.data)

            obeying = asyncio.create_task(obey())
            assert device.device_id is not None
            answer = await vienna.trunks.command("berlin", device.device_id, b"blink", 30.0)
            assert (answer.status, answer.data) == (0, b"did blink")
            obeying.cancel()
            with pytest.raises(LocalError, match="onboarded"):
                await vienna.trunks.command("berlin", bytes(8), b"blink", 30.0)
            with pytest.raises(LocalError, match="there is no trunk 'paris'"):
                await vienna.trunks.command("paris", device.device_id, b"blink", 1.0)


async def test_nothing_is_lost_and_nothing_comes_twice_when_hubs_stop_and_start(
    configs: tuple[HubConfig, HubConfig],
) -> None:
    sent = []
    async with running(configs[0]) as berlin:
        async with Swarm(devices=2, hub=berlin, clock=berlin.fake_clock, seed=4) as fleet:
            await fleet.onboard(within=60)
            async with running(configs[1]) as vienna:
                await until(lambda: up(vienna))
                for count in range(40):
                    sent.append(b"%d" % count)
                    await fleet.devices[count % 2].device.send(sent[-1])
                # It stops while readings are on their way.
            for count in range(40, 80):
                sent.append(b"%d" % count)
                await fleet.devices[count % 2].device.send(sent[-1])
            async with running(configs[1]) as vienna:

                async def whole() -> bool:
                    return len(await arrivals(vienna)) >= 80

                await until(whole)
                assert sorted(await arrivals(vienna)) == sorted(sent)
                # Several epochs go by, and everything goes on.
                epochs = vienna.trunks.status()["berlin"]["epochs_without_qkd"]
                assert isinstance(epochs, int)
                await until(lambda: vienna.trunks.status()["berlin"]["epochs_without_qkd"] > epochs + 2)
                await fleet.devices[0].device.send(b"last")

                async def last() -> bool:
                    return (await arrivals(vienna))[-1] == b"last"

                await until(last)
                assert len(await arrivals(vienna)) == 81


async def test_a_hub_that_is_away_answers_no_command_and_says_so(
    configs: tuple[HubConfig, HubConfig],
) -> None:
    async with running(configs[1]) as vienna:
        with pytest.raises(LinkTimeout, match="not known"):
            await vienna.trunks.command("berlin", bytes(8), b"blink", 0.2)


async def test_strangers_at_the_trunk_port_take_nothing_away(configs: tuple[HubConfig, HubConfig]) -> None:
    async with running(configs[0]) as berlin, running(configs[1]) as vienna:
        await until(lambda: up(berlin) and up(vienna))
        port = berlin.config.bridge.port
        for greeting in (b"", b"GET / HTTP/1.1\r\n\r\n" * 4, encode_greeting(vienna.hub_id[:8] + bytes(32))):
            for _ in range(8):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(greeting + b"\x00\x00\x05hello" + b"\xff\xff\xff")
                with contextlib.suppress(OSError):
                    await writer.drain()
                    writer.close()
        number = berlin.trunks.status()["vienna"]["records_received"]
        async with Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=5) as fleet:
            await fleet.onboard(within=60)
            await fleet.devices[0].device.send(b"still here")

            async def crossed() -> bool:
                return await arrivals(vienna) == [b"still here"]

            await until(crossed)
        assert isinstance(number, int)


async def test_callers_who_say_nothing_at_the_trunk_port_keep_nobody_out(
    configs: tuple[HubConfig, HubConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handfast_hub.trunk.tcp.GREETING_SECONDS", 10_000.0)
    port = configs[0].bridge.port
    async with running(configs[0]) as berlin, contextlib.AsyncExitStack() as stack:
        silent = []
        for _ in range(GREETINGS_LIMIT + 8):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            silent.append(reader)
        # The oldest had to go; each had been asked for an answer.
        assert len(await asyncio.wait_for(silent[0].read(), 60)) == CHALLENGE_LENGTH
        async with running(configs[1]) as vienna:
            await until(lambda: up(berlin) and up(vienna))


@pytest.mark.parametrize(("mode", "said"), [(0o600, 0), (0o644, 1), (0o620, 1)])
def test_a_pairing_secret_that_others_may_read_is_said_in_the_log(
    configs: tuple[HubConfig, HubConfig], mode: int, said: int
) -> None:
    settings = configs[0].trunk["vienna"]
    settings.secret_file.chmod(mode)
    with capture_logs() as log:
        assert len(read_secret(settings)) == SECRET_LENGTH
    assert [line["run"] for line in log] == [f"chmod 600 {settings.secret_file}"] * said


async def test_a_missing_pairing_secret_is_said_in_one_sentence(
    configs: tuple[HubConfig, HubConfig], tmp_path: Path
) -> None:
    (tmp_path / "pairing").write_text("not a secret")
    with pytest.raises(LocalError, match="expected a pairing secret in"):
        async with running(configs[0]):
            pass
