"""The replay window: each number once, not too old, and in order where order is kept."""

from refusal import refused

from handfast.core.errors import DecodeError, ReplayError
from handfast.core.replay import FRESH, Window, accept, check, decode_window, encode_window, overtaken
from handfast.core.topics import ALARM, BULK, COMMAND, CONTROL, RESPONSE, TELEMETRY

ORDERED = (CONTROL, COMMAND, BULK)
UNORDERED = (TELEMETRY, RESPONSE, ALARM)


def received(numbers: "list[int]", channel: int = TELEMETRY) -> Window:
    window = FRESH
    for number in numbers:
        check(window, number, channel)
        window = accept(window, number, channel)
    return window


def test_a_number_is_accepted_once() -> None:
    window = received([0, 5, 3])
    for number in (0, 3, 5):
        refused(ReplayError, check, window, number, TELEMETRY)
    for number in (1, 2, 4, 6):
        check(window, number, TELEMETRY)


def test_the_first_number_may_be_any() -> None:
    for number in (0, 1, 63, 64, 1024, (1 << 40) - 1):
        assert received([number]).highest == number


def test_the_window_is_64_wide() -> None:
    window = received([100])
    check(window, 37, TELEMETRY)
    refused(ReplayError, check, window, 36, TELEMETRY)


def test_what_was_accepted_is_remembered_while_the_window_moves() -> None:
    window = received([10, 11, 20])
    window = accept(window, 73, TELEMETRY)
    refused(ReplayError, check, window, 10, TELEMETRY)
    refused(ReplayError, check, window, 11, TELEMETRY)
    check(window, 12, TELEMETRY)
    window = accept(window, 74, TELEMETRY)
    refused(ReplayError, check, window, 10, TELEMETRY)
    assert accept(window, 74 + 64, TELEMETRY).bitmap == 1


def test_a_window_agrees_with_a_set_of_all_numbers() -> None:
    window, seen, number = FRESH, set(), 0
    for step in range(2000):
        # A walk with jumps ahead, steps back and repetitions, the same on every interpreter.
        number = max(0, number + (step * 7919) % 23 - 9 + (70 if step % 97 == 0 else 0))
        good = number not in seen and (not seen or number > max(seen) - 64)
        try:
            check(window, number, TELEMETRY)
            assert good, number
            window = accept(window, number, TELEMETRY)
            seen.add(number)
        except ReplayError:
            assert not good, number


def test_a_channel_that_keeps_order_refuses_an_older_number() -> None:
    for channel in ORDERED:
        window = accept(received([1, 2]), 5, channel)
        window = accept(window, 9, TELEMETRY)
        for number in (3, 4):
            refused(ReplayError, check, window, number, channel)
            for other in UNORDERED:
                check(window, number, other)
        check(window, 6, channel)
        check(window, 10, channel)


def test_channels_keep_order_each_for_itself() -> None:
    window = accept(accept(FRESH, 5, CONTROL), 9, COMMAND)
    check(window, 7, BULK)
    check(window, 7, CONTROL)
    refused(ReplayError, check, window, 7, COMMAND)
    assert overtaken(window, CONTROL) and overtaken(window, COMMAND)
    assert not overtaken(window, BULK) and not overtaken(window, TELEMETRY)


def test_a_stored_window_comes_back() -> None:
    for window in (FRESH, received([0]), accept(received(list(range(64))), (1 << 40) - 1, BULK)):
        assert decode_window(encode_window(window)) == window
    full = received(list(range(64)))
    assert full.bitmap == (1 << 64) - 1
    assert decode_window(encode_window(full)) == full
    for wrong in (b"", bytes(39), bytes(41)):
        refused(DecodeError, decode_window, wrong)
