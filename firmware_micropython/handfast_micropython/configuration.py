"""What a board was told about the world: one map in the keystore, written once by whoever sets it up."""

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError, KeystoreError, LocalError
from handfast.core.suites import DEFAULT_SUITES
from handfast.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.ports import Keystore

NAME = "configuration"
# Every entry: its type, and what it is when nobody says.
ENTRIES = {
    "broker": (str, ""),  # host name or address, or uart:NUMBER for a serial line to it
    "port": (int, 1883),  # of the broker
    "username": (str, ""),  # at the broker
    "password": (str, ""),
    "qrng": (str, "os"),  # see handfast_micropython.qrng
    "suites": (list, []),  # numbers, best first; none for the default
    "period": (int, 60),  # seconds between two readings
    "packet_limit": (int, 0),  # of the broker, in bytes; 0 for none
    "firmware": (str, ""),  # shown to the operator
    "hardware": (str, ""),
}


def save(keystore: "Keystore", values: "dict[str, object]") -> None:
    """Store `values`, names of ENTRIES; LocalError for a name or a type that is none."""
    for name, value in values.items():
        if name not in ENTRIES or type(value) is not ENTRIES[name][0]:
            raise LocalError(
                "no entry %r that is %r; there are %s" % (name, value, ", ".join(sorted(ENTRIES)))
            )
    if not values.get("broker"):
        raise LocalError("a board needs the name of its broker")
    keystore.save(NAME, encode(values))


def load(keystore: "Keystore") -> "dict[str, Any]":
    """Every entry with its value; LocalError when nothing is stored, KeystoreError when it is damaged."""
    stored = keystore.load(NAME)
    if stored is None:
        raise LocalError("this board is not set up; call handfast_micropython.main.set_up once")
    try:
        values = decode(stored)
    except DecodeError:
        values = None
    if not isinstance(values, dict):
        raise KeystoreError("the configuration in this keystore is damaged; set the board up again")
    return {name: values.get(name, entry[1]) for name, entry in ENTRIES.items()}


def settings(keystore: "Keystore") -> Settings:
    """The settings of the device out of the configuration; LocalError for suites that do not go together."""
    values = load(keystore)
    return Settings(
        suites=tuple(values["suites"]) or DEFAULT_SUITES,
        firmware=values["firmware"],
        hardware=values["hardware"],
        packet_limit=values["packet_limit"],
    )
