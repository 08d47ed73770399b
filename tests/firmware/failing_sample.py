"""What the runner under MicroPython must report as one passed and two failed."""


def test_that_passes() -> None:
    assert 1 + 1 == 2


def test_that_fails() -> None:
    assert len("1") == 2, "one is not two"


async def test_that_fails_later() -> None:
    raise ValueError("later")
