"""A secret key object in a PKCS#11 token, for each epoch one.

The object is private, sensitive and not extractable: programs use the key inside the token and nobody
reads it, this hub neither. Its CKA_ID is the name of the key, the same at both hubs, and its label is
`handfast-FEED-EPOCH-NAME`. A program says by the CKA_ID which key it used.
"""

import os
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11 import exceptions as faults

from handfast_hub.feeds.feeder import FeedError
from handfast_hub.feeds.keys import FeedKey, oldest_first
from handfast_hub.feeds.settings import Pkcs11Feed
from handfast_hub.feeds.worker import Worker

# A login is the whole process's, not the session's, so one feed of a module after the other.
_LOCKS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

# What a key of each type may be used for, and for nothing else: a key that wraps and decrypts gives away
# what it wrapped, and one that derives short keys gives away itself.
_TYPES = {
    "aes": (KeyType.AES, (Attribute.ENCRYPT, Attribute.DECRYPT)),
    "generic": (KeyType.GENERIC_SECRET, (Attribute.SIGN, Attribute.VERIFY)),
}
_USES = (
    Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.SIGN, Attribute.VERIFY, Attribute.WRAP, Attribute.UNWRAP,
    Attribute.DERIVE,
)  # fmt: skip

# A token counts wrong PINs and locks itself: none of these is tried again.
_WRONG_PIN = (
    faults.PinIncorrect, faults.PinInvalid, faults.PinLenRange, faults.PinExpired, faults.PinLocked,
    faults.UserPinNotInitialized,
)  # fmt: skip


class Pkcs11:
    """A `feeder.Consumer`: one token."""

    def __init__(self, name: str, settings: Pkcs11Feed) -> None:
        """`name` is the feed's."""
        self._settings = settings
        self._name = name
        self._worker = Worker()
        # Labels of what this process imported, oldest first; what is in the token beside is older.
        self._imported: list[str] = []

    async def look(self) -> None:
        """Look whether the token is there and takes the PIN."""
        await self._in_thread(lambda session: None)

    async def prepare(self) -> None:
        """Look; a key of the run before stays until there are `keep` newer ones."""
        await self.look()

    async def put(self, key: FeedKey) -> None:
        """Import the key, then destroy the oldest until `keep` are left."""
        await self._in_thread(partial(self._import, key))

    async def shut(self) -> None:
        """Destroy every key of this feed."""
        await self._in_thread(lambda session: self._destroy(session, 0))

    def _import(self, key: FeedKey, session: pkcs11.Session) -> None:
        kind, uses = _TYPES[self._settings.key_type]
        label = key.label(self._name)
        template = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: kind,
            Attribute.LABEL: label,
            Attribute.ID: key.name,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.VALUE: key.key,
            **{use: use in uses for use in _USES},
        }
        if label not in self._objects(session):
            session.create_object(template)
        if label not in self._imported:
            self._imported.append(label)
        self._destroy(session, self._settings.keep)

    def _destroy(self, session: pkcs11.Session, keep: int) -> None:
        found = self._objects(session)
        labels = oldest_first(found, self._name, self._imported)
        for label in labels[: max(0, len(labels) - keep)]:
            found[label].destroy()
        self._imported = [label for label in self._imported if label in labels[-keep:]] if keep else []

    def _objects(self, session: pkcs11.Session) -> dict[str, pkcs11.SecretKey]:
        keys = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
        return {key.label: key for key in keys if isinstance(key, pkcs11.SecretKey)}

    async def _in_thread(self, work: Callable[[pkcs11.Session], None]) -> None:
        await self._worker.do(partial(self._with_session, work))

    def _with_session(self, work: Callable[[pkcs11.Session], None]) -> None:
        with _LOCKS[self._settings.module], self._session() as session:
            work(session)

    @contextmanager
    def _session(self) -> Iterator[pkcs11.Session]:
        settings = self._settings
        pin = _read_pin(settings.pin_file)
        if not settings.module.is_file():
            raise FeedError(f"there is no PKCS#11 module {settings.module}")
        try:
            token = pkcs11.lib(str(settings.module)).get_token(token_label=settings.token)
            with token.open(rw=True, user_pin=pin) as session:
                yield session
        except _WRONG_PIN:
            raise FeedError(
                f"the token '{settings.token}' refuses the PIN in {settings.pin_file}; set it right and"
                " start the hub anew, for a token locks itself after a few wrong ones",
                lasting=True,
            ) from None
        except faults.NoSuchToken:
            raise FeedError(f"{settings.module} has no token with the label '{settings.token}'") from None
        except faults.PKCS11Error as error:
            reason = type(error).__name__ if type(error) is not faults.PKCS11Error else str(error)
            raise FeedError(f"the token '{settings.token}' failed: {reason}") from None


def _read_pin(path: Path) -> str:
    """The user PIN, the first line of `path`; FeedError when it is missing or others may read it."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            pin = file.readline().removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        raise FeedError(f"expected the user PIN of the token in {path}") from None
    # As with the master key of the hub.
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FeedError(f"{path} may be read by others (mode {mode & 0o777:04o}); run: chmod 600 {path}")
    return pin
