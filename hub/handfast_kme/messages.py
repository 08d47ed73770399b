"""The JSON of ETSI GS QKD 014 V1.1.1, read strictly: whatever the data formats do not allow is a 400.

Clause 6 is named at each format; the fixed messages are those of clause 5 (Get key, Get key with key IDs).
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from handfast.core.errors import Error

SIZE_MULTIPLE = "size shall be a multiple of 8"
MANDATORY_UNSUPPORTED = "not all extension_mandatory parameters are supported"
MANDATORY_UNMET = "not all extension_mandatory request options could be met"
NOT_FOUND = "one or more keys specified are not found on KME"

# The vendor parameters that this KME knows. No key while a link on its way shows more errors than this:
MAX_QBER = "handfast_max_qber_percent"
# The key is the XOR of that many, each of which goes another way: 1 or 2.
DISJOINT_PATHS = "handfast_disjoint_paths"

# Why there is no key now. The standard has no code for any of them.
REASONS = ("key_exhausted", "link_down", "qber_alarm")


class BadRequest(Exception):
    """400; `message` goes into the Error body."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unavailable(Error):
    """503; `reason` is one of REASONS, `link` the QKD link that it is about, where it is about one."""

    def __init__(self, reason: str, message: str, link: str = "") -> None:
        super().__init__(message)
        self.reason, self.link = reason, link


class Demands(NamedTuple):
    """What extension_mandatory asks for: errors at most, as a fraction, and how many ways."""

    max_qber: float | None
    disjoint_paths: int


class KeyRequest(NamedTuple):
    """Clause 6.2, Key request; every field is optional."""

    number: int
    size: int | None
    additional_slaves: tuple[str, ...]
    mandatory: tuple[dict[str, Any], ...]
    optional: tuple[dict[str, Any], ...]

    def demands(self) -> Demands:
        """The strictest of what was demanded; BadRequest for what this KME does not know or cannot do."""
        limits: list[float] = []
        ways = [1]
        for entry in self.mandatory:
            for name, value in entry.items():
                if name == MAX_QBER:
                    if type(value) not in (int, float) or not 0 <= value <= 100:
                        raise BadRequest(f"{MAX_QBER} should be a number of percent, 0 to 100")
                    limits.append(value / 100)
                elif name == DISJOINT_PATHS:
                    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                        raise BadRequest(f"{DISJOINT_PATHS} should be 1 or 2")
                    ways.append(value)
                else:
                    raise BadRequest(MANDATORY_UNSUPPORTED)
        if max(ways) > 2:
            raise BadRequest(MANDATORY_UNMET)
        return Demands(min(limits, default=None), max(ways))


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object out of a request; BadRequest. An empty body is an empty object only where the caller
    says so."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_no_name_twice)
    except RecursionError:
        raise BadRequest("the request nests too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the request should be one JSON object in UTF-8: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("the request should be one JSON object")
    return value


def key_request(fields: Mapping[str, Any]) -> KeyRequest:
    """Check a Key request; BadRequest."""
    _only(fields, KEY_REQUEST)
    slaves = _list(fields, "additional_slave_SAE_IDs", str)
    if len(set(slaves)) < len(slaves):
        raise BadRequest("additional_slave_SAE_IDs names an SAE twice")
    number = _integer(fields, "number", 1)
    if number < 1:
        raise BadRequest("number should be 1 or more")
    size = _integer(fields, "size", None) if "size" in fields else None
    if size is not None and size % 8:
        raise BadRequest(SIZE_MULTIPLE)
    return KeyRequest(
        number,
        size,
        tuple(slaves),
        tuple(_list(fields, "extension_mandatory", dict)),
        tuple(_list(fields, "extension_optional", dict)),
    )


def key_request_query(query: Mapping[str, str]) -> KeyRequest:
    """The GET form: only `number` and `size`; BadRequest."""
    if len(set(query)) < len(query) or not set(query) <= {"number", "size"}:
        raise BadRequest("GET takes number and size, each at most once; use POST for anything else")
    return key_request({name: _decimal(name, value) for name, value in query.items()})


def key_ids(fields: Mapping[str, Any]) -> list[str]:
    """Check Key IDs (clause 6.4); the IDs in canonical form. BadRequest."""
    _only(fields, ("key_IDs", "key_IDs_extension"))
    _object(fields, "key_IDs_extension")
    if "key_IDs" not in fields:
        raise BadRequest("key_IDs is missing")
    found = []
    for entry in _list(fields, "key_IDs", dict):
        _only(entry, ("key_ID", "key_ID_extension"))
        _object(entry, "key_ID_extension")
        found.append(key_id(entry.get("key_ID")))
    if not found:
        raise BadRequest("key_IDs should name at least one key")
    if len(set(found)) < len(found):
        raise BadRequest("key_IDs names a key twice; it can be given once")
    return found


def key_id(value: object) -> str:
    """A UUID in canonical form (clause 6.3: key_ID in UUID format); BadRequest."""
    if isinstance(value, str) and len(value) == 36:
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise BadRequest("key_ID should be a UUID such as 550e8400-e29b-41d4-a716-446655440000")


KEY_REQUEST = ("number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _only(fields: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise BadRequest(f"there is no {unknown[0][:64]!r} here; the names are {', '.join(known)}")


def _integer(fields: Mapping[str, Any], name: str, default: int | None) -> Any:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} should be an integer")
    return value


def _decimal(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} should be an integer")
    return int(text)


def _list(fields: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
        what = "strings" if kind is str else "objects"
        raise BadRequest(f"{name} should be an array of {what}")
    return value


def _object(fields: Mapping[str, Any], name: str) -> None:
    if not isinstance(fields.get(name, {}), dict):
        raise BadRequest(f"{name} should be an object")
