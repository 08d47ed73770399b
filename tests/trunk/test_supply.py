"""How long the keys of a trunk last, and keys in reserve: without any KME."""

import pytest

from handfast_hub.trunk.reserve import AGE, Reserve
from handfast_hub.trunk.supply import LOW, Supply


def supply(change: float, rekey: float = 60.0, begin: int = 500, taken: bool = True) -> Supply:
    """Ten minutes of a store that changes by so many keys a minute, while the trunk takes one each rekey."""
    found = Supply(rekey)
    for second in range(0, 601, 15):
        found.saw(round(begin + change * second / 60), float(second))
        if taken and second and second % rekey == 0:
            found.took(1, float(second))
    return found


@pytest.mark.parametrize(
    ("change", "trend", "minutes"),
    [(5, "rising", None), (0, "steady", None), (-1, "falling", 490), (-10, "falling", 40)],
)
def test_a_forecast_says_empty_in_minutes_or_never_or_rising(
    change: float, trend: str, minutes: float | None
) -> None:
    forecast = supply(change).forecast()
    assert forecast.trend == trend
    if minutes is None:
        assert forecast.empty_in is None
    else:
        assert forecast.empty_in is not None
        assert forecast.empty_in / 60 == pytest.approx(minutes, rel=0.15)
        assert str(forecast).startswith("empty in ")


def test_what_the_trunk_will_take_counts_also_when_it_took_nothing_yet() -> None:
    # Nothing comes in and nothing was taken so far: with a key a minute it will be empty in 500 minutes.
    forecast = supply(0, taken=False).forecast()
    assert forecast.empty_in == pytest.approx(500 * 60, rel=0.01)
    assert forecast.without_link == 500 * 60


def test_nothing_is_foretold_of_two_looks() -> None:
    found = Supply(60.0)
    assert found.forecast().trend == "unknown"
    found.saw(10, 0.0)
    found.saw(9, 15.0)
    assert found.forecast() == ("unknown", None, 540.0)
    assert found.stored == 9


def test_what_is_older_than_the_window_is_forgotten() -> None:
    found = supply(5)
    for second in range(615, 1300, 15):
        found.saw(max(0, 550 - (second - 600)), float(second))
    assert found.forecast().trend == "falling"


def test_a_low_supply_is_said_once_until_it_has_recovered() -> None:
    found = Supply(60.0)
    said = []
    for at, stored in enumerate((50, LOW - 1, LOW - 3, LOW + 1, LOW - 1, 2 * LOW, LOW - 1, 0)):
        found.saw(stored, float(at))
        said.append(found.falls_low())
    assert said == [False, True, False, False, False, False, True, False]
    assert not Supply(60.0).falls_low()


def test_keys_in_reserve_count_for_low_and_for_an_outage() -> None:
    found = Supply(60.0)
    found.saw(LOW - 4, 0.0)
    assert not found.falls_low(reserve=8)
    assert found.forecast(reserve=8).without_link == (LOW + 4) * 60


def test_a_reserve_gives_each_key_once_and_the_oldest_first() -> None:
    reserve = Reserve(2)
    for number in range(3):
        reserve.put(bytes([number]), bytes([number]) * 32, float(number), reserve.voids)
    assert reserve.take(5.0) == (b"\0", bytes(32), 1)
    assert reserve.pick(b"\2", 5.0) == b"\2" * 32
    assert reserve.pick(b"\2", 5.0) is None
    assert reserve.ids(5.0) == [b"\1"]


def test_a_reserve_gives_the_key_of_the_most_ways_and_none_of_too_few() -> None:
    reserve = Reserve(4)
    for number, ways in enumerate((1, 2, 2, 1)):
        reserve.put(bytes([number]), bytes([number]) * 32, float(number), reserve.voids, ways)
    assert [reserve.take(5.0, least) for least in (2, 1, 2, 1)] == [
        (b"\1", b"\1" * 32, 2),
        (b"\2", b"\2" * 32, 2),
        None,
        (b"\0", b"\0" * 32, 1),
    ]


def test_a_reserve_is_bounded_grows_old_and_is_voided() -> None:
    reserve = Reserve(2)
    for number in range(9):
        reserve.put(bytes([number]), bytes(32), float(number), reserve.voids)
    assert len(reserve.ids(9.0)) == 4
    assert reserve.ids(AGE + 7.0) == [b"\7", b"\x08"]
    assert reserve.take(AGE + 9.0) is None
    reserve.put(b"x", bytes(32), 0.0, reserve.voids)
    reserve.void()
    assert reserve.ids(0.0) == []
    assert "x" not in repr(reserve)
