"""Who this device is and which hub it trusts: what `handfast init` writes, and what reads it.

A device cannot exist without the code of its hub: the first message already needs it, and a device
without one would enrol with whoever answers first.
"""

from collections import namedtuple

from handfast.core.cbor import decode, encode
from handfast.core.constants import THUMBPRINT_LENGTH
from handfast.core.credentials import Identity, decode_ccs, make_ccs
from handfast.core.errors import DecodeError, KeystoreError, LocalError
from handfast.entries import HUB, IDENTITY, REFUSED, SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.credentials import Credential
    from handfast.core.token import Token
    from handfast.ports import Crypto, Host, Keystore

# Of what is stored under IDENTITY and HUB.
VERSION = 1

# hub_id: thumbprint of the hub, 32 bytes. token: until the hub has used it. credential: the hub's,
# once it was seen and verified.
Pin = namedtuple("Pin", ("hub_id", "token", "credential"))


async def create(host: "Host", signature: int, subject: str, hub_code: str, token: "str | None") -> Identity:
    """Make the key of this device from its quantum source, and pin its hub.

    `signature` is a COSE algorithm, `subject` a name of 1 to 128 bytes, `hub_code` and `token` are
    texts as an operator hands them out. LocalError when there is an identity already, DecodeError
    for a code with a wrong character, EntropyError when the source is in alarm: no key is made.
    """
    if host.keystore.load(IDENTITY) is not None:
        raise LocalError("this keystore holds an identity already; reset it first to make another")
    # Texts are read once in the life of a device.
    from handfast.core import codes

    pin = Pin(
        codes.decode_hub_code(host.crypto, hub_code),
        None if token is None else codes.decode_token(host.crypto, token),
        None,
    )
    await host.entropy.prepare(1)
    seed = host.entropy.random(32)
    passed = getattr(host, "passed", None)
    if passed is not None:
        # No source and no text is needed for what follows.
        passed("drawn")
    credential = make_ccs(host.crypto, subject, signature, host.crypto.signature_public_key(signature, seed))
    # A reset that was cut has left them, and they belong to another identity.
    for name in (SESSION, REFUSED):
        if host.keystore.load(name) is not None:
            host.keystore.erase(name)
    # The identity is last: a power cut before it leaves a keystore that can be initialised again.
    save_pin(host.keystore, pin)
    host.keystore.save(IDENTITY, encode([VERSION, seed, credential.encoded]))
    return Identity(seed, credential)


def load(crypto: "Crypto", keystore: "Keystore") -> Identity:
    """The identity of this device; LocalError when there is none, KeystoreError when it is damaged."""
    stored = keystore.load(IDENTITY)
    if stored is None:
        raise LocalError("this keystore holds no identity; make one with `handfast init --hub CODE`")
    try:
        item = decode(stored)
        if isinstance(item, list) and [type(each) for each in item] == [int, bytes, bytes]:
            version, seed, credential = item
            if version == VERSION:
                return Identity(seed, decode_ccs(crypto, _viewed(crypto, credential)))
    except DecodeError:
        pass
    raise KeystoreError("the identity in this keystore is damaged; restore it or reset the device")


def _viewed(crypto: "Crypto", credential: bytes) -> "bytes | memoryview":
    """Where memory is short the parts of a credential are views of it."""
    return memoryview(credential) if hasattr(crypto, "pieces") else credential


def save_pin(keystore: "Keystore", pin: Pin) -> None:
    """Store which hub this device trusts, the token that it may still need and the hub's credential."""
    token = None if pin.token is None else [pin.token.token_id, pin.token.k_tok, pin.token.shared]
    credential = None if pin.credential is None else pin.credential.encoded
    keystore.save(HUB, encode([VERSION, pin.hub_id, token, credential]))


def load_pin(crypto: "Crypto", keystore: "Keystore") -> Pin:
    """The hub that this device trusts; LocalError when none is pinned, KeystoreError when damaged."""
    stored = keystore.load(HUB)
    if stored is None:
        raise LocalError("this keystore pins no hub; make an identity with `handfast init --hub CODE`")
    try:
        return _decode_pin(crypto, stored)
    except DecodeError:
        raise KeystoreError("the pinned hub in this keystore is damaged; reset the device")


def _decode_pin(crypto: "Crypto", stored: bytes) -> Pin:
    item = decode(stored)
    if not isinstance(item, list) or len(item) != 4 or item[0] != VERSION:
        raise DecodeError("a stored pin has four entries")
    hub_id, stored_token, stored_credential = item[1:]
    if not isinstance(hub_id, bytes) or len(hub_id) != THUMBPRINT_LENGTH:
        raise DecodeError("a thumbprint has 32 bytes")
    token: "Token | None" = None
    if stored_token is not None:
        if not isinstance(stored_token, list) or [type(each) for each in stored_token] != [
            bytes,
            bytes,
            bool,
        ]:
            raise DecodeError("a stored token has three entries")
        from handfast.core.token import Token

        token = Token(*stored_token)
    credential: "Credential | None" = None
    if stored_credential is not None:
        if not isinstance(stored_credential, bytes):
            raise DecodeError("a stored credential is a byte string")
        credential = decode_ccs(crypto, _viewed(crypto, stored_credential))
    return Pin(hub_id, token, credential)


def names(host: "Host") -> "tuple[bytes, bytes, bool]":
    """(our thumbprint, hub_id, whether there is a token); errors as `load` and `load_pin`."""
    thumbprint = bytes(load(host.crypto, host.keystore).credential.thumbprint)
    pin = load_pin(host.crypto, host.keystore)
    return thumbprint, pin.hub_id, pin.token is not None


def remember_hub(host: "Host", credential: "Credential") -> bool:
    """Pin what the hub has proved to be its own; gives whether there is a token."""
    pin = load_pin(host.crypto, host.keystore)
    save_pin(host.keystore, Pin(pin.hub_id, pin.token, credential))
    return pin.token is not None


def forget_token(host: "Host") -> None:
    """The hub has consumed it."""
    pin = load_pin(host.crypto, host.keystore)
    save_pin(host.keystore, Pin(pin.hub_id, None, pin.credential))


def reset(keystore: "Keystore") -> None:
    """Forget everything but the state of the entropy pool. The key of this device is gone for good."""
    # The identity is first: what is left after a power cut is no device.
    for name in (IDENTITY, SESSION, HUB, REFUSED):
        keystore.erase(name)
