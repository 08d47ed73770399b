"""No type of ours shows a secret as text: walks every named tuple of every package.

What it finds by the names of fields is listed here; tests/core/test_hidden.py has the core's types as
they are really made, on both interpreters.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import handfast
import handfast_cpython
import handfast_hub

MARKER = b"MARKER-OF-A-SECRET"
# Fields that hold a secret wherever they occur …
SECRET = {
    "civ",
    "k_tok",
    "key",
    "nonce",
    "r_d",
    "r_h",
    "root_key",
    "secret",
    "seed",
    "state",
    "traffic_secret",
    "value",
}
# … but not here: the path of a file, a length, a word for the operator, or what a record says in clear.
OPEN = {
    ("Kem", "seed"),
    ("Signature", "seed"),
    ("ServerTls", "key"),
    ("Device", "state"),
    ("Stored", "state"),
    ("Standing", "state"),
    ("TokenInfo", "state"),
    ("CommandInfo", "state"),
    ("Control", "value"),
    ("ControlPacket", "state"),
    # Values of our own types, which are hidden themselves.
    ("Pending", "key"),
}


def types() -> "Iterator[type[Any]]":
    """Every tuple with names that one of our packages defines."""
    seen: set[type[Any]] = set()
    for package in (handfast, handfast_cpython, handfast_hub):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if found.name.endswith(("__main__", "migrations.env")) or ".versions." in found.name:
                continue
            try:
                module = importlib.import_module(found.name)
            except ImportError as error:  # a library of an extra that is not installed
                assert error.name is not None
                assert not error.name.startswith("handfast"), error
                continue
            for value in vars(module).values():
                named = isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")
                if named and value.__module__ == module.__name__ and value not in seen:
                    seen.add(value)
                    yield value


TYPES = list(types())


def texts(value: object) -> list[str]:
    return [repr(value), str(value), f"{value}", "%s" % (value,), repr([value]), repr({1: (value,)})]


def test_the_walk_finds_what_is_known() -> None:
    names = {kind.__name__ for kind in TYPES}
    assert {"Token", "Key", "Stored", "RootKeys", "Sealing", "Slot", "Pending", "Store", "Pin"} <= names
    assert len(names) > 50


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_type_does_not_show_its_secrets(kind: "type[Any]") -> None:
    fields = kind._fields  # type: ignore[attr-defined]
    secret = [name for name in fields if name in SECRET and (kind.__name__, name) not in OPEN]
    value = kind(*(MARKER if name in secret else None for name in fields))
    for text in texts(value):
        assert MARKER.decode() not in text, f"{kind.__name__} shows one of {secret}"


def test_objects_with_keys_show_no_attribute() -> None:
    from handfast.core import hub_session
    from handfast.core.key_cache import KeyCache
    from handfast.core.records import RecordKeys
    from handfast.core.replay import FRESH
    from handfast_cpython.crypto import Crypto
    from handfast_cpython.mqtt import MqttLink
    from handfast_hub.vault import Vault

    crypto, long = Crypto(), MARKER.ljust(32, b".")
    keys = KeyCache(crypto)
    key = hub_session.Key(b"attempt", 1, -21, 0, long * 2, 0, 0, 1024, FRESH, None, 0)
    keys.get(b"deviceid", key, 0, b"\x00")
    objects = (
        RecordKeys(crypto, -21, b"deviceid", 0, b"\x00", long, MARKER[:13]),
        keys,
        Vault(long),
        MqttLink("broker", username="user", password=MARKER.decode()),
    )
    for value in objects:
        for text in texts(value):
            assert MARKER.decode()[:13] not in text


def test_the_password_of_a_broker_is_not_shown() -> None:
    from handfast_cpython.device_home import Wishes

    wishes = Wishes(f"mqtt://user:{MARKER.decode()}@broker", None, "os", None)
    assert MARKER.decode() not in repr(wishes) + str(wishes)


def test_a_granted_handshake_shows_nothing_in_the_hub() -> None:
    import registry_world as world

    from handfast_hub.registry.reads import Stored

    pending = world.pending(1)
    stored = Stored(b"deviceid", b"tp", "onboarded", "", world.hub_session.empty(b"deviceid"))
    for text in texts(pending) + texts(stored._replace(ring=stored.ring._replace(active=pending.key))):
        for secret in (pending.root_key, pending.key.secret):
            assert repr(secret)[2:12] not in text
