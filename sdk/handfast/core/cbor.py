"""Deterministic CBOR, the few types that handfast uses, strictly (RFC 8949 section 4.2.1).

    int  -2^64 .. 2^64-1      bytes      str      list (tuple is encoded alike)      dict
    True  False  None

`decode` takes exactly what `encode` gives: shortest heads, definite lengths, map keys in the order
of their encoded bytes, no key twice, well-formed UTF-8. So one value has one encoding, and a
decoded value encodes back to the same bytes. Floats, tags, `undefined` and other simple values are
refused. Map keys are int, str or bytes. Arrays and maps nest at most MAX_DEPTH deep.
"""

from handfast.core.constants import MAX_DEPTH
from handfast.core.errors import DecodeError, LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIMPLE = {20: False, 21: True, 22: None}
# Every byte once: a slice of it is the cheapest way to a byte string of one byte.
_OCTETS = bytes(range(256))


def encode(value: object, depth: int = 0) -> bytes:
    """The one encoding of `value`; LocalError when it has none. `depth` arrays and maps are around it."""
    # An enrolment costs the hub a hundred byte strings and small numbers: they come first.
    if type(value) is bytes:
        size = len(value)
        if size < 24:
            return _OCTETS[0x40 + size : 0x41 + size] + value
        if size < 0x100:
            return b"\x58" + _OCTETS[size : size + 1] + value
        if size < 0x10000:
            return b"\x59" + size.to_bytes(2, "big") + value
        return _head(0x40, size) + value
    if type(value) is int:
        return _OCTETS[value : value + 1] if 0 <= value < 24 else _integer(value)
    if isinstance(value, (list, tuple, dict)):
        if depth == MAX_DEPTH:
            raise LocalError("arrays and maps nest at most %d deep" % MAX_DEPTH)
        if isinstance(value, dict):
            return _encoded_map(value, depth + 1)
        elements = [encode(element, depth + 1) for element in value]
        return _head(0x80, len(value)) + b"".join(elements)
    if isinstance(value, str):
        raw = _utf8(value)
        return _head(0x60, len(raw)) + raw
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return encode(bytes(value))
    raise LocalError("no CBOR for a value of type %s" % type(value).__name__)


def encode_sequence(*values: object) -> bytes:
    """The values one after another: a CBOR sequence (RFC 8742)."""
    return b"".join([encode(value) for value in values])


def decode(data: "bytes | bytearray | memoryview") -> object:
    """The value of exactly one item that takes all of `data`; DecodeError otherwise."""
    source = data if isinstance(data, bytes) else bytes(data)
    value, end = read(source, 0)
    if end != len(source):
        raise DecodeError("one CBOR item was expected, %d bytes follow it" % (len(source) - end))
    return value


def decode_sequence(data: "bytes | bytearray | memoryview") -> "list[object]":
    """The values of a CBOR sequence, [] for no bytes; DecodeError for anything else."""
    source = data if isinstance(data, bytes) else bytes(data)
    return _elements(source, 0, len(source), 0)[0]


def content(data: "bytes | memoryview", at: int) -> "tuple[int, int]":
    """Where the content of the byte string at `at` begins and ends, which is not copied; DecodeError."""
    if at + 2 < len(data) and data[at] == 0x59:
        # The messages themselves, 256 bytes to 64 kB.
        size = data[at + 1] << 8 | data[at + 2]
        if size > 0xFF and at + 3 + size <= len(data):
            return at + 3, at + 3 + size
    if at >= len(data) or data[at] >> 5 != 2:
        raise DecodeError("a CBOR byte string was expected")
    string: "Any"
    string, end = read(memoryview(data), at)
    return end - len(string), end


def head_of_bytes(size: int) -> bytes:
    """What stands before a byte string of `size` bytes, 1 to 9 of them."""
    return _head(0x40, size)


def take(data: bytes) -> "tuple[object, bytes, bytes]":
    """(value, its bytes, what follows) of the first item of a sequence; DecodeError.

    The encoding of a value is the bytes that it came in, so nobody has to encode it again.
    """
    value, end = read(data, 0)
    return value, data[:end], data[end:]


def _integer(value: int) -> bytes:
    if not -(1 << 64) <= value < 1 << 64:
        raise LocalError("an integer in CBOR is -2^64 to 2^64-1")
    return _head(0x00, value) if value >= 0 else _head(0x20, -1 - value)


def _encoded_map(value: "dict[object, object]", depth: int) -> bytes:
    pairs = []
    for key in value:
        if isinstance(key, bool) or not isinstance(key, (int, str, bytes)):
            raise LocalError("a map key is int, str or bytes, not %s" % type(key).__name__)
        pairs.append((encode(key, depth), value[key]))
    # No two keys have one encoding, so the elements beside them are never compared.
    pairs.sort()
    return _head(0xA0, len(pairs)) + b"".join([key + encode(element, depth) for key, element in pairs])


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        major |= argument
        return _OCTETS[major : major + 1]
    if argument < 0x100:
        return _OCTETS[major + 24 : major + 25] + _OCTETS[argument : argument + 1]
    if argument < 0x10000:
        return _OCTETS[major + 25 : major + 26] + argument.to_bytes(2, "big")
    if argument < 0x100000000:
        return _OCTETS[major + 26 : major + 27] + argument.to_bytes(4, "big")
    return _OCTETS[major + 27 : major + 28] + argument.to_bytes(8, "big")


def read(data: "bytes | memoryview", at: int, depth: int = 0) -> "tuple[object, int]":
    """The item at `at` and where the next one begins; `depth` arrays and maps are around it. DecodeError.

    Byte strings in a memoryview are views of it, and nothing is copied; keys of maps are bytes.
    """
    try:
        first = data[at]
        at += 1
        if first < 0x18:
            return first, at
        if 0x40 <= first < 0x5A:
            # What a hub reads most, byte strings of less than 64 kB, takes the short way.
            if first < 0x58:
                end = at + first - 0x40
                if end <= len(data):
                    return data[at:end], end
            elif first == 0x59:
                at += 2
                end = at + (data[at - 2] << 8 | data[at - 1])
                if end - at > 0xFF and end <= len(data):
                    return data[at:end], end
            else:
                at += 1
                end = at + data[at - 1]
                if end - at > 23 and end <= len(data):
                    return data[at:end], end
            raise DecodeError("a CBOR byte string is longer than the bytes, or its head not the shortest")
        argument = first & 31
        if argument > 23:
            if argument > 27 or first > 0xDF:
                raise DecodeError("indefinite lengths, floats and reserved CBOR heads are not in use")
            if argument == 24:
                argument = data[at]
                at += 1
                shortest = argument > 23
            elif argument == 25:
                argument = data[at] << 8 | data[at + 1]
                at += 2
                shortest = argument > 0xFF
            else:
                size = 4 if argument == 26 else 8
                smallest = 0x10000 if argument == 26 else 0x100000000
                # The last byte is looked at, so that a head which ends too early is found.
                argument = int.from_bytes(data[at : at + size - 1], "big") << 8 | data[at + size - 1]
                at += size
                shortest = argument >= smallest
            if not shortest:
                raise DecodeError("a CBOR head is not in its shortest form")
    except IndexError:
        raise DecodeError("a CBOR item was expected, the bytes end")
    if first < 0x20:
        return argument, at
    if first < 0x40:
        return -1 - argument, at
    if first > 0xBF:
        if first < 0xE0:
            raise DecodeError("CBOR tags are not in use")
        if argument not in _SIMPLE:
            raise DecodeError("of the simple values only false, true and null are in use")
        return _SIMPLE[argument], at
    # An element takes a byte at least, so a count that lies is refused before any work is done.
    end = at + argument
    if end > len(data):
        raise DecodeError("a CBOR item claims %d bytes or elements, the bytes end" % argument)
    if first < 0x60:
        return data[at:end], end
    if first < 0x80:
        return _text(data[at:end]), end
    if depth == MAX_DEPTH:
        raise DecodeError("arrays and maps nest at most %d deep" % MAX_DEPTH)
    if first > 0x9F:
        return _map(data, at, argument, depth + 1)
    elements, at = _elements(data, at, argument, depth + 1)
    if len(elements) != argument:
        raise DecodeError("a CBOR array has %d elements, the bytes end" % argument)
    return elements, at


def _elements(data: "bytes | memoryview", at: int, most: int, depth: int) -> "tuple[list[object], int]":
    """The items from `at` on until there are `most` or the bytes end, and where the next one begins."""
    values: "list[object]" = []
    size = len(data)
    while at < size and len(values) < most:
        first = data[at]
        # What most items are costs no call: small numbers and byte strings of less than 256 bytes.
        if first < 0x18:
            values.append(first)
            at += 1
        elif 0x40 <= first < 0x58:
            end = at + first - 0x3F
            if end > size:
                raise DecodeError("a CBOR byte string claims %d bytes, the bytes end" % (first - 0x40))
            values.append(data[at + 1 : end])
            at = end
        elif first == 0x58 and at + 1 < size and 23 < data[at + 1] <= size - at - 2:
            end = at + 2 + data[at + 1]
            values.append(data[at + 2 : end])
            at = end
        elif 0x20 <= first < 0x38:
            values.append(0x1F - first)
            at += 1
        else:
            value, at = read(data, at, depth)
            values.append(value)
    return values, at


def _map(data: "bytes | memoryview", at: int, count: int, depth: int) -> "tuple[object, int]":
    entries: "dict[object, object]" = {}
    before = b""
    for _ in range(count):
        encoded_key = bytes(data[at : at + 1])
        # Refused by its head: an array or a map could not become a key of the dict.
        if encoded_key >= b"\x80":
            raise DecodeError("a map key is an integer, a byte string or a text string")
        key, end = read(data, at, depth)
        if end != at + 1:
            encoded_key = bytes(data[at:end])
        if encoded_key <= before:
            raise DecodeError("map keys stand in the order of their encoded bytes, each once")
        before = encoded_key
        if isinstance(key, memoryview):
            # A view is no key of a dict on MicroPython.
            key = bytes(key)
        entries[key], at = read(data, end, depth)
    return entries, at


def _text(raw: "bytes | memoryview") -> str:
    try:
        text = str(raw, "utf-8")
    except UnicodeError:
        raise DecodeError("a text string is not UTF-8")
    if len(text) != len(raw) and not _well_formed(text, len(raw)):
        raise DecodeError("a text string is not UTF-8")
    return text


def _utf8(text: str) -> bytes:
    try:
        raw = text.encode("utf-8")
    except UnicodeError:
        raise LocalError("a text with lone surrogates has no UTF-8")
    if len(text) != len(raw) and not _well_formed(text, len(raw)):
        raise LocalError("a text with lone surrogates has no UTF-8")
    return raw


def _well_formed(text: str, length: int) -> bool:
    """Whether `text` took `length` bytes of UTF-8 (RFC 3629).

    MicroPython checks only that lead and continuation bytes match; overlong forms, surrogates and
    numbers above U+10FFFF are found here.
    """
    for character in text:
        point = ord(character)
        if 0xD800 <= point < 0xE000 or point > 0x10FFFF:
            return False
        length -= 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
    return length == 0
