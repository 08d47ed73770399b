"""Who gets which key: the rules of ETSI GS QKD 014 between the HTTP server and the store."""

import asyncio
import base64
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from handfast.core.errors import Error, KeystoreError
from handfast_kme.budgets import payer
from handfast_kme.database import wall_clock
from handfast_kme.issued import KEY_LIFETIME, Waiting
from handfast_kme.link_end import LinkEnd
from handfast_kme.messages import NOT_FOUND, BadRequest, KeyRequest, Unavailable
from handfast_kme.network import Network
from handfast_kme.one_time_pad import combined
from handfast_kme.paths import Path
from handfast_kme.relay import Parcel, Relay, split
from handfast_kme.routing import Router, Wanted
from handfast_kme.store import Store
from handfast_kme.supply import supply
from handfast_kme.tables import Consumer, ConsumerLink, Node
from handfast_kme.tasks import all_of

log = logging.getLogger("handfast_kme")

# Limits of this KME, in bits where they are sizes.
MIN_KEY_SIZE, MAX_KEY_SIZE = 64, 65536
MAX_KEY_PER_REQUEST = 128
MAX_SAE_ID_COUNT = 4
# How often cells that the peer turned out not to have are replaced by others, and another way is tried when
# a link fails.
_ATTEMPTS = 3


class Unauthorized(Exception):
    """401."""


class Delivery:
    """The three methods of one KME."""

    def __init__(
        self,
        network: Network,
        node: Node,
        store: Store,
        links: Mapping[str, LinkEnd],
        router: Router,
        relay: Relay,
    ) -> None:
        self._network, self._node, self._store, self._links = network, node, store, links
        self._router, self._relay = router, relay
        # Lengthy requests over one link do not interleave: a key must not be voided between reserving and
        # assigning.
        self._turn = {name: asyncio.Lock() for name in links}

    def sae(self, subject: str) -> Consumer:
        """The SAE of a verified certificate, by its whole subject; Unauthorized."""
        for consumer in self._network.consumer:
            if self._network.subject(consumer) == subject and consumer.node == self._node.name:
                return consumer
        raise Unauthorized(f"this KME serves no SAE whose certificate says {subject or 'nothing'}")

    async def status(self, caller: Consumer, slave_id: str) -> dict[str, Any]:
        """Status (clauses 5.2, 6.1), sizes in bits; BadRequest."""
        pair = self._between(caller, slave_id, "slave")
        await self._router.look()
        return {
            "source_KME_ID": self._node.kme_id,
            "target_KME_ID": self._network.node_of(slave_id).kme_id,
            "master_SAE_ID": caller.name,
            "slave_SAE_ID": slave_id,
            "key_size": pair.key_size,
            "max_key_per_request": MAX_KEY_PER_REQUEST,
            "max_key_size": MAX_KEY_SIZE,
            "min_key_size": MIN_KEY_SIZE,
            "max_SAE_ID_count": MAX_SAE_ID_COUNT,
            **await supply(self._network, self._router, pair, self._node.name, self._links),
        }

    async def enc_keys(self, caller: Consumer, slave_id: str, request: KeyRequest) -> dict[str, Any]:
        """Get key (clauses 5.3, 6.3): new keys, which the slave's KME has before this returns. BadRequest,
        Unavailable."""
        pair = self._between(caller, slave_id, "slave")
        if not pair.bidirectional and pair.consumers[0] != caller.name:
            raise BadRequest(
                f"keys between {caller.name} and {slave_id} are asked for by {pair.consumers[0]} only"
            )
        size = pair.key_size if request.size is None else request.size
        self._check(request, size)
        remote, local = self._slaves(caller, slave_id, request.additional_slaves)
        wanted = Wanted(request.number, size // 8, request.demands())
        keys = await self._delivered(pair, caller, remote, local, wanted)
        return {"keys": [{"key_ID": key_id, "key": _base64(value)} for key_id, value in keys.items()]}

    async def dec_keys(self, caller: Consumer, master_id: str, key_ids: Sequence[str]) -> dict[str, Any]:
        """Get key with key IDs (clauses 5.4, 6.3): all of them or none. BadRequest, Unauthorized."""
        found = await asyncio.to_thread(self._store.fetch, key_ids, master_id, caller.name, wall_clock())
        if found == "unauthorized":
            raise Unauthorized(f"{caller.name} was not named as a slave when this key was issued")
        if isinstance(found, str):
            raise BadRequest(NOT_FOUND)
        return {"keys": [{"key_ID": key_id, "key": _base64(found[key_id])} for key_id in key_ids]}

    # What may be asked ------------------------------------------------------------------------------

    def _between(self, caller: Consumer, other_id: str, what: str) -> ConsumerLink:
        for pair in self._network.consumer_link:
            if set(pair.consumers) == {caller.name, other_id}:
                return pair
        raise BadRequest(f"the {what} SAE is unknown, or shares no keys with {caller.name}")

    @staticmethod
    def _check(request: KeyRequest, size: int) -> None:
        if not MIN_KEY_SIZE <= size <= MAX_KEY_SIZE:
            raise BadRequest(f"size should be {MIN_KEY_SIZE} to {MAX_KEY_SIZE} bits")
        if request.number > MAX_KEY_PER_REQUEST:
            raise BadRequest(f"number should be at most {MAX_KEY_PER_REQUEST}")
        if len(request.additional_slaves) > MAX_SAE_ID_COUNT:
            raise BadRequest(f"at most {MAX_SAE_ID_COUNT} additional_slave_SAE_IDs may be named")

    def _slaves(
        self, caller: Consumer, slave_id: str, additional: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """The slaves at the KME of the slave SAE and those at this one."""
        known = {consumer.name: consumer.node for consumer in self._network.consumer}
        remote, local = [slave_id], []
        for name in additional:
            if name in (caller.name, slave_id) or name not in known:
                raise BadRequest("additional_slave_SAE_IDs should name other SAEs that are known here")
            if known[name] == known[slave_id]:
                remote.append(name)
            elif known[name] == self._node.name:
                local.append(name)
            else:
                raise BadRequest("an additional slave SAE is served by a KME that these keys do not reach")
        return remote, local

    # How they get there -----------------------------------------------------------------------------

    async def _delivered(
        self, pair: ConsumerLink, caller: Consumer, remote: list[str], local: list[str], wanted: Wanted
    ) -> dict[str, bytes]:
        """New keys, over another way when a link fails."""
        avoid: set[str] = set()
        failed: Unavailable | None = None
        for _ in range(_ATTEMPTS):
            await self._router.look()
            try:
                ways = self._router.choose(pair, self._node.name, wanted, avoid)
            except (BadRequest, Unavailable) as error:
                raise failed or error from None
            try:
                if len(ways) == 1 and not ways[0].relays:
                    end = self._links[ways[0].links[0]]
                    async with self._turn[end.name]:
                        return await self._assigned(caller, end, remote, local, wanted)
                return await self._relayed(caller, ways, remote, local, wanted)
            except Unavailable as error:
                log.info("%s: no key this way: %s", self._node.kme_id, error.detail)
                failed = failed or error
                if not error.link:
                    raise
                avoid.add(error.link)
        raise failed or Unavailable("link_down", "no way to the KME of the slave SAE is up")

    async def _assigned(
        self, caller: Consumer, end: LinkEnd, remote: list[str], local: list[str], wanted: Wanted
    ) -> dict[str, bytes]:
        """Keys that are cells of one link: only its two KMEs ever have them."""
        expires = wall_clock() + KEY_LIFETIME
        newest = not end.place.is_alice
        for _ in range(_ATTEMPTS):
            end.check()
            key_ids = _new_ids(wanted.number)
            cells = await end.purse.spend(
                payer(caller.name, remote[0]),
                wanted.direct,
                partial(self._store.reserve, end.name, key_ids, wanted.size, newest, caller.name, expires),
            )
            waiting = [
                Waiting(key_id, caller.name, tuple(remote), cells[key_id], wanted.size) for key_id in key_ids
            ]
            try:
                missing = await end.assign(waiting)
                if not missing:
                    return await asyncio.to_thread(self._store.hand_out, key_ids, local)
            except KeystoreError as error:
                raise Unavailable("qber_alarm", error.detail, end.name) from None
            except Error as error:
                # The peer may have them or not: they are nobody's now.
                await asyncio.to_thread(self._store.burn, key_ids)
                if isinstance(error, Unavailable):
                    raise
                raise Unavailable("link_down", error.detail, end.name) from None
            log.info("%s: %d cells were not at the other KME", end.name, len(missing))
            await asyncio.to_thread(self._store.burn, key_ids, missing, end.name)
        raise Unavailable("key_exhausted", "the two KMEs do not hold the same keys", end.name)

    async def _relayed(
        self, caller: Consumer, ways: Sequence[Path], remote: list[str], local: list[str], wanted: Wanted
    ) -> dict[str, bytes]:
        """Keys drawn here: whole over one path, where every relay sees them, or as the XOR of two shares
        over two paths, where none does."""
        key_ids = _new_ids(wanted.number)
        shares = [os.urandom(wanted.number * wanted.size) for _ in ways]
        keys = dict(zip(key_ids, split(combined(shares), wanted.size), strict=True))
        await asyncio.to_thread(self._store.begin, keys, caller.name, wall_clock() + KEY_LIFETIME)
        parcels = [
            Parcel(tuple(key_ids), wanted.size, caller.name, tuple(remote), number, len(ways), way.links)
            for number, way in enumerate(ways, 1)
        ]
        try:
            answers = await all_of(
                *(self._relay.send(parcel, share) for parcel, share in zip(parcels, shares, strict=True))
            )
            if sorted(answers) != sorted(["held"] * (len(ways) - 1) + ["stored"]):
                raise Unavailable("link_down", "the KME of the slave SAE did not store the keys")
            return await asyncio.to_thread(self._store.hand_out, key_ids, local)
        except BaseException as error:
            await asyncio.to_thread(self._store.abandon, key_ids)
            if isinstance(error, KeystoreError):
                raise Unavailable("qber_alarm", error.detail) from None
            raise


def _new_ids(number: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(number)]


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
