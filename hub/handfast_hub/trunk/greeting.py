"""Who calls at the trunk port: the kid of a hub, and a proof that it holds the pairing secret.

    listener -> caller   challenge: 16 random bytes over TCP, the token of a Retry over QUIC
    caller -> listener   kid || HMAC-SHA-256(key, kid || challenge)
    key                = HKDF-Extract("handfast trunk 1 greeting", pairing secret)

It makes no key and says nothing about what follows: the lanes prove the hub itself (opening.py). It
is there for the price: whoever does not hold the secret costs one HMAC, and holds a place among those
who have not answered yet, never one of a hub. The challenge is new for each connection, so a recorded
answer is worth nothing. RFC 9147 section 5.1 has its cookie for the same end; here the secret shows
more than an address.
"""

import ipaddress
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from handfast.core.constants import KID_LENGTH
from handfast.core.errors import AuthenticationError, UnexpectedMessageError
from handfast.core.kdf import extract
from handfast.core.suites import SHA_256
from handfast.ports import Crypto

CHALLENGE_LENGTH = 16
_MAC_LENGTH = 32
ANSWER_LENGTH = KID_LENGTH + _MAC_LENGTH

Who = TypeVar("Who")


class Caller(NamedTuple):
    """A hub that calls: its kid of 8 bytes, and the key that comes from the pairing secret."""

    crypto: Crypto
    kid: bytes
    key: bytes

    def __repr__(self) -> str:
        """Nothing of the key: this may stand in a traceback."""
        return "<Caller, secret>"

    def answer(self, challenge: bytes) -> bytes:
        """What shows to who gave `challenge` that we hold the secret; ANSWER_LENGTH bytes."""
        return self.kid + self.crypto.hmac(SHA_256, self.key, self.kid + challenge)


def caller(crypto: Crypto, kid: bytes, pairing: bytes) -> Caller:
    """The hub with this kid on a trunk with this pairing secret."""
    return Caller(crypto, kid, extract(crypto, SHA_256, b"handfast trunk 1 greeting", pairing))


class Door:
    """Knows every hub that may call."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._callers: dict[bytes, Caller] = {}
        for each in callers:
            self._callers.setdefault(each.kid, each)

    def check(self, challenge: bytes, answer: bytes) -> bytes:
        """The kid in an answer of ANSWER_LENGTH bytes. One HMAC.

        UnexpectedMessageError for a hub that has no trunk here, AuthenticationError for another secret.
        """
        kid = answer[:KID_LENGTH]
        known = self._callers.get(kid)
        if known is None:
            raise UnexpectedMessageError(f"a hub called that has no trunk here: {kid.hex()}")
        if not known.crypto.equal(known.answer(challenge), answer):
            raise AuthenticationError
        return kid


class Places(Generic[Who]):
    """The places of those who have not answered yet.

    When they are full, the source that holds the most loses its oldest: a flood has to come from as many
    addresses as there are places before it costs anybody else his.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sources: dict[str, dict[Who, None]] = {}
        self._taken: dict[Who, str] = {}

    def take(self, who: Who, address: str) -> Who | None:
        """`who` comes from an IP address; who has to go for it, if anybody."""
        source = _source(address)
        self._sources.setdefault(source, {})[who] = None
        self._taken[who] = source
        if len(self._taken) <= self._limit:
            return None
        # Of equals the one that came first.
        most = max(self._sources.values(), key=len)
        oldest = next(iter(most))
        self.leave(oldest)
        return oldest

    def leave(self, who: Who) -> None:
        """It needs no place any more; may be said twice."""
        source = self._taken.pop(who, None)
        if source is not None:
            del self._sources[source][who]
            if not self._sources[source]:
                del self._sources[source]


def _source(address: str) -> str:
    """Whose an address is: with IPv6 anybody has the 64 bits behind his network (RFC 4291 section 2.5.4)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else ip.packed[:8].hex()
