"""A hub for tests: everything is real but its broker, which is in memory, and its time."""

import time

from handfast.core.codes import encode_hub_code, encode_token
from handfast.testing import FakeClock, MemoryBroker, MemoryLink
from handfast_hub.config import HubConfig
from handfast_hub.hub import Hub
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.tokens import NewTokens

# How long a token of a test is good for, in seconds of the wall clock.
TOKEN_SECONDS = 3600.0


class MemoryHub(Hub):
    """A Hub whose broker is in memory; a swarm can be made against it."""

    def __init__(self, config: HubConfig, clock: FakeClock) -> None:
        self.broker = MemoryBroker(clock)
        self.fake_clock = clock
        super().__init__(config, transport=self.broker, clock=clock)
        # What the hub sends by itself, such as a command, no device waits for at the broker.
        clock.busy.append(self._at_work)

    @property
    def code(self) -> str:
        """The hub code."""
        return encode_hub_code(self.crypto, self.hub_id)

    def _at_work(self) -> bool:
        registry: Registry | None = vars(self).get("_registry")
        return registry is not None and registry.at_work

    def link(self) -> MemoryLink:
        """A link of one device towards this hub."""
        return MemoryLink(self.broker)

    async def tokens(self, count: int) -> list[str]:
        """`count` single tokens, as texts."""
        now = time.time()
        new = NewTokens("test", count, False, 1, now + TOKEN_SECONDS, now)
        return [encode_token(self.crypto, token) for token in await self.operator.mint(new)]
