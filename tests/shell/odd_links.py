"""Links that break, that count, and that have a bug."""

from handfast.core.errors import LinkClosed
from handfast.testing import MemoryLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core import topics


class Breaking:
    """A link that breaks at one send: `before` the broker has the payload, or just after."""

    def __init__(self, before: bool) -> None:
        self.armed = False
        self._before = before

    def over(self, link: MemoryLink) -> "Breaking":
        self.connect, self.receive, self.close = link.connect, link.receive, link.close
        self._link = link
        return self

    async def send(self, channel: "int | None", payload: bytes) -> None:
        if not self.armed:
            await self._link.send(channel, payload)
            return
        self.armed = False
        if not self._before:
            await self._link.send(channel, payload)
        self._link.drop()
        raise LinkClosed("the link broke")


class Counting:
    """A link that notes when it was asked to connect."""

    def __init__(self) -> None:
        self.times: "list[float]" = []

    def over(self, link: MemoryLink) -> "Counting":
        self.send, self.receive, self.close = link.send, link.receive, link.close
        self._link = link
        return self

    async def connect(self, endpoint: "topics.Endpoint") -> None:
        self.times.append(self._link._broker._clock.now())
        await self._link.connect(endpoint)


class Buggy:
    """A link whose author forgot something."""

    async def connect(self, endpoint: "topics.Endpoint") -> None:
        self.speed = 1 / 0

    async def close(self) -> None:
        return
