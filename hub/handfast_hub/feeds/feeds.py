"""All key feeds of a hub, put together.

feeds = Feeds(config.feed, crypto, random)
keyed = feeds.join(trunk, hub_ids, fresh)     # for the link of the trunk
await feeds.start()
"""

import asyncio
from collections.abc import Callable, Mapping

from handfast.core.errors import LocalError
from handfast.ports import Crypto
from handfast_hub.feeds.feeder import Consumer, Feeder
from handfast_hub.feeds.keys import derive_key
from handfast_hub.feeds.settings import Feed, Pkcs11Feed, StrongswanFeed, WireguardFeed
from handfast_hub.trunk.events import Established, Suspect


class Feeds:
    """Every `[feed.NAME]` of the configuration."""

    def __init__(self, settings: Mapping[str, Feed], crypto: Crypto, random: Callable[[int], bytes]) -> None:
        self._settings = settings
        self._crypto = crypto
        self._random = random
        self._feeders: dict[str, list[Feeder]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def join(
        self, trunk: str, hub_ids: tuple[bytes, bytes], fresh: float
    ) -> Callable[[Established | Suspect], None]:
        """What the link of `trunk` tells of its epochs; `hub_ids` the initiator's first.

        LocalError when a library is missing. `fresh` in seconds, as for classes that fail closed.
        """
        feeders = [
            Feeder(name, settings, open_consumer(name, settings, self._random), fresh)
            for name, settings in self._settings.items()
            if settings.trunk == trunk
        ]
        self._feeders[trunk] = feeders

        def keyed(event: Established | Suspect) -> None:
            for feeder in feeders:
                if isinstance(event, Suspect):
                    feeder.distrust("the QKD key in use is suspect")
                elif event.exporter is None:
                    feeder.distrust("the epoch in use has no sound QKD key")
                else:
                    kind = feeder.settings.kind
                    feeder.offer(
                        derive_key(self._crypto, event.exporter, feeder.name, kind, hub_ids, event.epoch)
                    )

        return keyed

    def start(self) -> None:
        """Begin to feed."""
        self._tasks = [
            asyncio.create_task(feeder.run()) for feeders in self._feeders.values() for feeder in feeders
        ]

    async def close(self) -> None:
        """Stop; consumers keep what they have. May be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def status(self, trunk: str) -> dict[str, dict[str, object]]:
        """How each feed of a trunk fares."""
        return {feeder.name: feeder.status() for feeder in self._feeders.get(trunk, ())}


def open_consumer(name: str, settings: Feed, random: Callable[[int], bytes]) -> Consumer:
    """The consumer of a feed; LocalError when a library is missing. `random(n)` gives n bytes."""
    # Only hubs with such a feed need its library.
    try:
        match settings:
            case WireguardFeed():
                from handfast_hub.feeds.wireguard import Wireguard

                return Wireguard(settings, random)
            case StrongswanFeed():
                from handfast_hub.feeds.strongswan import Strongswan

                return Strongswan(name, settings)
            case Pkcs11Feed():
                from handfast_hub.feeds.pkcs11 import Pkcs11

                return Pkcs11(name, settings)
    except ModuleNotFoundError as error:
        raise LocalError(
            f"feed '{name}' of kind {settings.kind} needs {error.name}: install handfast[hub,qkd,feeds]"
        ) from None
