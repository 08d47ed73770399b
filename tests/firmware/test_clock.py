"""The clock of a board goes on when its ticks start again."""

from board_time import Ticks

from handfast_micropython.clock import Clock


def test_the_clock_starts_at_zero_whatever_the_ticks_say() -> None:
    assert Clock(Ticks(123456789)).now() == 0


def test_seconds_go_on_where_the_ticks_start_again() -> None:
    ticks = Ticks(Ticks.PERIOD - 500)
    clock = Clock(ticks)
    ticks.forward(250)
    assert clock.now() == 0.25
    ticks.forward(1250)
    assert clock.now() == 1.5


def test_a_year_that_is_read_once_in_six_days_has_its_length() -> None:
    ticks = Ticks()
    clock = Clock(ticks)
    for _ in range(61):
        ticks.forward(6 * 86400 * 1000)
        clock.now()
    assert clock.now() == 61 * 6 * 86400


def test_milliseconds_are_not_lost_after_years() -> None:
    ticks = Ticks()
    clock = Clock(ticks)
    clock._seconds = 10**8
    for _ in range(1000):
        ticks.forward(1)
        clock.now()
    assert (clock._seconds, clock._milliseconds) == (10**8 + 1, 0)


async def test_a_sleep_of_no_time_or_less_ends_at_once() -> None:
    clock = Clock(Ticks())
    await clock.sleep(0)
    await clock.sleep(-1.0)
