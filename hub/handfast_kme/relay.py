"""Keys over several hops: every KME on the way opens a key and seals it again, so **every relay sees it**.

The master's KME draws the key. Over each hop it goes under a one-time pad with a Wegman-Carter tag, both out
of the key of that link (one_time_pad.py), on the control channel of the two KMEs:

    pad    ticket, cells, key_IDs, master, slave    -> the cells that are not there, [] when all are
    relay  ticket, head, sealed, tag                -> "stored", or "held" for a share that awaits the other
    void   key_IDs                                  -> true

The first call makes both ends delete the cells; nothing is sent under cells that the other end might be
sending under too. "stored" comes back hop by hop only after the slave's KME has the key on its disk. A relay
keeps no key, on disk or in memory. What fails on its way is given to nobody: the master's KME says `void`,
and so does whoever sees an alarm on a link that the key came over.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from handfast.core import cbor
from handfast.core.errors import DecodeError, Error, PeerError
from handfast_kme.budgets import payer
from handfast_kme.control import are_names, is_row
from handfast_kme.database import wall_clock
from handfast_kme.issued import KEY_LIFETIME
from handfast_kme.link_end import LinkEnd, named_cells
from handfast_kme.messages import Unavailable
from handfast_kme.network import Network
from handfast_kme.one_time_pad import cells_of, combined, seal, unseal
from handfast_kme.passing import Voided
from handfast_kme.store import Store
from handfast_kme.tables import Node
from handfast_kme.tasks import again_and_again

log = logging.getLogger("handfast_kme")

MAX_HOPS = 16
# How often cells that the other end turned out not to have are replaced by others.
_ATTEMPTS = 3
# Seconds for the answer of one hop, and as many more for each hop behind it, so that the first to give up is
# the last hop, which knows best what is wrong.
_PATIENCE, _A_HOP = 5.0, 1.0
# Pads, and shares, that wait for what belongs to them; and for how many seconds.
_WAITING, _HOLD = 64, 30.0
# Seconds between two looks at what the other ends must be told, and at what has become too old.
NOTICES, EXPIRY = 0.5, 60.0
_TICKET = 16
# The ticket, and a Parcel.
_HEAD = (bytes, list, int, str, list, int, int, list)


class Parcel(NamedTuple):
    """What is said of keys on their way; all of it stands under the tag of each hop."""

    key_ids: tuple[str, ...]
    size: int
    """Bytes of each key."""
    master: str
    slaves: tuple[str, ...]
    """SAEs at the last KME."""
    share: int
    shares: int
    """Share `share` of `shares`: the key is their XOR."""
    links: tuple[str, ...]
    """The links that are still to be passed, the first of them the one that it is on."""

    def head(self, ticket: bytes) -> bytes:
        """The bytes that the tag of this hop covers, beside the sealed keys."""
        return cbor.encode([ticket, *(list(part) if isinstance(part, tuple) else part for part in self)])

    def same_keys(self, other: "Parcel") -> bool:
        """Whether this is another share of the same keys."""
        mine, theirs = (p._replace(share=0, links=()) for p in (self, other))
        return mine == theirs and self.share != other.share


def read_head(head: bytes, ticket: bytes) -> Parcel:
    """The parcel that a head describes; DecodeError."""
    item = cbor.decode(head)
    if (
        not is_row(item, _HEAD)
        or item[0] != ticket
        or not all(are_names(part) for part in (item[1], item[4], item[7]))
    ):
        raise DecodeError("expected the head of a relayed message")
    _, key_ids, size, master, slaves, share, shares, links = item
    parcel = Parcel(tuple(key_ids), size, master, tuple(slaves), share, shares, tuple(links))
    good = (
        len(set(key_ids)) == len(key_ids) > 0
        and size > 0
        and slaves
        and 1 <= share <= shares <= 2
        and 1 <= len(set(links)) == len(links) <= MAX_HOPS
    )
    if not good:
        raise DecodeError("the head of a relayed message says what cannot be")
    return parcel


class _Pad(NamedTuple):
    cells: bytes
    until: float


class _Share(NamedTuple):
    parcel: Parcel
    secret: bytes
    link: str
    until: float


class Relay:
    """Sends keys, passes them on and takes them in, at one KME."""

    def __init__(self, network: Network, node: Node, store: Store, links: Mapping[str, LinkEnd]) -> None:
        self._node, self._store, self._links = node, store, links
        self._here = {consumer.name for consumer in network.consumer if consumer.node == node.name}
        self._pads: dict[tuple[str, bytes], _Pad] = {}
        self._shares: dict[tuple[str, ...], _Share] = {}
        for end in links.values():
            end.answers |= {"pad": self._pad, "relay": self._relay, "void": self._void}

    async def run(self) -> None:
        """Tell the other ends which keys are void, and forget old ones, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(again_and_again(self._expire, EXPIRY))
            for end in self._links.values():
                group.create_task(again_and_again(partial(self._tell, end), NOTICES))

    async def _expire(self) -> None:
        self._forget_old()
        await asyncio.to_thread(self._store.expire, wall_clock())

    async def send(self, parcel: Parcel, secret: bytes, came: str = "") -> str:
        """Send keys over the first link of their way, and hear what the last KME did with them: "stored" or
        "held".

        `came`: the link over which they came here. Unavailable, with the link that failed; PeerError when the
        way does not begin here.
        """
        end = self._links.get(parcel.links[0])
        if end is None:
            raise PeerError(f"{self._node.kme_id} has no QKD link {parcel.links[0][:64]!r}")
        try:
            return await self._over(end, parcel, secret, came)
        except Unavailable:
            raise
        except Voided as error:
            raise Unavailable("qber_alarm", error.detail, end.name) from None
        except Error as error:
            raise Unavailable("link_down", f"QKD link {end.name}: {error.detail}", end.name) from None

    async def _over(self, end: LinkEnd, parcel: Parcel, secret: bytes, came: str) -> str:
        expires = wall_clock() + KEY_LIFETIME
        newest = not end.place.is_alice
        needed = cells_of(len(secret))
        for _ in range(_ATTEMPTS):
            calls = end.check()
            cells, pad = await end.purse.spend(
                payer(parcel.master, parcel.slaves[0]),
                needed,
                partial(self._store.take_pad, end.name, needed, newest, parcel.key_ids, expires, came),
                keep=end.place.link.reserved,
            )
            ticket = os.urandom(_TICKET)
            asked = [list(cell) for cell in cells]
            missing = await calls.call(
                "pad",
                ticket,
                asked,
                list(parcel.key_ids),
                parcel.master,
                parcel.slaves[0],
                patience=_PATIENCE,
            )
            if not named_cells(missing):
                break
            log.info("%s: %d cells were not at the other KME", end.name, len(missing))
        else:
            raise Unavailable("key_exhausted", f"the ends of {end.name} do not hold the same keys", end.name)
        head = parcel.head(ticket)
        sealed, tag = seal(pad, head, secret)
        patience = _PATIENCE + _A_HOP * len(parcel.links)
        answer = await calls.call("relay", ticket, head, sealed, tag, patience=patience)
        if answer not in ("stored", "held"):
            raise PeerError("expected stored or held as the answer to relay")
        return str(answer)

    # What the other ends ask ------------------------------------------------------------------------

    async def _pad(self, end: LinkEnd, values: list[Any]) -> list[list[int]]:
        if (
            not is_row(values, (bytes, list, list, str, str))
            or len(values[0]) != _TICKET
            or not are_names(values[2])
        ):
            raise PeerError("expected a ticket, cells, key_IDs, master and slave")
        ticket, wanted, key_ids, master, slave = values
        cells = named_cells(wanted)
        end.check()
        expires = wall_clock() + KEY_LIFETIME
        pad = await end.purse.follow(
            payer(master, slave),
            len(cells),
            partial(self._store.give_pad, end.name, cells, key_ids, expires),
        )
        if isinstance(pad, list):
            return [list(cell) for cell in pad]
        self._forget_old()
        if len(self._pads) >= _WAITING:
            self._pads.pop(next(iter(self._pads)))
        self._pads[(end.name, ticket)] = _Pad(pad, time.monotonic() + _HOLD)
        return []

    async def _relay(self, end: LinkEnd, values: list[Any]) -> str:
        if not is_row(values, (bytes, bytes, bytes, bytes)):
            raise PeerError("expected a ticket, a head, sealed keys and a tag")
        ticket, head, sealed, tag = values
        self._forget_old()
        pad = self._pads.pop((end.name, ticket), None)
        if pad is None:
            raise PeerError("there is no pad for this message")
        end.check()
        secret = unseal(pad.cells, head, sealed, tag)
        parcel = read_head(head, ticket)
        if parcel.links[0] != end.name or len(secret) != parcel.size * len(parcel.key_ids):
            raise PeerError("a relayed message is not what its head says")
        onward = parcel.links[1:]
        if not onward:
            return await self._arrived(end, parcel, secret)
        if not self._node.relay:
            raise PeerError(f"{self._node.kme_id} passes nothing on")
        return await self.send(parcel._replace(links=onward), secret, end.name)

    async def _void(self, end: LinkEnd, values: list[Any]) -> bool:
        if len(values) != 1 or not are_names(values[0]):
            raise PeerError("expected key_IDs")
        gone = await asyncio.to_thread(self._store.void_keys, end.name, values[0])
        if gone:
            log.info("%s: %d keys that came over %s are void", self._node.kme_id, gone, end.name)
        return True

    async def _tell(self, end: LinkEnd) -> None:
        key_ids = await asyncio.to_thread(self._store.untold, end.name)
        if key_ids and end.control is not None:
            await end.control.call("void", key_ids)
            await asyncio.to_thread(self._store.told, end.name, key_ids)

    # The last KME -----------------------------------------------------------------------------------

    async def _arrived(self, end: LinkEnd, parcel: Parcel, secret: bytes) -> str:
        if not set(parcel.slaves) <= self._here:
            raise PeerError(f"{self._node.kme_id} does not serve {', '.join(parcel.slaves)[:200]}")
        shares = [_Share(parcel, secret, end.name, time.monotonic() + _HOLD)]
        if parcel.shares > 1:
            other = self._other_share(shares[0])
            if other is None:
                return "held"
            shares.append(other)
        whole = combined([share.secret for share in shares])
        keys = dict(zip(parcel.key_ids, split(whole, parcel.size), strict=True))
        links = [share.link for share in shares]
        expires = wall_clock() + KEY_LIFETIME
        try:
            await asyncio.to_thread(self._store.arrive, keys, parcel.master, parcel.slaves, links, expires)
        except Voided as error:
            raise Unavailable("qber_alarm", error.detail, end.name) from None
        return "stored"

    def _other_share(self, share: _Share) -> _Share | None:
        """The share that waits for this one; None when this one has to wait."""
        self._forget_old()
        other = self._shares.pop(share.parcel.key_ids, None)
        if other is None:
            if len(self._shares) >= _WAITING:
                self._shares.pop(next(iter(self._shares)))
            self._shares[share.parcel.key_ids] = share
            return None
        if not share.parcel.same_keys(other.parcel) or share.link == other.link:
            raise PeerError("two shares of a key do not belong together; both are dropped")
        return other

    def _forget_old(self) -> None:
        """Nobody comes for these any more, and each of them is secret."""
        now = time.monotonic()
        self._pads = {name: pad for name, pad in self._pads.items() if pad.until > now}
        self._shares = {name: share for name, share in self._shares.items() if share.until > now}


def split(whole: bytes, size: int) -> list[bytes]:
    """Keys of `size` bytes."""
    return [whole[at : at + size] for at in range(0, len(whole), size)]
