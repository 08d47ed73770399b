"""A post-quantum preshared key (PPK, RFC 8784) for strongSwan, over charon's vici socket.

A PPK acts when an IKE_SA is made and never later, so each key needs a new one. Make before break: the
initiator opens a second IKE_SA under the new PPK_ID, looks whether the PPK is in it, and only then
ends the first. The responder loads PPKs and answers under whichever is named. `ppk_required` is set
at both ends: without the PPK there is no IKE_SA at all (mandatory_or_not of RFC 8784).

Without an IKE_SA charon would let the traffic go in the clear, so the feed also has it drop what the
children's selectors cover; the policies of an IKE_SA come before that.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import vici

from handfast_hub.feeds.feeder import FeedError
from handfast_hub.feeds.keys import FeedKey, oldest_first
from handfast_hub.feeds.settings import StrongswanFeed
from handfast_hub.feeds.worker import Worker

# How long the other end may take to answer to a new IKE_SA and to the end of one, and charon itself.
_INITIATE_SECONDS = 10
_END_SECONDS = 2
_CHARON_SECONDS = 15.0
# Between the new IKE_SA and the end of the old one, for what is on its way under that.
_OVERLAP_SECONDS = 1.0
# PPKs that stay loaded at the responder: the initiator may be an epoch behind, or ahead.
_PPKS = 3

_Table = dict[str, Any]


class Strongswan:
    """A `feeder.Consumer`: one connection of one charon."""

    def __init__(self, name: str, settings: StrongswanFeed) -> None:
        """`name` is the feed's."""
        self._name = name
        self._worker = Worker()
        self._settings = settings
        self._loaded: list[str] = []

    async def look(self) -> None:
        """Look whether charon is there."""
        await self._in_thread(lambda session: session.version())

    async def prepare(self) -> None:
        """Drop what has no IKE_SA; there is no connection of ours without a PPK."""
        await self._in_thread(self._drop)

    async def put(self, key: FeedKey) -> None:
        """Load the PPK; as initiator, move the connection onto it."""
        work = self._initiate if self._settings.role == "initiator" else self._respond
        await self._in_thread(self._drop)
        await self._in_thread(partial(work, key))

    async def shut(self) -> None:
        """End the connection and forget every PPK of this feed."""
        await self._in_thread(self._drop)
        await self._in_thread(self._forget)

    def _respond(self, key: FeedKey, session: "vici.Session") -> None:
        self._load(key, session)
        session.load_conn({self._responding: self._connection()})
        for label in self._ppks(session)[:-_PPKS]:
            session.unload_shared({"id": label})

    def _initiate(self, key: FeedKey, session: "vici.Session") -> None:
        label = self._load(key, session)
        if label not in self._protected(session):
            session.load_conn({label: {**self._connection(), "ppk_id": label}})
            try:
                self._open(label, session)
            except vici.exception.CommandException as error:
                self._end(label, session)
                raise FeedError(
                    f"the other end did not answer under the key of epoch {key.epoch}: {error}"
                ) from None
        connections = [older for older in self._connections(session) if older != label]
        if connections:
            time.sleep(_OVERLAP_SECONDS)
        for older in connections:
            self._end(older, session)
        for older in self._ppks(session):
            if older != label:
                session.unload_shared({"id": older})

    def _open(self, label: str, session: "vici.Session") -> None:
        for child in self._settings.connection["children"]:
            wanted = {
                "ike": label, "child": child, "timeout": 1000 * _INITIATE_SECONDS, "loglevel": -1,
            }  # fmt: skip
            for _ in session.initiate(wanted):
                pass
        if label not in self._protected(session):
            self._end(label, session)
            raise FeedError(f"charon made the connection {label} without a PPK; it was ended")

    def _forget(self, session: "vici.Session") -> None:
        for label in (*self._connections(session), self._responding):
            self._end(label, session)
        for label in self._ppks(session):
            session.unload_shared({"id": label})
        self._loaded = []

    def _drop(self, session: "vici.Session") -> None:
        """Load the policies that drop, at the lowest priority that charon has.

        Again and again: `swanctl --load-conns` unloads what is in no file of its own, and where they are
        loaded nothing changes.
        """
        children = {
            name: {
                "mode": "drop", "start_action": "trap",
                "local_ts": child["local_ts"], "remote_ts": child["remote_ts"],
            }
            for name, child in _said(self._settings.connection)["children"].items()
        }  # fmt: skip
        # With this address it never answers anybody. No feed can have a colon in its name.
        session.load_conn({f"{self._responding}:drop": {"remote_addrs": ["127.0.0.1"], "children": children}})

    def _load(self, key: FeedKey, session: "vici.Session") -> str:
        """Load the PPK under the label of the key, which is its PPK_ID."""
        label = key.label(self._name)
        session.load_shared({"id": label, "type": "PPK", "data": key.key, "owners": [label]})
        self._loaded = [*(old for old in self._loaded[-_PPKS:] if old != label), label]
        return label

    def _end(self, label: str, session: "vici.Session") -> None:
        """End every IKE_SA of a connection, and unload it; FeedError when one is still there."""
        # Without `force` charon would go on for minutes, SAs and all, when the other end is dead.
        wanted = {"ike": label, "force": "yes", "timeout": 1000 * _END_SECONDS, "loglevel": -1}
        # Each fails when there is nothing of that name, which is what is wanted.
        with contextlib.suppress(vici.exception.CommandException):
            for _ in session.terminate(wanted):
                pass
        if any(name == label for name, _ in list(_associations(session))):
            raise FeedError(f"charon does not end the connection {label}")
        with contextlib.suppress(vici.exception.CommandException):
            session.unload_conn({"name": label})

    @property
    def _responding(self) -> str:
        return f"handfast-{self._name}"

    def _connection(self) -> _Table:
        """The operator's connection, with what the feed insists on."""
        connection: _Table = _said(self._settings.connection)
        children = {name: {**child, "start_action": "none"} for name, child in connection["children"].items()}
        connection.pop("ppk_id", None)
        return {
            **connection, "version": "2", "ppk_required": "yes", "unique": "never", "children": children,
        }  # fmt: skip

    def _ppks(self, session: "vici.Session") -> list[str]:
        loaded = [label.decode() for label in session.get_shared().get("keys", [])]
        return oldest_first(loaded, self._name, self._loaded)

    def _connections(self, session: "vici.Session") -> list[str]:
        """What the initiator made: loaded connections, and those of IKE_SAs whose connection is gone."""
        known = {label.decode() for label in session.get_conns().get("conns", [])}
        known.update(name for name, _ in _associations(session))
        return oldest_first(known, self._name, self._loaded)

    def _protected(self, session: "vici.Session") -> set[str]:
        """The connections with an IKE_SA that has a PPK in it."""
        return {
            name
            for name, sa in _associations(session)
            if sa.get("state") == b"ESTABLISHED" and sa.get("ppk") == b"yes"
        }

    async def _in_thread(self, work: Callable[["vici.Session"], object]) -> None:
        await self._worker.do(partial(self._with_session, work))

    def _with_session(self, work: Callable[["vici.Session"], object]) -> None:
        where = self._settings.socket
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_CHARON_SECONDS)
            try:
                connection.connect(str(where))
                work(vici.Session(connection))
            except FileNotFoundError:
                raise FeedError(
                    f"there is no vici socket {where}; start charon with its vici plugin"
                ) from None
            except PermissionError:
                raise FeedError(f"the hub may not open the vici socket {where}") from None
            except TimeoutError:
                raise FeedError(f"charon did not answer within {_CHARON_SECONDS:g} seconds") from None
            except OSError as error:
                raise FeedError(
                    f"charon is not at the vici socket {where}: {error.strerror or error}"
                ) from None
            except (vici.exception.CommandException, vici.exception.SessionException) as error:
                raise FeedError(f"charon refused: {error}") from None


def _associations(session: "vici.Session") -> Iterator[tuple[str, _Table]]:
    for entry in session.list_sas():
        yield from entry.items()


def _said(value: Any) -> Any:
    """A value of hub.toml as vici wants it: text, lists of text, tables."""
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_said(item) for item in value]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
