"""A broker in memory that carries what a test tells it to carry, and keeps what it may carry again."""

from contextlib import suppress

from handfast.core import messages
from handfast.core.errors import PeerError
from handfast.testing import FakeClock, MemoryBroker

# Payloads that the Post keeps in each direction; the oldest are lost.
KEPT = 16
Letter = tuple[str, bytes]


class Post(MemoryBroker):
    """A broker in memory that carries only what it is told to carry."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.up: list[Letter] = []
        self.down: list[Letter] = []
        # The newest that came to the hub, and to devices.
        self.passed_up: list[Letter] = []
        self.passed_down: list[Letter] = []
        self.mute = False
        # What was answered on each chan in the place of message_4.
        self.answers: dict[str, set[bytes]] = {}

    @property
    def hub_listens(self) -> bool:
        return self._on_publish is not None

    def publish(self, topic: str, payload: bytes) -> None:
        """The hub's; lost when its process is dying."""
        self._count()
        if self.mute:
            return
        with suppress(PeerError):
            if "/dev/" not in topic and len(payload) <= 1024 and messages.decode_frame(payload).message:
                self.answers.setdefault(topic, set()).add(payload)
        self.down = [*self.down, (topic, payload)][-KEPT:]

    def carry(self, topic: str, payload: bytes) -> None:
        """A device's."""
        self._count()
        self.up = [*self.up, (topic, payload)][-KEPT:]

    def bring_up(self, letter: Letter, keep: bool = False) -> None:
        """To the hub; it leaves the post when the hub has acknowledged it, unless a copy is kept."""
        if self._on_publish is None:
            return
        self.waiting += 1
        self.passed_up = [*self.passed_up, letter][-KEPT:]
        acknowledged: list[bool] = []

        def acknowledge() -> None:
            if acknowledged:
                return
            acknowledged.append(True)
            self.waiting -= 1
            if not keep and not self.mute and letter in self.up:
                self.up.remove(letter)

        self._on_publish(letter[0], letter[1], acknowledge)

    def bring_down(self, letter: Letter, keep: bool = False) -> None:
        """To whoever listens there."""
        self.passed_down = [*self.passed_down, letter][-KEPT:]
        if not keep:
            self.down.remove(letter)
        self._count()
        for link in list(self._links.values()):
            link.offer(*letter)

    async def close(self) -> None:
        """The hub is gone; what it did not acknowledge stays here."""
        await super().close()
        self.waiting = 0
