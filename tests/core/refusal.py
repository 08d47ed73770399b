"""What `with pytest.raises` is elsewhere, for tests that run on MicroPython too."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def refused(error: "type[Exception]", call: "Callable[..., object]", *arguments: object) -> Exception:
    """The exception that call(*arguments) raises, which is of exactly this class."""
    try:
        value = call(*arguments)
    except error as refusal:
        assert type(refusal) is error, "%s instead of %s" % (type(refusal).__name__, error.__name__)
        return refusal
    raise AssertionError("%s was expected, %r came" % (error.__name__, value))


async def refused_by(error: "type[Exception]", work: "object") -> Exception:
    """The exception of exactly this class that a coroutine raises, within ten seconds."""
    try:
        value = await asyncio.wait_for(work, 60)
    except error as refusal:
        assert type(refusal) is error, "%r instead of %s" % (refusal, error.__name__)
        return refusal
    raise AssertionError("%s was expected, %r came" % (error.__name__, value))
