"""A broker in memory and the link of a device to it."""

import asyncio

from handfast.core.errors import LinkClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from handfast.core.topics import Endpoint
    from handfast.testing.clock import FakeClock


class MemoryBroker:
    """A broker in memory: exact topics for devices, `+` filters for the hub, every topic isolated.

    A hub's publish that nobody listens to is lost, as with clean sessions; a device's waits until
    the hub has acknowledged it. `connected` switches the whole broker off and on.
    """

    address = "memory"

    def __init__(self, clock: "FakeClock | None" = None) -> None:
        self.carried = 0
        self.waiting = 0
        self._connected = True
        self._clock = clock
        self._links: "dict[str, MemoryLink]" = {}
        self._subscriptions: "tuple[str, ...]" = ()
        self._on_publish: "Callable[[str, bytes, Callable[[], None]], None] | None" = None
        if clock is not None:
            clock.busy.append(lambda: self.waiting > 0)

    @property
    def connected(self) -> bool:
        """Whether the broker is switched on; switching it off throws everybody off."""
        return self._connected

    @connected.setter
    def connected(self, value: bool) -> None:
        self._connected = value
        if not value:
            self.drop_all()

    # The Ingress of a hub ---------------------------------------------------------------------

    async def start(
        self,
        subscriptions: "Sequence[str]",
        on_publish: "Callable[[str, bytes, Callable[[], None]], None]",
    ) -> None:
        """Take the place of the hub."""
        self._subscriptions = tuple(subscriptions)
        self._on_publish = on_publish

    def publish(self, topic: str, payload: bytes) -> None:
        """From the hub to whoever listens on `topic`; LinkClosed while the broker is off."""
        if not self.connected:
            raise LinkClosed("the broker in memory is switched off")
        self._count()
        for link in list(self._links.values()):
            link.offer(topic, payload)

    async def close(self) -> None:
        """The hub leaves."""
        self._on_publish = None

    # What links call --------------------------------------------------------------------------

    def join(self, link: "MemoryLink", client_id: str) -> None:
        """Register a client; an older one of the same id is thrown off, as brokers do."""
        older = self._links.get(client_id)
        if older is not None and older is not link:
            older.drop()
        self._links[client_id] = link

    def leave(self, link: "MemoryLink", client_id: str) -> None:
        """Forget a client."""
        if self._links.get(client_id) is link:
            self._links.pop(client_id)

    def carry(self, topic: str, payload: bytes) -> None:
        """From a device to the hub, if it listens on `topic`."""
        self._count()
        if self._on_publish is None or not any(matches(each, topic) for each in self._subscriptions):
            return
        self.waiting += 1
        acknowledged: "list[bool]" = []

        def acknowledge() -> None:
            if not acknowledged:
                acknowledged.append(True)
                self.waiting -= 1

        try:
            self._on_publish(topic, payload, acknowledge)
        except BaseException:
            # Nobody works on it any more; a clock must not wait for that.
            acknowledge()
            raise

    def drop_all(self) -> None:
        """Throw every device off, once."""
        for link in list(self._links.values()):
            link.drop()
        self._links = {}

    def disconnect(self, client_id: str) -> None:
        """Throw one device off."""
        link = self._links.get(client_id)
        if link is not None:
            link.drop()

    def _count(self) -> None:
        self.carried += 1
        if self._clock is not None:
            self._clock.activity += 1


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT filter with `+` (no `#`) takes `topic`."""
    left, right = pattern.split("/"), topic.split("/")
    if len(left) != len(right):
        return False
    return all(a in ("+", b) for a, b in zip(left, right))


class MemoryLink:
    """The Link port over a MemoryBroker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._endpoint: "Endpoint | None" = None
        self._items: "list[tuple[int | None, bytes]]" = []
        self._bell = asyncio.Event()

    async def connect(self, endpoint: "Endpoint") -> None:
        """Join; LinkClosed while the broker is off."""
        await self.close()
        if not self._broker.connected:
            raise LinkClosed("the broker in memory is switched off")
        self._endpoint = endpoint
        self._items = []
        self._bell = asyncio.Event()
        self._broker.join(self, endpoint.client_id)

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """Hand over to the broker."""
        endpoint = self._connected()
        topic = endpoint.up if channel is None else "%s/%d" % (endpoint.up, channel)
        self._broker.carry(topic, bytes(payload))

    async def receive(self) -> "tuple[int | None, bytes]":
        """Wait for the next payload; LinkClosed when thrown off."""
        while not self._items:
            self._connected()
            self._bell.clear()
            await self._bell.wait()
        return self._items.pop(0)

    async def close(self) -> None:
        """Leave."""
        if self._endpoint is not None:
            self._broker.leave(self, self._endpoint.client_id)
            self.drop()

    def offer(self, topic: str, payload: bytes) -> None:
        """Called by the broker for every publish of the hub."""
        if self._endpoint is None:
            return
        down = self._endpoint.down
        if self._endpoint.channels and topic.startswith(down + "/"):
            self._items.append((int(topic[len(down) + 1 :]), payload))
        elif not self._endpoint.channels and topic == down:
            self._items.append((None, payload))
        self._bell.set()

    def drop(self) -> None:
        """Called by the broker when it throws us off."""
        self._endpoint = None
        self._bell.set()

    def _connected(self) -> "Endpoint":
        if self._endpoint is None or not self._broker.connected:
            raise LinkClosed("the broker in memory closed the connection")
        return self._endpoint
