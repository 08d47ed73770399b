"""Wi-Fi of a board: joins the network whose name and password lie in the keystore."""

import asyncio

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError, KeystoreError, LinkClosed, LinkError, LinkTimeout, LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.ports import Keystore

# The name of the network in the keystore: CBOR [1, name, password].
WIFI = "wifi"
# Seconds until a network counts as away, and between two looks.
TIMEOUT = 20.0
LOOK = 0.1
# What `WLAN.status` says in every port that has these: wrong password, no such network.
_REFUSALS = {
    201: "there is no such network",
    202: "the password is wrong",
    -2: "there is no such network",
    -3: "the password is wrong",
}


def save(keystore: "Keystore", name: str, password: str) -> None:
    """Store the network to join: `name` of 1 to 32 bytes, `password` of 8 to 63 or none."""
    if not 1 <= len(name.encode()) <= 32 or (password and not 8 <= len(password) <= 63):
        raise LocalError("a Wi-Fi name has 1 to 32 bytes, and a password 8 to 63 characters or none")
    keystore.save(WIFI, encode([1, name, password]))


async def connect(keystore: "Keystore", *, patience: float = TIMEOUT, interface: "Any" = None) -> None:
    """Join the stored network, unless we are in it already; nothing happens on a board without one stored.

    `interface` stands in for `network.WLAN`. LinkTimeout when the network does not let us in within
    `patience` seconds, LinkError when it says no, KeystoreError for a damaged entry.
    """
    stored = keystore.load(WIFI)
    if stored is None:
        return
    try:
        value = decode(stored)
    except DecodeError:
        value = None
    if not isinstance(value, list) or len(value) != 3 or value[0] != 1:
        raise KeystoreError("the Wi-Fi network in this keystore is damaged; store it again")
    _, name, password = value
    wlan = _station() if interface is None else interface
    try:
        if wlan.isconnected():
            return
        wlan.active(True)
        wlan.connect(name, password)
    except OSError as error:
        raise LinkClosed("the Wi-Fi of this board does not start: %s" % error)
    waited = 0.0
    while not wlan.isconnected():
        reason = _REFUSALS.get(wlan.status())
        if reason is not None:
            wlan.disconnect()
            raise LinkError("the Wi-Fi network %s did not let us in: %s" % (name, reason))
        if waited >= patience:
            wlan.disconnect()
            raise LinkTimeout("the Wi-Fi network %s did not let us in within %g s" % (name, patience))
        await asyncio.sleep(LOOK)
        waited += LOOK


def _station() -> "Any":
    try:
        import network  # type: ignore[import-not-found]
    except ImportError:
        raise LinkError("this board has no Wi-Fi; erase the stored network or use another board")
    return network.WLAN(network.STA_IF)
