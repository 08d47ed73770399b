"""Who gets which key: the rules of ETSI GS QKD 014 between the HTTP server and the store."""

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from handfast.core.errors import Error, KeystoreError
from handfast_kme.alarms import Level
from handfast_kme.link_end import KEY_LIFETIME, LinkEnd
from handfast_kme.messages import MANDATORY_UNMET, NOT_FOUND, BadRequest, KeyRequest
from handfast_kme.network import Consumer, ConsumerLink, Network, Node
from handfast_kme.store import CELL, Store, Waiting, wall_clock

log = logging.getLogger("handfast_kme")

# Limits of this KME, in bits where they are sizes.
MIN_KEY_SIZE, MAX_KEY_SIZE = 64, 65536
MAX_KEY_PER_REQUEST = 128
MAX_SAE_ID_COUNT = 4
# How often cells that the peer turned out not to have are replaced by others.
_ATTEMPTS = 3


class Unauthorized(Exception):
    """401."""


class Unavailable(Exception):
    """503; `reason` is key_exhausted, link_down or qber_alarm."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Delivery:
    """The three methods of one KME."""

    def __init__(self, network: Network, node: Node, store: Store, links: Mapping[str, LinkEnd]) -> None:
        self._network, self._node, self._store, self._links = network, node, store, links
        # Lengthy requests of one SAE do not interleave: a key must not be voided between reserving and
        # assigning.
        self._turn = {name: asyncio.Lock() for name in links}

    def sae(self, subject: str) -> Consumer:
        """The SAE of a verified certificate, by its whole subject; Unauthorized."""
        for consumer in self._network.consumer:
            if self._network.subject(consumer) == subject and consumer.node == self._node.name:
                return consumer
        raise Unauthorized(f"this KME serves no SAE whose certificate says {subject or 'nothing'}")

    async def status(self, caller: Consumer, slave_id: str) -> dict[str, Any]:
        """Clause 6.1."""
        pair, end = self._between(caller, slave_id, "slave")
        stored = await asyncio.to_thread(self._store.count, end.name)
        per_key = -(-pair.key_size // (8 * CELL))
        maximum = end.place.link.max_keys // per_key
        forecast = stored // per_key * end.place.link.key_request_interval
        return {
            "source_KME_ID": self._node.kme_id,
            "target_KME_ID": end.place.peer.kme_id,
            "master_SAE_ID": caller.name,
            "slave_SAE_ID": slave_id,
            "key_size": pair.key_size,
            "stored_key_count": min(stored // per_key, maximum),
            "max_key_count": maximum,
            "max_key_per_request": MAX_KEY_PER_REQUEST,
            "max_key_size": MAX_KEY_SIZE,
            "min_key_size": MIN_KEY_SIZE,
            "max_SAE_ID_count": MAX_SAE_ID_COUNT,
            "status_extension": {
                "handfast_simulated": True,
                "handfast_qber_percent": None if end.error_rate is None else round(100 * end.error_rate, 3),
                "handfast_key_rate_bits_per_second": round(end.key_rate),
                "handfast_alarm": end.watch.level.name.lower(),
                "handfast_link_up": end.control is not None,
                "handfast_starves_in_seconds": forecast,
            },
        }

    async def enc_keys(self, caller: Consumer, slave_id: str, request: KeyRequest) -> dict[str, Any]:
        """Get key (clauses 5.3, 6.3): new keys, which the slave's KME has before this returns."""
        pair, end = self._between(caller, slave_id, "slave")
        if not pair.bidirectional and pair.consumers[0] != caller.name:
            raise BadRequest(
                f"keys between {caller.name} and {slave_id} are asked for by {pair.consumers[0]} only"
            )
        size = pair.key_size if request.size is None else request.size
        self._check(request, size)
        remote, local = self._slaves(caller, slave_id, end, request.additional_slaves)
        limit = request.max_qber
        if limit is not None and (end.error_rate is None or end.error_rate > limit):
            raise BadRequest(MANDATORY_UNMET)
        self._check_up(end)
        async with self._turn[end.name]:
            keys = await self._assigned(caller, end, remote, local, request.number, size // 8)
        return {"keys": [{"key_ID": key_id, "key": _base64(value)} for key_id, value in keys.items()]}

    async def dec_keys(self, caller: Consumer, master_id: str, key_ids: Sequence[str]) -> dict[str, Any]:
        """Get key with key IDs (clauses 5.4, 6.3): all of them or none."""
        found = await asyncio.to_thread(self._store.fetch, key_ids, master_id, caller.name, wall_clock())
        if found == "unauthorized":
            raise Unauthorized(f"{caller.name} was not named as a slave when this key was issued")
        if isinstance(found, str):
            raise BadRequest(NOT_FOUND)
        return {"keys": [{"key_ID": key_id, "key": _base64(found[key_id])} for key_id in key_ids]}

    # Inside -----------------------------------------------------------------------------------------

    def _between(self, caller: Consumer, other_id: str, what: str) -> tuple[ConsumerLink, LinkEnd]:
        for pair in self._network.consumer_link:
            if set(pair.consumers) == {caller.name, other_id}:
                other = self._network.named("consumer", other_id)
                link = self._network.link_between(self._node.name, other.node)
                if link is None:
                    raise BadRequest(
                        f"there is no QKD link between the nodes of {caller.name} and {other_id}"
                    )
                return pair, self._links[link.name]
        raise BadRequest(f"the {what} SAE is unknown, or shares no keys with {caller.name}")

    def _check(self, request: KeyRequest, size: int) -> None:
        if not MIN_KEY_SIZE <= size <= MAX_KEY_SIZE:
            raise BadRequest(f"size should be {MIN_KEY_SIZE} to {MAX_KEY_SIZE} bits")
        if request.number > MAX_KEY_PER_REQUEST:
            raise BadRequest(f"number should be at most {MAX_KEY_PER_REQUEST}")
        if len(request.additional_slaves) > MAX_SAE_ID_COUNT:
            raise BadRequest(f"at most {MAX_SAE_ID_COUNT} additional_slave_SAE_IDs may be named")

    def _slaves(
        self, caller: Consumer, slave_id: str, end: LinkEnd, additional: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """The slaves at the peer's KME and those at this one."""
        remote, local = [slave_id], []
        known = {consumer.name: consumer.node for consumer in self._network.consumer}
        for name in additional:
            if name in (caller.name, slave_id) or name not in known:
                raise BadRequest("additional_slave_SAE_IDs should name other SAEs that are known here")
            if known[name] == end.place.peer.name:
                remote.append(name)
            elif known[name] == self._node.name:
                local.append(name)
            else:
                raise BadRequest("an additional slave SAE is served by a KME that this link does not reach")
        return remote, local

    @staticmethod
    def _check_up(end: LinkEnd) -> None:
        if end.watch.level >= Level.ALARM:
            raise Unavailable("qber_alarm", f"the QKD link is in alarm: {'; '.join(end.watch.reasons)}")
        if end.control is None:
            raise Unavailable("link_down", "the KME of the slave SAE is not reachable")

    async def _assigned(
        self, caller: Consumer, end: LinkEnd, remote: list[str], local: list[str], number: int, size: int
    ) -> dict[str, bytes]:
        expires = wall_clock() + KEY_LIFETIME
        newest = not end.place.is_alice
        for _ in range(_ATTEMPTS):
            key_ids = [str(uuid.uuid4()) for _ in range(number)]
            cells = await asyncio.to_thread(
                self._store.reserve, end.name, key_ids, size, newest, caller.name, expires
            )
            if cells is None:
                raise Unavailable("key_exhausted", "the link has made too few keys so far; ask again later")
            waiting = [Waiting(key_id, caller.name, tuple(remote), cells[key_id], size) for key_id in key_ids]
            try:
                missing = await end.assign(waiting)
                if not missing:
                    return await asyncio.to_thread(self._store.hand_out, key_ids, local)
            except KeystoreError as error:
                raise Unavailable("qber_alarm", error.detail) from None
            except Error as error:
                # The peer may have them or not: they are nobody's now.
                await asyncio.to_thread(self._store.burn, key_ids)
                raise Unavailable("link_down", error.detail) from None
            log.info("%s: %d cells were not at the other KME", end.name, len(missing))
            await asyncio.to_thread(self._store.burn, key_ids, missing, end.name)
        raise Unavailable("key_exhausted", "the two KMEs do not hold the same keys")


def _base64(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode()
