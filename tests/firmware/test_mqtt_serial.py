"""A broker behind a serial line: how the line is named, and what it is to the MQTT client."""

from refusal import refused
from sources import Port

from handfast.core.errors import LocalError
from handfast_micropython.mqtt_serial import Line, SerialBroker


def test_a_line_is_named_by_its_uart_and_nothing_else() -> None:
    for spec in ("uart:1", "uart:1#baud=9600"):
        SerialBroker(spec)
    for spec in ("1", "tcp:1", "uart:1#speed=9600", "uart:1#baud=fast", "uart:1#baud="):
        assert "uart:NUMBER" in refused(LocalError, SerialBroker, spec).detail


async def test_what_is_written_goes_out_in_order_when_it_is_drained() -> None:
    port = Port([b"answer"])
    line = Line(port)
    line.write(b"one ")
    line.write(b"two")
    assert bytes(port.written) == b""
    await line.drain()
    assert bytes(port.written) == b"one two"
    assert await line.read(3) == b"ans"


async def test_a_closed_line_sends_nothing_that_waited_and_lets_go_of_the_port() -> None:
    port = Port([])
    line = Line(port)
    line.write(b"late")
    line.close()
    await line.wait_closed()
    await line.drain()
    assert bytes(port.written) == b"" and port.closed == 1
