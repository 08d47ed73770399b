"""Values with key material do not show it, on either interpreter."""

from handfast.core import (
    codes,
    credentials,
    device_session,
    ead,
    events,
    hub_session,
    messages,
    root_key,
    sealed_messages,
    stored_session,
)
from handfast.core.replay import FRESH

MARKER = b"MARKER-OF-A-SECRET"


def texts(value: object) -> "list[str]":
    """Every way in which a value becomes text."""
    return [
        repr(value),
        str(value),
        f"{value}",
        f"{value!r}",
        "{}".format(value),
        "{!r}".format(value),
        "%s" % (value,),
        "%r" % (value,),
        repr([value]),
        repr((value, 1)),
        repr({"value": value}),
        "%s" % ((value,),),
    ]


def values() -> "list[tuple[object, ...]]":
    """One of each type, made as the code makes it, with the marker wherever a secret is."""
    key = hub_session.Key(b"attempt", 1, -21, 0, MARKER, 0, 0, 1024, FRESH, None, 0)
    previous = hub_session.Previous(0, MARKER, MARKER, FRESH, 60.0)
    ring = hub_session.Ring(b"deviceid", key, (key,), 0, 1)
    keys = root_key.RootKeys(MARKER, MARKER)
    return [
        codes.Token(b"token id", MARKER, False),
        credentials.Identity(MARKER, None),
        keys,
        sealed_messages.Sealing(MARKER, MARKER, b"aad"),
        stored_session.Stored(-21, b"deviceid", b"attempt", MARKER, 0, MARKER, 1024, True, True, None),
        device_session.Store(MARKER),
        device_session.Data(2, MARKER, 0, 1),
        device_session._Epoch(0, MARKER, None, None),
        key,
        previous,
        ring,
        hub_session.Opened(MARKER, ring, 0, 1, b"attempt", False, False),
        hub_session.Sealed(b"record", ring, 0, 1, False),
        ead.RootC(b"attempt", None, MARKER),
        ead.RootR(b"attempt", MARKER, b"deviceid", 0),
        messages.Plaintext3(b"id_cred", b"signature", [(-65283, MARKER)]),
        events.Established(keys, b"deviceid", 0, b"attempt", -21, None, True),
    ]


def test_no_value_shows_its_secret_as_text() -> None:
    marker = "MARKER"
    for value in values():
        for text in texts(value):
            assert marker not in text, type(value).__name__
            assert MARKER.hex() not in text, type(value).__name__


def test_a_hidden_value_says_what_it_is() -> None:
    assert repr(codes.Token(b"token id", MARKER, False)) == "<Token, secret>"


def test_a_hidden_value_is_the_tuple_that_it_was() -> None:
    token = codes.Token(b"token id", MARKER, False)
    token_id, k_tok, shared = token
    assert (token_id, k_tok, shared) == token == codes.Token(b"token id", MARKER, False)
    assert token != codes.Token(b"token id", MARKER, True)
    assert (token.k_tok, token[1], token[:1], len(token)) == (MARKER, MARKER, (b"token id",), 3)
    assert isinstance(token, tuple)
    assert codes.Token(*token[:2], True).shared
