"""The class of a reading on a trunk: fixed in the transaction that records it, and by nothing later."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import registry_world as world
import sqlalchemy as sa

from handfast.core.errors import LocalError
from handfast.core.hub_session import Ring
from handfast.core.topics import ALARM, BULK, TELEMETRY
from handfast_hub.registry.arriving import Stream
from handfast_hub.registry.bridging import Asked, Wanted
from handfast_hub.registry.engine import open_engine
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import readings, trunk_slots
from handfast_hub.registry.trunk_classes import SLOTS
from handfast_hub.trunk.policy import BULK as BULK_CLASS
from handfast_hub.trunk.policy import NORMAL, SECRET

KINDS = {"secret": SECRET, "normal": NORMAL, "bulk": BULK_CLASS}
Opened = Callable[[str], AbstractAsyncContextManager[Registry]]


def trunk(name: str, *rules: tuple[str, str], more: str = "") -> str:
    """A `[trunk.NAME]` with rules; the peer is never spoken to."""
    lines = [f'[trunk.{name}]\nhub = "x"\nsecret_file = "x"\n{more}']
    lines += [f'[[trunk.{name}.policy]]\ntopic = "{topic}"\nclass = "{kind}"\n' for topic, kind in rules]
    return "".join(lines)


@pytest.fixture
def hub(tmp_path: Path) -> Opened:
    """The same hub's registry, each time with other trunks in its configuration."""
    world.new_hub(tmp_path)

    @asynccontextmanager
    async def opened(text: str) -> AsyncIterator[Registry]:
        registry = await Registry.open(world.new_config(tmp_path, text), world.crypto)
        try:
            for name in registry.bridging._classes._policies:
                for kind in KINDS.values():
                    await registry.bridging.cursor(Stream(name, kind))
            yield registry
        finally:
            await registry.close()

    return opened


class Device:
    """One that speaks, record after record."""

    def __init__(self, number: int, ring: Ring) -> None:
        self.number, self.ring, self.piv = number, ring, 0

    @classmethod
    async def onboarded(cls, registry: Registry, number: int, label: str) -> "Device":
        await registry.operator.approve(world.credential(number).thumbprint, label=label)
        return cls(number, await world.onboard(registry, number))

    async def says(self, registry: Registry, channel: int, data: bytes) -> None:
        self.piv += 1
        record = world.Speaker(self.ring.device_id, self.number).record(0, self.piv, channel, data)
        self.ring, refusal = await world.deliver(registry, self.ring, channel, record, data)
        assert refusal is None


async def goes(registry: Registry, name: str, *channels: int) -> dict[str, list[bytes]]:
    """What goes over a trunk, by class."""
    found = {}
    for kind, number in KINDS.items():
        page = await registry.bridging.outgoing(Wanted(Stream(name, number), channels, 0, 100))
        found[kind] = [reading.data for reading in page.readings]
    return found


async def test_each_trunk_has_its_own_rules_and_the_first_that_matches_counts(hub: Opened) -> None:
    text = trunk("vienna", ("pumps/#", "secret"), ("meters/7/+", "none"), ("meters/+/telemetry", "bulk"))
    async with hub(text + trunk("paris", ("+/+/alarm", "normal"))) as registry:
        pump = await Device.onboarded(registry, 1, "pumps/3")
        meter = await Device.onboarded(registry, 2, "meters/8")
        silent = await Device.onboarded(registry, 3, "meters/7")
        for device, name in ((pump, b"pump"), (meter, b"meter"), (silent, b"silent")):
            await device.says(registry, TELEMETRY, name + b" telemetry")
            await device.says(registry, ALARM, name + b" alarm")
        assert await goes(registry, "vienna") == {
            "secret": [b"pump telemetry", b"pump alarm", b"meter alarm"],
            "normal": [],
            "bulk": [b"meter telemetry"],
        }
        assert await goes(registry, "paris") == {
            "secret": [],
            "normal": [
                b"pump telemetry", b"pump alarm", b"meter telemetry", b"meter alarm",
                b"silent telemetry", b"silent alarm",
            ],
            "bulk": [],
        }  # fmt: skip


async def test_what_was_recorded_as_secret_stays_it_whatever_becomes_of_rules_labels_and_trunks(
    hub: Opened,
) -> None:
    async with hub(trunk("vienna", ("pumps/#", "secret"))) as registry:
        device = await Device.onboarded(registry, 1, "pumps/3")
        await device.says(registry, TELEMETRY, b"first")
        await registry.operator.approve(world.credential(1).thumbprint, label="valves/3")
        await device.says(registry, TELEMETRY, b"under its new label")
    async with hub(trunk("vienna", ("#", "bulk"))) as registry:
        await device.says(registry, TELEMETRY, b"under the new rule")
        expected = {"secret": [b"first"], "normal": [b"under its new label"], "bulk": [b"under the new rule"]}
        # The channels count for nothing any more.
        assert await goes(registry, "vienna", TELEMETRY, ALARM, BULK) == expected
    # A trunk that is out of the configuration for a while is given nothing meanwhile.
    async with hub(trunk("paris")) as registry:
        await device.says(registry, TELEMETRY, b"to paris")
    async with hub(trunk("vienna", ("#", "none"))) as registry:
        await device.says(registry, ALARM, b"kept")
        assert await goes(registry, "vienna") == expected
        assert (await goes(registry, "paris"))["normal"] == [b"to paris"]


async def test_a_device_without_a_label_is_named_by_its_id_and_chooses_only_its_channel(hub: Opened) -> None:
    async with hub(trunk("vienna", ("#", "none"))) as registry:
        devices = [await Device.onboarded(registry, number, "") for number in (1, 2)]
    named = devices[0].ring.device_id.hex()
    rules = ((f"{named}/alarm", "secret"), ("+/alarm", "normal"), ("#", "bulk"))
    async with hub(trunk("vienna", *rules)) as registry:
        for device in devices:
            # What it sends is no word of the topic.
            await device.says(registry, ALARM, b"/alarm %d" % device.number)
            await device.says(registry, TELEMETRY, b"pumps/alarm %d" % device.number)
        assert await goes(registry, "vienna") == {
            "secret": [b"/alarm 1"],
            "normal": [b"/alarm 2"],
            "bulk": [b"pumps/alarm 1", b"pumps/alarm 2"],
        }


async def test_readings_of_an_older_version_go_by_their_channel(hub: Opened, tmp_path: Path) -> None:
    async with hub(trunk("vienna", ("#", "bulk"))) as registry:
        device = await Device.onboarded(registry, 1, "pumps/3")
        await device.says(registry, ALARM, b"older")
        await device.says(registry, TELEMETRY, b"newer")
    engine = open_engine(str(tmp_path / "hub.sqlite"))
    with engine.begin() as connection:
        connection.execute(sa.update(readings).where(readings.c.data == b"older").values(classes=None))
    engine.dispose()
    async with hub(trunk("vienna", ("#", "bulk"))) as registry:

        async def of(kind: int, *channels: int) -> list[bytes]:
            page = await registry.bridging.outgoing(Wanted(Stream("vienna", kind), channels, 0, 9))
            return [reading.data for reading in page.readings]

        assert await of(SECRET, ALARM) == [b"older"]
        assert await of(NORMAL, TELEMETRY) == []
        assert await of(BULK_CLASS) == [b"newer"]


async def test_a_page_says_up_to_where_it_has_looked(hub: Opened) -> None:
    async with hub(trunk("vienna")) as registry:
        device = await Device.onboarded(registry, 1, "")
        for count in range(5):
            await device.says(registry, TELEMETRY, b"%d" % count)
        page = await registry.bridging.outgoing(Wanted(Stream("vienna", SECRET), (), 0, 9))
        assert (page.readings, page.newest) == ([], 5)


async def test_a_trunk_that_takes_the_place_of_another_gets_nothing_that_was_for_that_one(
    hub: Opened, tmp_path: Path
) -> None:
    first = "".join(trunk(f"t{number}") for number in range(SLOTS))
    async with hub(first) as registry:
        device = await Device.onboarded(registry, 1, "")
        await device.says(registry, TELEMETRY, b"to all that there were")
    async with hub(first.replace("trunk.t0]", "trunk.new]")) as registry:
        await device.says(registry, TELEMETRY, b"to the new one too")

        async def unsent(name: str) -> list[bytes]:
            after = (await registry.bridging.cursor(Stream(name, NORMAL))).acked
            page = await registry.bridging.outgoing(Wanted(Stream(name, NORMAL), (), after, 9))
            return [reading.data for reading in page.readings]

        assert await unsent("new") == [b"to the new one too"]
        assert await unsent("t30") == [b"to all that there were", b"to the new one too"]
    # And the other way round.
    async with hub(first) as registry:
        await device.says(registry, TELEMETRY, b"third")
        assert await unsent("t0") == [b"third"]
    engine = open_engine(str(tmp_path / "hub.sqlite"))
    with engine.connect() as connection:
        assert sorted(connection.scalars(sa.select(trunk_slots.c.slot))) == list(range(SLOTS))
    engine.dispose()


async def test_a_command_needs_the_class_that_the_policy_of_its_device_names(hub: Opened) -> None:
    text = trunk("vienna", ("pumps/#", "secret"), ("shut/#", "none"), ("meters/#", "bulk"))
    async with hub(text) as registry:
        serial = 0

        async def asks(kind: int, device: Device) -> int:
            nonlocal serial
            serial += 1
            command = NewCommand(device.ring.device_id, b"on", world.NOW + 60.0, world.NOW)
            asked = Asked("vienna", kind, serial.to_bytes(16, "big"), command)
            return (await registry.bridging.command(asked)).number

        pump = await Device.onboarded(registry, 1, "pumps/3")
        with pytest.raises(LocalError, match='as secret only; set command_class = "secret"'):
            await asks(NORMAL, pump)
        with pytest.raises(LocalError, match="as secret only"):
            await asks(BULK_CLASS, pump)
        assert await asks(SECRET, pump) == 1
        with pytest.raises(LocalError, match="lets no command through"):
            await asks(SECRET, await Device.onboarded(registry, 2, "shut/1"))
        assert await asks(NORMAL, await Device.onboarded(registry, 3, "meters/1")) == 2
        assert await asks(NORMAL, await Device.onboarded(registry, 4, "")) == 3
