"""What runs at boot: connect, onboard, send readings and answer commands; after any trouble once more.

    import asyncio
    from handfast_micropython import main
    asyncio.run(main.run(read=lambda: b"21.5 C"))

stands in the board's own /main.py. `set_up` was called once before, by hand or by a tool.
"""

import asyncio
import gc

from handfast.core.errors import EntropyError, Error, KeystoreError, LinkError, LocalError
from handfast.device import Device
from handfast.entries import IDENTITY
from handfast.settings import Settings
from handfast_micropython.board import PATH, Board
from handfast_micropython.keystore import Keystore
from handfast_micropython.mqtt import MqttLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from handfast.ports import Host, Link

# Seconds before the first new attempt after trouble, doubled up to the longest.
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
# What a command is answered with that the application did not take: the first byte says failed.
FAILED = 1


async def set_up(
    board: Board, hub_code: str, token: "str | None" = None, name: str = "board", **values: object
) -> str:
    """Store the configuration and make the key of this device; returns the claim code for the operator.

    `values` are entries of `handfast_micropython.configuration`. May be repeated after a power cut.
    LocalError when there is a key already, DecodeError for a mistyped code, EntropyError in alarm.
    """
    # A board that lives with its hub never needs it again.
    from handfast_micropython.provisioning import create

    return await create(board, hub_code, token, name, values)


def link(keystore: Keystore, say: "Callable[[str], None]" = print) -> MqttLink:
    """The link to the broker of the configuration; it joins the stored Wi-Fi first."""
    values = _configured(keystore)

    async def join() -> None:
        # A board on a serial line or a cable has no room for it.
        from handfast_micropython import wifi

        await wifi.connect(keystore)

    broker = str(values["broker"])
    opener = None
    before: "Callable[[], Awaitable[None]] | None" = join
    if broker.startswith("uart:"):
        from handfast_micropython.mqtt_serial import SerialBroker

        opener, broker, before = SerialBroker(broker).open, "", None
    return MqttLink(
        broker,
        port=int(str(values["port"])),
        username=str(values["username"]) or None,
        password=str(values["password"]) or None,
        opener=opener,
        before=before,
        say=say,
    )


async def run(
    read: "Callable[[], bytes | None]",
    handle: "Callable[[bytes], bytes] | None" = None,
    *,
    path: str = PATH,
    board: "Board | None" = None,
    say: "Callable[[str], None]" = print,
) -> None:
    """Onboard once, then send what `read` gives every period, and answer commands by `handle`.

    Goes on for ever: whatever fails is said in one sentence and tried again after a growing pause.
    Ends with RefusedError when the hub refused or revoked this device, and with LocalError when the
    board was never set up.
    """
    if board is None:
        values = _configured(Keystore(path))
        board = Board(path, qrng=str(values["qrng"]))
    if board.keystore.load(IDENTITY) is None:
        raise LocalError("this board has no key yet; call handfast_micropython.main.set_up once more")
    period = float(str(_configured(board.keystore)["period"]))
    pause = FIRST_PAUSE
    while True:
        began = board.clock.now()
        try:
            await stay(board, link(board.keystore, say), _settings(board.keystore), period, read, handle, say)
        except EntropyError as error:
            say("the quantum source: " + error.detail)
            # Nobody is there to look after it; the count of alarms goes to the hub.
            await board.entropy.restart()
        except (LinkError, KeystoreError) as error:
            say(error.detail)
        except MemoryError as error:
            say("the memory is full: %s; starting again" % error)
        gc.collect()
        if board.clock.now() - began > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await board.clock.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _configured(keystore: Keystore) -> "dict[str, Any]":
    # In functions that end: the module is forgotten with the identity, once the device is made of both.
    from handfast_micropython import configuration

    return configuration.load(keystore)


def _settings(keystore: Keystore) -> Settings:
    from handfast_micropython import configuration

    return configuration.settings(keystore)


async def stay(
    host: "Host",
    link: "Link",
    settings: Settings,
    period: float,
    read: "Callable[[], bytes | None]",
    handle: "Callable[[bytes], bytes] | None",
    say: "Callable[[str], None]",
) -> None:
    """One stay with the hub, until an error ends it."""
    async with Device(host, link, settings) as device:
        say("claim code " + device.claim_code)
        await device.onboard()
        say("onboard as " + (device.device_id or b"").hex())
        answering = asyncio.create_task(_answer(device, handle, say))
        try:
            while True:
                data = read()
                if data is not None:
                    try:
                        await device.send(data)
                    except LocalError as error:
                        # The queue is full: the newest reading is the one that can be made again.
                        say(error.detail)
                await host.clock.sleep(period)
        finally:
            answering.cancel()


async def _answer(
    device: Device, handle: "Callable[[bytes], bytes] | None", say: "Callable[[str], None]"
) -> None:
    try:
        async for message in device.messages():
            if message.channel != "command":
                continue
            if handle is None:
                await message.reply(b"no commands here", FAILED)
                continue
            try:
                answer = handle(message.data)
            except Exception as error:
                say("a command failed: %r" % error)
                await message.reply(type(error).__name__.encode(), FAILED)
            else:
                await message.reply(answer)
    except Error as error:
        # The device has ended; who sends the next reading hears it too.
        say(error.detail)
