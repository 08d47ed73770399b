"""What a KME says, read: data formats of ETSI GS QKD 014 V1.1.1 as real servers send them.

Lenient where nothing depends on it (numbers out of their order, fields that are missing, errors in any
shape),
strict about keys: the right number, the right length in bits, the right ids, every one only once.
"""

import base64
import binascii
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from handfast.core.errors import LinkError, PeerError, RefusedError


class KmeUnreachable(LinkError):
    """No connection came about, so nothing was asked; the same call may be made again."""


class KeyLost(LinkError):
    """The call was sent and its answer was lost: the KME may have given the key away. Never ask for it
    again."""


class KeysUnavailable(LinkError):
    """The KME has no key now. `reason`: key_exhausted, link_down, qber_alarm, or empty when it does not
    say."""

    def __init__(self, detail: str, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.reason, self.retry_after = reason, retry_after


class KeyNotFound(PeerError):
    """The KME does not have this key_ID (any more): take a new key."""


class KmeRefused(RefusedError):
    """401 or 403: this hub is not who may have the key, or the request is one that the KME does not allow."""


class KmeAnswerError(PeerError):
    """The answer is not what the standard says; nothing of it is used."""


class Key(NamedTuple):
    """One key. `key_id` is a UUID in canonical form; `value` are bytes."""

    key_id: str
    value: bytes

    def __repr__(self) -> str:
        return f"Key({self.key_id})"


class Status(NamedTuple):
    """Clause 6.1. Sizes in bits; None for what the KME does not say."""

    source_kme_id: str
    target_kme_id: str
    master_sae_id: str
    slave_sae_id: str
    key_size: int
    stored_key_count: int
    max_key_count: int | None
    max_key_per_request: int | None
    max_key_size: int | None
    min_key_size: int | None
    max_sae_id_count: int
    extension: dict[str, Any]


def read_object(body: bytes, what: str) -> dict[str, Any]:
    """A JSON object, whatever the content type says; KmeAnswerError."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        kind = "HTML" if re.match(rb"\s*<", body) else "something that is not JSON"
        raise KmeAnswerError(
            f"expected JSON for {what}, the KME answered {kind}: is the URL that of a KME?"
        ) from None
    if not isinstance(value, dict):
        raise KmeAnswerError(f"expected a JSON object for {what}, got {type(value).__name__}")
    return value


def read_status(body: bytes) -> Status:
    """Status; only key_size and stored_key_count must be there."""
    fields = read_object(body, "status")
    numbers = {name: _number(fields, name) for name in _NUMBERS}
    size, stored, most = numbers["key_size"], numbers["stored_key_count"], numbers["max_key_count"]
    if size is None or stored is None or size < 8:
        raise KmeAnswerError(
            "expected key_size and stored_key_count in the status, one is missing or no number"
        )
    extension = fields.get("status_extension")
    source, target, master, slave = (str(fields.get(name, "")) for name in _NAMES)
    return Status(
        source,
        target,
        master,
        slave,
        key_size=size,
        # Seen in the field: more keys than the maximum.
        stored_key_count=min(stored, most) if most is not None else stored,
        max_key_count=most,
        max_key_per_request=numbers["max_key_per_request"],
        max_key_size=numbers["max_key_size"],
        min_key_size=numbers["min_key_size"],
        max_sae_id_count=numbers["max_SAE_ID_count"] or 0,
        extension=extension if isinstance(extension, dict) else {},
    )


def read_keys(body: bytes, number: int, size: int | None, wanted: Sequence[str] | None = None) -> list[Key]:
    """A Key container with exactly `number` keys of `size` bits, of exactly the ids `wanted` in that order.

    `size` None takes any length that all keys share, a multiple of 8 from 64 bits on.
    """
    fields = read_object(body, "keys")
    # Table 11 of the standard prints "Keys"; its examples say "keys".
    entries = fields.get("keys", fields.get("Keys"))
    if not isinstance(entries, list):
        raise KmeAnswerError("expected an array of keys, there is none")
    if len(entries) != number:
        raise KmeAnswerError(f"expected {number} keys, got {len(entries)}; none of them is used")
    keys = [_key(entry, size) for entry in entries]
    if len({len(key.value) for key in keys}) != 1:
        raise KmeAnswerError("expected keys of one length, got several")
    if len({key.key_id for key in keys}) < number or len({key.value for key in keys}) < number:
        raise KmeAnswerError("the KME gave one key twice in one answer; none of them is used")
    if wanted is None:
        return keys
    by_id = {key.key_id: key for key in keys}
    if set(by_id) != set(wanted):
        raise KmeAnswerError("the KME answered with other key_IDs than were asked for")
    return [by_id[key_id] for key_id in wanted]


def canonical(key_id: object) -> str:
    """A UUID in lower case with dashes; KmeAnswerError."""
    try:
        if isinstance(key_id, str) and len(key_id) == 36:
            return str(uuid.UUID(key_id))
    except ValueError:
        pass
    raise KmeAnswerError("expected a UUID as key_ID")


def refusal(status: int, body: bytes, retry_after: str | None, what: str) -> Exception:
    """The error that a status code other than 200 means; its body may have any shape."""
    message, reasons = _said(body)
    said = f"the KME said {status} to {what}" + (f": {message}" if message else "")
    if status in (401, 403):
        return KmeRefused(
            f"{said}; check that this hub's certificate is that of the SAE that it calls itself"
        )
    if status == 404 or "not found" in message:
        return KeyNotFound(said)
    wait = float(retry_after) if retry_after and re.fullmatch(r"\d{1,6}", retry_after) else None
    reason = next((reason for reason in reasons if reason in _REASONS), "")
    # Real servers say 400 when they have no key left.
    starved = status == 400 and re.search(
        r"(insufficient|not enough|no) (available )?keys?|exhaust", message, re.I
    )
    if status >= 500 or status == 429 or starved:
        return KeysUnavailable(said, reason or ("key_exhausted" if starved else ""), wait)
    if 300 <= status < 400:
        return KmeAnswerError(f"{said}; a redirect is never followed, give the URL of the KME itself")
    return KmeRefused(said)


_NUMBERS = (
    "key_size", "stored_key_count", "max_key_count", "max_key_per_request", "max_key_size", "min_key_size",
    "max_SAE_ID_count",
)  # fmt: skip
_NAMES = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
_REASONS = ("key_exhausted", "link_down", "qber_alarm")
_SHOWN = 200
_SHORTEST = 64


def _number(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _key(entry: object, size: int | None) -> Key:
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
        raise KmeAnswerError("expected a key_ID and a key in every entry, one is half")
    key_id = canonical(entry.get("key_ID"))
    try:
        value = base64.b64decode(entry["key"], validate=True)
    except (binascii.Error, ValueError):
        raise KmeAnswerError(f"the key {key_id} is not base64") from None
    if size is not None and len(value) * 8 != size:
        hint = ": the KME took bits for bytes" if len(value) == size else ""
        raise KmeAnswerError(f"expected a key of {size} bits, got {len(value) * 8}{hint}")
    if len(value) * 8 < _SHORTEST:
        raise KmeAnswerError(f"expected a key of {_SHORTEST} bits or more, got {len(value) * 8}")
    if len(set(value)) == 1:
        raise KmeAnswerError(f"the key {key_id} is one byte over and over: that is no key")
    return Key(key_id, value)


def _said(body: bytes) -> tuple[str, list[str]]:
    """The message of an error, shortened and printable, and every `reason` in its details."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return "", []
    if not isinstance(value, dict):
        return "", []
    text = next(
        (value[name] for name in ("message", "title", "error", "detail") if isinstance(value.get(name), str)),
        "",
    )
    details = value.get("details")
    reasons = (
        [str(entry.get("reason")) for entry in details if isinstance(entry, dict)]
        if isinstance(details, list)
        else []
    )
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:_SHOWN]), reasons
