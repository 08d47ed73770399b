"""An enrolled device: data both ways, bounds, and the end."""

import asyncio

from host_crypto import crypto
from odd_links import Breaking, Buggy
from refusal import refused
from world import World, caught, everything, onboarded

from handfast.core import topics
from handfast.core.constants import MAX_PLAINTEXT
from handfast.core.errors import KeystoreError, LocalError
from handfast.core.plaintexts import STATUS_BUSY
from handfast.device import Device
from handfast.settings import Settings
from handfast.testing import MemoryHost, MemoryKeystore, MemoryLink

# Data ------------------------------------------------------------------------------------------


async def test_what_a_device_sends_arrives_once_and_in_order() -> None:
    world, device = await onboarded()
    for number in range(20):
        await device.send(b"reading %d" % number)
    await device.send(b"fire", "alarm")
    await device.send(b"picture", "bulk")
    await world.clock.advance(1.0)
    assert world.data() == [b"reading %d" % number for number in range(20)]
    assert (world.data(topics.ALARM), world.data(topics.BULK)) == ([b"fire"], [b"picture"])
    await device.close()


async def test_drain_waits_for_the_broker() -> None:
    world, device = await onboarded()
    world.broker.connected = False
    world.broker.drop_all()
    await device.send(b"late")
    task = asyncio.create_task(device.drain())
    await world.clock.advance(5.0)
    assert not task.done()
    world.broker.connected = True
    await world.clock.advance(60.0)
    assert task.done()
    assert world.data() == [b"late"]
    await device.close()


async def test_what_cannot_be_sent_is_refused_at_once() -> None:
    world, device = await onboarded(settings=Settings(queue=3))
    largest = bytes(MAX_PLAINTEXT)
    await device.send(largest)
    for data, channel in (
        (largest + b"x", "telemetry"),
        (b"x", "command"),
        (b"x", "control"),
        (b"x", "mail"),
    ):
        assert isinstance(await caught(device.send(data, channel)), LocalError)
    await world.clock.advance(1.0)
    assert world.data() == [largest]
    await device.close()


async def test_the_queue_is_bounded_while_the_link_is_away_and_nothing_of_it_is_lost() -> None:
    world, device = await onboarded(settings=Settings(queue=3))
    world.broker.connected = False
    world.broker.drop_all()
    await world.clock.advance(1.0)
    for number in range(3):
        await device.send(b"%d" % number)
    error = await caught(device.send(b"one too many"))
    assert isinstance(error, LocalError)
    assert "wait for the link" in error.detail
    world.broker.connected = True
    await world.clock.advance(60.0)
    assert world.data() == [b"0", b"1", b"2"]
    await device.send(b"again")
    await world.clock.advance(1.0)
    assert world.data()[3:] == [b"again"]
    await device.close()


async def test_a_record_that_broke_off_goes_out_again_with_the_same_bytes() -> None:
    """The hub's window takes it once, whether the broker had it or not."""
    for before in (True, False):
        world = World()
        await world.start()
        breaking = Breaking(before)
        device = await world.device(wrap=breaking.over)
        await world.onboard(device)
        breaking.armed = True
        await device.send(b"once")
        await world.clock.advance(60.0)
        sent = [payload for topic, payload in world.seen if topic.channel == topics.TELEMETRY]
        assert len(sent) == (1 if before else 2)
        assert len(set(sent)) == 1
        assert world.data() == [b"once"]
        await device.close()


async def test_messages_come_in_order_and_end_with_the_device() -> None:
    world, device = await onboarded()
    for number in range(5):
        world.command(device, b"%d" % number)
    await world.clock.advance(1.0)
    seen = []
    async for message in device.messages():
        seen.append((message.channel, message.data))
        if len(seen) == 5:
            break
    assert seen == [("command", b"%d" % number) for number in range(5)]
    task = asyncio.create_task(everything(device))
    await world.clock.settle()
    await device.close()
    await world.clock.settle()
    assert task.done()
    assert await task == []


async def test_a_command_is_answered_once_under_its_own_number() -> None:
    world, device = await onboarded()
    world.command(device, b"open the door")
    await world.clock.advance(1.0)
    message = await device.next_message()
    assert (message.channel, message.data) == ("command", b"open the door")
    # Too large, and asked again with something shorter.
    assert isinstance(await caught(message.reply(bytes(MAX_PLAINTEXT))), LocalError)
    await message.reply(b"it is open", 0)
    assert isinstance(await caught(message.reply(b"twice")), LocalError)
    await device.drain()
    response = world.hub.responses[0]
    assert (response.status, response.data) == (0, b"it is open")
    key = world.known(device).ring.active
    assert (response.epoch, response.piv) == (key.epoch, key.send_next - 1)
    assert len(world.hub.responses) == 1
    await device.close()


async def test_only_a_command_can_be_answered() -> None:
    world, device = await onboarded()
    record = world.hub.seal(world.known(device), topics.BULK, b"firmware")
    world.publish(device, [(topics.BULK, record)])
    await world.clock.advance(1.0)
    message = await device.next_message()
    assert (message.channel, message.data) == ("bulk", b"firmware")
    assert isinstance(await caught(message.reply(b"thanks")), LocalError)
    await device.close()


async def test_a_command_beyond_the_queue_is_answered_busy_and_never_lost_in_silence() -> None:
    world, device = await onboarded(settings=Settings(queue=2))
    for number in range(5):
        world.command(device, b"%d" % number)
    await world.clock.advance(1.0)
    assert "refused" in device.trouble
    # Each command is either with the application or answered.
    assert [response.status for response in world.hub.responses] == [STATUS_BUSY] * 3
    assert world.hub.responses[0].data == b"2 messages wait for the application"
    for data in (b"0", b"1"):
        message = await device.next_message()
        assert message.data == data
        await message.reply(b"done " + data)
    world.command(device, b"5")
    await world.clock.advance(1.0)
    message = await device.next_message()
    assert message.data == b"5"
    await message.reply(b"done 5")
    await world.clock.advance(1.0)
    answers = [response.data for response in world.hub.responses[3:]]
    assert answers == [b"done 0", b"done 1", b"done 5"]
    # Every answer names another command.
    assert len({(response.epoch, response.piv) for response in world.hub.responses}) == 6
    await device.close()


async def test_other_messages_beyond_the_queue_are_dropped_and_said_so() -> None:
    world, device = await onboarded(settings=Settings(queue=2))
    for number in range(3):
        record = world.hub.seal(world.known(device), topics.BULK, b"%d" % number)
        world.publish(device, [(topics.BULK, record)])
    await world.clock.advance(1.0)
    assert "dropped" in device.trouble
    assert world.hub.responses == []
    await device.close()


async def test_a_busy_answer_outlives_a_broken_link() -> None:
    world, device = await onboarded(settings=Settings(queue=1))
    world.command(device, b"0")
    await world.clock.advance(1.0)
    endpoint_command = world.hub.command(world.known(device), b"1")
    world.publish(device, [endpoint_command])
    # The broker goes before the device has said a word about it.
    world.broker.connected = False
    world.broker.drop_all()
    await world.clock.advance(5.0)
    world.broker.connected = True
    # What the device did not take while it was away comes again, as the hub does it.
    await world.clock.advance(90.0)
    world.publish(device, [endpoint_command])
    await world.clock.advance(5.0)
    assert [response.status for response in world.hub.responses] == [STATUS_BUSY]
    await device.close()


async def test_forged_and_replayed_records_are_passed_over() -> None:
    world, device = await onboarded()
    channel, record = world.hub.command(world.known(device), b"genuine")
    for wrong in (b"", b"\x00", record[:-1] + bytes((record[-1] ^ 1,)), record + b"\x00"):
        world.publish(device, [(channel, wrong)])
    world.publish(device, [(topics.ALARM, record)])
    world.publish(device, [(channel, record)] * 3)
    await world.clock.advance(1.0)
    assert (await device.next_message()).data == b"genuine"
    await device.send(b"fine")
    await world.clock.advance(1.0)
    assert world.data() == [b"fine"]
    await device.close()
    assert await everything(device) == []


# The end ----------------------------------------------------------------------------------------


async def test_close_at_any_moment_leaves_no_task_and_no_connection() -> None:
    """Every tenth of a second of a life with an approval, a broken link and traffic; and twice."""
    for moment in range(0, 60, 3):
        world = World(approval=True)
        await world.start()
        device = await world.device(admitted=False)
        task = asyncio.create_task(caught(device.onboard()))
        for tick in range(moment):
            await world.clock.advance(1.0)
            if tick == 5:
                world.known(device).state = "admitted"
            if tick == 40:
                world.broker.drop_all()
            if device.state == "active":
                await device.send(b"%d" % tick)
                world.command(device, b"%d" % tick)
        await device.close()
        await world.clock.settle()
        assert task.done()
        assert world.at_rest(), moment
        seen = len(world.seen)
        await world.clock.advance(500.0)
        assert len(world.seen) == seen
        await device.close()
        assert isinstance(await caught(device.send(b"x")), LocalError)
        assert isinstance(await caught(device.onboard()), LocalError)


async def test_an_onboard_that_is_cancelled_leaves_no_task_and_can_be_called_again() -> None:
    world = World()
    await world.start()
    world.away = True
    device = await world.device()
    task = asyncio.create_task(device.onboard())
    await world.clock.advance(3.0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    await world.clock.settle()
    assert not world.clock._sleepers
    world.away = False
    await world.onboard(device)
    await device.close()


async def test_one_device_is_onboard_once() -> None:
    world = World()
    await world.start()
    device = await world.device()
    first = asyncio.create_task(caught(device.onboard()))
    await asyncio.sleep(0)
    assert isinstance(await caught(device.onboard()), LocalError)
    await world.clock.advance(1.0)
    assert await first is None
    assert isinstance(await caught(device.onboard()), LocalError)
    assert len(world.attempts()) == 1
    await device.close()


async def test_before_it_is_onboard_a_device_can_do_nothing() -> None:
    world = World()
    device = await world.device()
    for call in (device.send(b"x"), device.heard()):
        assert isinstance(await caught(call), LocalError)
    refused(LocalError, device.key, "logs")
    assert device.stored_session() is None
    await device.close()


async def test_a_bug_in_a_port_is_heard_and_not_waited_for() -> None:
    world = World()
    await world.start()
    device = await world.device(wrap=lambda link: Buggy())
    assert isinstance(await world.failure(device), ZeroDivisionError)
    await device.close()


async def test_a_damaged_session_is_said_and_retry_enrols_anew() -> None:
    world, device = await onboarded()
    await device.close()
    device._host.keystore.values["session"] = b"\x80"
    device = world.again(device)
    assert isinstance(await world.failure(device), KeystoreError)
    await world.onboard(device, retry=True)
    assert device.state == "active"
    await device.close()


async def test_a_device_needs_an_identity_and_a_hub() -> None:
    world = World()
    host = MemoryHost(crypto, world.clock, b"nobody", MemoryKeystore())
    refused(LocalError, Device, host, MemoryLink(world.broker))
