"""The QKD keys of one trunk, out of the KME of this end: new ones, those that the other end named, and a few
in reserve.

The initiator fetches keys ahead and names them to the other end, which fetches them too. So when either KME
is down for some minutes both hubs still have keys that they share. A reserve is touched only then.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from handfast.core.errors import Error, LinkError, LocalError, PeerError
from handfast_hub.trunk.epochs import KEY_LENGTH
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable, KmeRefused, Status
from handfast_hub.trunk.reserve import Reserve
from handfast_hub.trunk.settings import Trunk
from handfast_hub.trunk.supply import Supply
from handfast_hub.trunk.used_keys import UsedKeys

_LOG = structlog.get_logger("handfast.hub.trunk")

_BITS = 8 * KEY_LENGTH
# Seconds between two looks at the KME's status, at most; a trunk that rekeys faster looks as often.
_LOOK = 15.0


class KmeSource:
    """A `link.KeySource` over ETSI GS QKD 014."""

    def __init__(
        self,
        client: KmeClient,
        peer_sae: str,
        rekey: float,
        reserve: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reserve`: keys to hold for an outage."""
        self._client, self._peer, self._clock = client, peer_sae, clock
        self._reserve, self._supply = Reserve(reserve), Supply(rekey)
        self._pause = min(_LOOK, rekey)
        self._alarmed: set[str] = set()
        # How many alarms the KME had counted at the last look.
        self._alarms: int | None = None
        # The key_IDs that the other end was told of last.
        self._told: list[bytes] = []
        self._last: Status | None = None
        # The alarm that there is has been told to the trunk.
        self._told_alarm = False
        # The last key came over fewer ways than were wanted.
        self._fewer = False

    async def enc_key(self, ways: int = 1, least: int = 1) -> tuple[bytes, bytes, int]:
        """A new key: its key_ID, 16 bytes, 32 bytes, and how many ways it came over. One in reserve when the
        KME is down or has none, one of fewer ways, down to `least`, when there is none either.
        Errors: `kme_answers`."""
        wanted = ways
        while True:
            try:
                [(key_id, key)] = await self._new(1, wanted)
                break
            except (LinkError, KmeRefused) as error:
                kept = self._instead(error, wanted, wanted > least)
                if kept is not None:
                    key_id, key, wanted = kept
                    break
            wanted -= 1
        if wanted < ways and not self._fewer:
            _LOG.warning("QKD keys come over one way only: secret waits", peer=self._peer)
        self._fewer = wanted < ways
        if wanted == ways:
            self._told_alarm = False
        return key_id, key, wanted

    def _instead(self, error: Error, ways: int, fewer_will_do: bool) -> tuple[bytes, bytes, int] | None:
        """What to take when there is no key over so many ways: one in reserve, or None for a key of fewer.
        Raises `error` when it is neither."""
        if getattr(error, "reason", "") == "qber_alarm":
            if fewer_will_do and self._told_alarm:
                # The other way is clean, and what was made before of both is suspect already.
                return None
            self._told_alarm = True
            self.void()
            raise error
        if isinstance(error, KeysUnavailable | KmeRefused) and fewer_will_do:
            return self._held(error, ways)
        kept = None if isinstance(error, KmeRefused) else self._held(error, 1 if fewer_will_do else ways)
        if kept is None:
            raise error
        return kept

    def _held(self, error: Error, least: int) -> tuple[bytes, bytes, int] | None:
        kept = self._reserve.take(self._clock(), least)
        if kept is not None:
            _LOG.warning("a QKD key in reserve is used", left=len(self.ids()), reason=error.detail)
        return kept

    async def dec_key(self, key_id: bytes) -> bytes:
        """The key that the other end was given under `key_id`, 32 bytes. Errors: `kme_answers`."""
        kept = self._reserve.pick(key_id, self._clock())
        if kept is not None:
            return kept
        try:
            return await self._named(key_id)
        except KeyNotFound:
            # It may have come into the reserve meanwhile.
            kept = self._reserve.pick(key_id, self._clock())
            if kept is None:
                raise
            return kept

    async def top_up(self, ways: int = 1) -> list[bytes]:
        """The initiator's end: fetch what the reserve lacks, unless the KME is poor, and only keys over so
        many ways; the key_IDs that are held, for the other end."""
        lacking, voids = self._reserve.limit - len(self.ids()), self._reserve.voids
        if lacking > 0 and (self._supply.stored or 0) >= 2 * self._reserve.limit:
            try:
                for key_id, key in await self._new(lacking, ways):
                    self._reserve.put(key_id, key, self._clock(), voids, ways)
            except (LinkError, PeerError, KmeRefused) as error:
                _LOG.info("no QKD keys for the reserve", reason=error.detail)
        self._told = self.ids()
        return self._told

    def agree(self, key_ids: Sequence[bytes]) -> None:
        """The initiator's end: of the keys that it was told of the responder has these. The others are of no
        use; its KME gave them before the responder was started anew, perhaps."""
        for key_id in set(self._told) - set(key_ids):
            self._reserve.pick(key_id, self._clock())

    async def hold(self, key_ids: Sequence[bytes]) -> bool:
        """The responder's end: fetch the keys that the initiator holds, and forget those that it does not.

        False when it could not be found out which of them there are.
        """
        if not self._reserve.limit:
            return False
        mine, voids = set(self.ids()), self._reserve.voids
        for key_id in mine - set(key_ids):
            self._reserve.pick(key_id, self._clock())
        for key_id in key_ids:
            if key_id not in mine:
                try:
                    self._reserve.put(key_id, await self._named(key_id), self._clock(), voids)
                except KeyNotFound as error:
                    _LOG.info("a QKD key of the reserve is not here", reason=error.detail)
                except Error as error:
                    _LOG.info("the QKD keys of the reserve cannot be fetched", reason=error.detail)
                    return False
        return True

    def ids(self) -> list[bytes]:
        """The key_IDs in reserve, at most 16 bytes each."""
        return self._reserve.ids(self._clock())

    def void(self) -> None:
        """The keys in reserve may be known to somebody."""
        self._reserve.void()

    async def watch(self, alarm: Callable[[], None], more: Callable[[], None] = lambda: None) -> None:
        """Look at the KME's status again and again: `alarm` is called when a QKD link begins to be in alarm,
        `more` when keys may be had over two ways again, and the log says once when keys run low. Until
        cancelled."""
        while True:
            try:
                self._saw(await self._client.status(self._peer), alarm)
                if self._fewer and self._ways() >= 2:
                    more()
            except Error as error:
                _LOG.debug("the KME says nothing of its keys", reason=error.detail)
            await asyncio.sleep(self._pause)

    def supply(self) -> dict[str, object]:
        """What `handfast-hub trunk status` shows of the keys."""
        held = len(self.ids())
        forecast = self._supply.forecast(held)
        extension = {} if self._last is None else self._last.extension
        return {
            "stored": self._supply.stored,
            "reserve": held,
            "trend": forecast.trend,
            "forecast": str(forecast),
            "empty_in_seconds": forecast.empty_in,
            "without_link_seconds": forecast.without_link,
            "bits_per_second": extension.get("handfast_key_rate_bits_per_second"),
            "relays": extension.get("handfast_relays"),
            "disjoint_paths": extension.get("handfast_disjoint_paths"),
            "alarmed_links": sorted(self._alarmed),
        }

    async def close(self) -> None:
        """Let the connection go."""
        self.void()
        await self._client.close()

    def _ways(self) -> int:
        """Ways without a common relay that could be taken when the KME was asked last; 0 when it does not
        say."""
        count = {} if self._last is None else self._last.extension
        ways = count.get("handfast_disjoint_paths")
        return ways if type(ways) is int else 0

    async def _new(self, number: int, ways: int) -> list[tuple[bytes, bytes]]:
        # A vendor parameter (ETSI GS QKD 014 section 6.2): a KME that does not know it says so, in 400.
        mandatory = [{"handfast_disjoint_paths": ways}] if ways > 1 else []
        keys = await self._client.enc_keys(self._peer, number, _BITS, extension_mandatory=mandatory)
        self._supply.took(number, self._clock())
        return [(UUID(key.key_id).bytes, key.value) for key in keys]

    async def _named(self, key_id: bytes) -> bytes:
        [key] = await self._client.dec_keys(self._peer, [str(UUID(bytes=key_id))], _BITS)
        self._supply.took(1, self._clock())
        return key.value

    def _saw(self, status: Status, alarm: Callable[[], None]) -> None:
        self._last = status
        self._supply.saw(status.stored_key_count, self._clock())
        if self._supply.falls_low(len(self.ids())):
            _LOG.warning(
                "QKD keys run low",
                peer=self._peer,
                stored=status.stored_key_count,
                forecast=str(self._supply.forecast(len(self.ids()))),
            )
        before, self._alarmed = self._alarmed, _links_in_alarm(status.extension)
        counted, self._alarms = self._alarms, _alarms(status.extension)
        # An alarm may have begun and ended between two looks.
        missed = counted is not None and self._alarms is not None and self._alarms > counted
        if missed or self._alarmed - before:
            self._told_alarm = True
            self.void()
            alarm()
        elif not self._alarmed:
            self._told_alarm = False


def _links_in_alarm(extension: dict[str, Any]) -> set[str]:
    """What our KME says (docs/qkd.md); of another one alarms are heard when it refuses a key."""
    names = extension.get("handfast_alarmed_links")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _alarms(extension: dict[str, Any]) -> int | None:
    count = extension.get("handfast_alarms")
    return count if type(count) is int else None


def open_source(settings: Trunk, used: Path) -> KmeSource | None:
    """The source of a trunk, None when it has no KME; `used` is where this hub remembers used keys."""
    if not settings.kme:
        return None
    ca, certificate, key = settings.kme_ca, settings.kme_certificate, settings.kme_key
    if ca is None or certificate is None or key is None:
        raise LocalError("a trunk with kme needs kme_ca, kme_certificate and kme_key too")
    client = KmeClient(
        settings.kme,
        kme_id=settings.kme_id,
        ca=ca,
        certificate=certificate,
        key=key,
        used=UsedKeys(used),
    )
    return KmeSource(client, settings.peer_sae, settings.rekey_seconds, settings.kme_reserve)
