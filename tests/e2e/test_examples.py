"""Every example runs as a stranger runs it: the file itself, in a process of its own, typed as it says."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from build_unix_port import BuildError, unix_port
from free_ports import free_port
from processes import PATIENCE, ROOT, HubProcess, eventually
from programs import Program, python

from handfast.core import topics
from handfast_cpython.mqtt import MqttLink
from handfast_hub.registry.operator import NewCommand

EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


async def typed(*words: object) -> str:
    """What a command says; it has to end well."""
    async with python(*words) as program:
        assert await program.ended() == 0, program.lines
    return "\n".join(program.lines)


async def set_up(hub: HubProcess, home: Path, broker: str) -> None:
    """`handfast init`, as the examples say."""
    (token,) = await hub.tokens(1)
    words = ("--hub", hub.code, "--token", token, "--broker", broker, "--home", home)
    await typed("-m", "handfast_cpython.cli", "init", *words)


@contextlib.asynccontextmanager
async def relay(broker: str) -> AsyncIterator[int]:
    """The other end of own_link.py: its lines to the broker, and back; the port where it listens."""
    at_work: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        down = (await reader.readline()).decode().strip()
        onboarding = "/dev/" not in down
        topic = topics.parse(down if onboarding else f"{down}/0")
        if onboarding:
            endpoint = topics.onboarding(topic.hub, topic.chan)
        else:
            endpoint = topics.enrolled(topic.hub, topic.device_id)
        link = MqttLink.from_url(broker)
        await link.connect(endpoint)

        async def back() -> None:
            while True:
                channel, payload = await link.receive()
                place = down if channel is None else f"{down}/{channel}"
                writer.write(f"{place} {payload.hex()}\n".encode())

        backwards = asyncio.create_task(back())
        with contextlib.suppress(OSError):
            while line := (await reader.readline()).decode():
                place, payload = line.split(" ")
                assert place.startswith(endpoint.up)
                channel = None if onboarding else int(place.rpartition("/")[2])
                await link.send(channel, bytes.fromhex(payload))
        backwards.cancel()
        await asyncio.gather(backwards, return_exceptions=True)
        await link.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**18)
    try:
        yield server.sockets[0].getsockname()[1]
        server.close()
        # What the device left with us is with the broker when this returns.
        await asyncio.wait_for(asyncio.gather(*at_work), PATIENCE)
    finally:
        server.close()


@pytest.fixture
def hub(tmp_path: Path) -> HubProcess:
    """A new hub that does not run yet."""
    return HubProcess(tmp_path / "hub")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_one_short_file_that_begins_with_what_it_is(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert len(lines) < 80
    assert lines[0].startswith('"""') and len(lines[0]) > 40
    assert f"{file.name}" in "\n".join(lines[:20]), "its docstring says how it is run"


def test_every_example_has_a_test() -> None:
    tests = Path(__file__).read_text()
    assert [file.name for file in FILES if f'"{file.name}"' not in tests] == []


async def test_a_hub_program_switches_on_the_fan_behind_a_gateway(hub: HubProcess, tmp_path: Path) -> None:
    async with python(EXAMPLES / "hub_program.py", hub.file) as program:
        broker = await program.said("hub test serves at")
        await set_up(hub, tmp_path / "gateway", broker)
        async with python(EXAMPLES / "cpython_gateway.py", tmp_path / "gateway", broker, 0) as gateway:
            port = (await gateway.said("gateway")).split()[-1]
            reader, sensor = await asyncio.open_connection("127.0.0.1", int(port))
            sensor.write(b"21.5\nnobody knows\n31.5\n")
            assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"fan on\n"
            assert await program.said("test answered:") == "sent to 1 sensors"
            said = [line for line in program.lines if line.startswith("test says:")]
            assert said == ["test says: 21.5", "test says: nobody knows", "test says: 31.5"]
            # A line that is too long costs its sensor the connection, and nobody else anything.
            sensor.write(b"9" * 100_000)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            await gateway.said("a sensor was dropped:")
            sensor.close()

            async with hub.operator() as operator:
                (device,) = await operator.devices("onboarded")
                await operator.revoke(device.thumbprint, "sold")
            assert await gateway.ended() == 1
            assert gateway.lines[-1].startswith("the gateway ends: the hub has revoked this device")
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 0, program.lines
        assert not any("Traceback" in line for line in program.lines + gateway.lines)


async def test_a_program_at_one_end_of_a_trunk_commands_a_device_at_the_other(tmp_path: Path) -> None:
    berlin, vienna = (HubProcess(tmp_path / name) for name in ("berlin", "vienna"))
    pairing = tmp_path / "pairing"
    await typed("-m", "handfast_hub.cli", "trunk", "pair", pairing)
    port = free_port()
    for hub, peer, ours, theirs in (
        (berlin, vienna, f"[bridge]\nport = {port}\n", "[trunk.vienna]\ncommands = true\n"),
        (vienna, berlin, "", f'[trunk.berlin]\nconnect = "tcp://127.0.0.1:{port}"\n'),
    ):
        lines = f'\n{ours}{theirs}hub = "{peer.code}"\nsecret_file = "{pairing}"\n'
        hub.file.write_text(hub.file.read_text() + lines)
    with berlin:
        berlin.start()
        await set_up(berlin, tmp_path / "gateway", berlin.address)
        async with (
            python(EXAMPLES / "cpython_gateway.py", tmp_path / "gateway", berlin.address, 0) as gateway,
            python(EXAMPLES / "two_hubs_trunk.py", vienna.file) as program,
        ):
            # Nobody makes quantum keys here.
            await program.said("trunk berlin is up, secret waits")
            port = int((await gateway.said("gateway")).split()[-1])
            reader, sensor = await asyncio.open_connection("127.0.0.1", port)
            sensor.write(b"21.5\n31.5\n")
            assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"fan on\n"
            assert await program.said("test answered:") == "sent to 1 sensors"
            said = [line for line in program.lines if line.startswith("test says")]
            assert said == ["test says (normal, degraded): 21.5", "test says (normal, degraded): 31.5"]
            sensor.close()
            berlin.kill()
            await program.said("trunk berlin is down")
            program.process.send_signal(signal.SIGINT)
            assert await program.ended() == 0, program.lines
            assert not any("Traceback" in line for line in program.lines)


async def test_a_link_of_ones_own_carries_a_device_through_a_relay(hub: HubProcess, tmp_path: Path) -> None:
    with hub:
        hub.start()
        await set_up(hub, tmp_path / "device", "mqtt://none")
        async with relay(hub.address) as port:
            words = (tmp_path / "device", "127.0.0.1", port)
            for reading in ("21.5 C", "22.0 C"):
                await typed(EXAMPLES / "own_link.py", *words, reading)
        async with hub.operator() as operator:

            async def heard() -> list[bytes]:
                return [each.data for each in await operator.readings(0, 10)]

            await eventually(heard, [b"21.5 C", b"22.0 C"])
            assert len(await operator.devices("onboarded")) == 1


async def test_both_ends_make_the_same_application_key() -> None:
    said = await typed(EXAMPLES / "application_key.py")
    assert said.endswith("the hub reads 12:00 door opened")


async def test_a_swarm_survives_a_bad_network_and_a_revocation() -> None:
    said = await typed(EXAMPLES / "swarm.py", 20)
    assert "20 of 20 onboard" in said
    assert said.endswith("a minute after the broker dropped everybody, 19 are active")


async def test_a_sensor_on_micropython_sets_itself_up_and_answers(hub: HubProcess, tmp_path: Path) -> None:
    try:
        micropython = os.environ.get("MICROPYTHON") or unix_port()
    except BuildError as error:
        pytest.skip(f"MicroPython: {error}")
    with hub:
        hub.start()
        board = tmp_path / "board"
        board.mkdir()
        (token,) = await hub.tokens(1)
        host, _, port = hub.address.removeprefix("mqtt://").partition(":")
        values = {"hub": hub.code, "token": token, "broker": host, "port": int(port), "period": 1}
        (board / "setup.json").write_text(json.dumps(values))
        paths = os.pathsep.join((".frozen", str(ROOT / "firmware_micropython"), str(ROOT / "sdk")))
        file = EXAMPLES / "micropython_sensor.py"
        command = (micropython, "-X", "heapsize=8m", file, board)
        for _ in range(2):
            # The second time there is no setup.json any more, and nothing to set up.
            async with Program(*command, MICROPYPATH=paths) as sensor, hub.operator() as operator:
                device_id = bytes.fromhex(await sensor.said("onboard as"))
                assert not (board / "setup.json").exists()
                now = time.time()
                number = await operator.command(NewCommand(device_id, b"uptime", now + 600, now))

                async def state(number: int = number) -> str:
                    return (await operator.find_command(number)).state

                await eventually(state, "answered")
                assert (await operator.find_command(number)).answer.endswith(b" ms")
                readings = await operator.readings(0, 10)
                assert all(each.data.endswith(b" bytes free") for each in readings) and readings
        assert not any(token.encode() in kept.read_bytes() for kept in board.rglob("*") if kept.is_file())
