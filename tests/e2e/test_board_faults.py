"""What goes wrong around the emulated board: it says so, makes and loses no key, and goes on by itself."""

import asyncio

import mosquitto
from board_world import PATIENCE
from emulated_board import World, needs_qemu
from quantum_module import QuantumModule

pytestmark = [mosquitto.needs_mosquitto, needs_qemu]


async def lives(emulated: World, board: object, count: int = 1) -> bytes:
    """The device_id under which the board is onboard, once, and sends."""
    device_id = bytes.fromhex(await board.said("onboard as"))  # type: ignore[attr-defined]
    await emulated.heard_from(device_id, 0)
    assert len(await emulated.hub.operator.devices("onboarded")) == count
    return device_id


async def test_a_quantum_source_that_is_stuck_then_silent_then_slow_at_boot(
    emulated: World, module: QuantumModule
) -> None:
    module.become("stuck")
    board = emulated.board(module)
    await board.prompt()
    # No key is made out of a stuck source.
    said = await board.run(
        "import asyncio\n"
        "from handfast.core.errors import EntropyError\n"
        "from handfast_micropython import Board, main\n"
        f"board = Board(qrng='uart:2#min-entropy={module.claim}')\n"
        "try:\n"
        f"    asyncio.run(main.set_up(board, {emulated.hub_code()!r}, broker='uart:1'))\n"
        "except EntropyError as error:\n"
        "    answer = [error.detail, board.keystore.load('identity') is None]\n"
    )
    assert isinstance(said, list)
    assert "failed the health test" in said[0] and said[1]
    board.cut_power()

    module.become("well")
    board = await emulated.set_up(module)
    await board.said("claim code")
    board.cut_power()
    module.become("stuck")
    board = emulated.board(module)
    assert "failed the health test" in await board.said("the quantum source:")
    board.cut_power()
    module.become("silent")
    board = emulated.board(module)
    assert "was silent for 5 seconds" in await board.said("the quantum source:")
    assert await emulated.hub.operator.devices("onboarded") == []
    module.become("slow")
    await lives(emulated, board)


async def test_a_flash_that_cannot_be_written_costs_no_key(emulated: World, module: QuantumModule) -> None:
    board = await emulated.set_up(module)
    with board.broken_flash():
        await board.said("could not write the keystore")
        assert await emulated.hub.operator.devices("onboarded") == []
    device_id = await lives(emulated, board)
    board.cut_power()
    board = emulated.board(module)
    begin = len(board.lines)
    with board.broken_flash():
        await board.said("could not write the keystore", begin)
    assert await lives(emulated, board) == device_id


async def test_a_board_waits_for_a_broker_that_is_away_and_comes_back_when_it_restarts(
    emulated: World, module: QuantumModule
) -> None:
    emulated.broker.stop()
    board = await emulated.set_up(module)
    await board.said("claim code")
    emulated.broker.start()
    device_id = await lives(emulated, board)
    emulated.broker.stop()
    begin = len(emulated.readings)
    emulated.broker.start()
    await emulated.heard_from(device_id, begin)
    assert len(await emulated.hub.operator.devices("onboarded")) == 1


async def test_a_message_that_is_too_large_is_dropped_and_the_board_goes_on(
    emulated: World, module: QuantumModule
) -> None:
    board = await emulated.set_up(module)
    device_id = await lives(emulated, board)
    # Nobody waits for its answer: there is none.
    large = asyncio.create_task(emulated.hub.command(device_id, bytes(60_000), expires=PATIENCE))
    await board.said("a message was dropped")
    large.cancel()
    response = await emulated.hub.command(device_id, b"blink", expires=PATIENCE)
    assert response.data == b"done: blink"
    assert await lives(emulated, board) == device_id


async def test_the_prompt_interrupts_a_board_that_lives_with_its_hub(
    emulated: World, module: QuantumModule
) -> None:
    board = await emulated.set_up(module)
    await lives(emulated, board)
    await board.prompt()
    assert await board.run("answer = 6 * 7") == 42
