"""Deterministic CBOR: the vectors of tests/vectors/cbor, and what a vector file cannot say."""

from collections import namedtuple

from refusal import refused
from vector_file import load

from handfast.core.cbor import content, decode, decode_sequence, encode, encode_sequence, read
from handfast.core.errors import DecodeError, LocalError


def diagnostic(value: object) -> str:
    """Diagnostic notation (RFC 8949 section 8), text in ASCII; map entries in their order of 4.2.1."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        # MicroPython's b"".hex() is b"".
        return "h'" + (value.hex() or "") + "'"
    if isinstance(value, str):
        return '"' + "".join([escaped(ord(character)) for character in value]) + '"'
    if isinstance(value, list):
        return "[" + ", ".join([diagnostic(element) for element in value]) + "]"
    assert isinstance(value, dict)
    keys = sorted(value, key=encode)
    return "{" + ", ".join([diagnostic(key) + ": " + diagnostic(value[key]) for key in keys]) + "}"


def escaped(point: int) -> str:
    if point in (0x22, 0x5C):
        return "\\" + chr(point)
    if point < 0x80:
        return chr(point)
    if point < 0x10000:
        return "\\u%04x" % point
    point -= 0x10000
    return "\\u%04x\\u%04x" % (0xD800 + (point >> 10), 0xDC00 + (point & 0x3FF))


def test_every_vector_decodes_to_its_value_and_back_or_is_refused() -> None:
    accepted = rejected = 0
    for vector in load("cbor"):
        for name, encoded in vector.fields.items():
            where = vector.name + ": " + name
            if vector.expect == "success":
                value = decode(encoded)
                assert diagnostic(value) == name, where
                assert encode(value) == encoded, where
                accepted += 1
            else:
                assert vector.expect == "DecodeError", where
                refused(DecodeError, decode, encoded)
                rejected += 1
    assert accepted > 80
    assert rejected > 2 * accepted


def test_every_proper_prefix_of_an_item_is_refused() -> None:
    for vector in load("cbor"):
        if vector.expect == "success":
            for encoded in vector.fields.values():
                for length in range(len(encoded)):
                    refused(DecodeError, decode, encoded[:length])


def test_any_bytes_like_object_is_read_and_written() -> None:
    assert decode(bytearray(b"\x82\x01\x02")) == [1, 2]
    assert decode(memoryview(b"\x41\x02")) == b"\x02"
    assert encode(bytearray(b"\x02")) == b"\x41\x02"
    assert encode(memoryview(b"\x02\x03")[1:]) == b"\x41\x03"
    assert decode_sequence(memoryview(b"\x01\x02")) == [1, 2]


def test_what_is_decoded_from_a_buffer_does_not_change_with_it() -> None:
    buffer = bytearray(b"\x41\x02")
    value = decode(buffer)
    buffer[1] = 3
    assert value == b"\x02"


def test_what_is_read_in_a_view_are_views_and_the_keys_of_its_maps_are_not() -> None:
    data = encode([b"0123", {b"key": b"value", 1: "text"}])
    value, end = read(memoryview(data), 0)
    assert end == len(data) and isinstance(value[0], memoryview)
    assert value == [b"0123", {b"key": b"value", 1: "text"}]


def test_the_content_of_a_byte_string_is_found_where_it_lies() -> None:
    for size in (0, 23, 24, 255, 256, 65535, 65536):
        data = b"\x01" + encode(bytes(size)) + b"\x02"
        for source in (data, memoryview(data)):
            assert content(source, 1) == (len(data) - 1 - size, len(data) - 1)
    for wrong in ("", "00", "60", "80", "a0", "f5", "41", "58", "5817" + "00" * 23, "5900", "5f40ff", "5c"):
        refused(DecodeError, content, bytes.fromhex(wrong), 0)


def test_a_tuple_is_written_as_an_array() -> None:
    pair = namedtuple("pair", ("first", "second"))
    assert encode((1, (2,), pair(3, None))) == encode([1, [2], [3, None]])


def test_map_keys_are_sorted_whatever_their_order_in_the_dict() -> None:
    expected = bytes.fromhex("a4010220074161f66162f5")
    assert encode({1: 2, -1: 7, b"a": None, "b": True}) == expected
    assert encode({"b": True, b"a": None, -1: 7, 1: 2}) == expected


def test_a_bool_is_no_integer_and_an_integer_no_bool() -> None:
    for value, encoded in ((True, b"\xf5"), (False, b"\xf4"), (1, b"\x01"), (0, b"\x00")):
        assert encode(value) == encoded
        assert type(decode(encoded)) is type(value)


def test_a_sequence_is_its_items_one_after_another() -> None:
    assert encode_sequence() == b""
    assert encode_sequence(True, b"\x01", [2]) == b"\xf5\x41\x01\x81\x02"
    assert decode_sequence(b"") == []
    assert decode_sequence(b"\xf5\x41\x01\x81\x02") == [True, b"\x01", [2]]


def test_a_sequence_with_a_bad_or_unfinished_item_is_refused() -> None:
    for text in ("01ff", "0118", "01f90000", "4101 42 01", "82 01", "01 c001", "1affffff", "01 a2 0100 0100"):
        refused(DecodeError, decode_sequence, bytes.fromhex(text.replace(" ", "")))


def test_integers_outside_64_bits_have_no_encoding() -> None:
    for value in (1 << 64, -(1 << 64) - 1, 1 << 100):
        refused(LocalError, encode, value)
        refused(LocalError, encode, {value: 0})


def test_types_without_an_encoding_are_refused() -> None:
    for value in (1.5, 1.0, {1, 2}, object(), range(3), encode, float("nan"), [1, 2.5], {1: 2.5}):
        refused(LocalError, encode, value)
        refused(LocalError, encode_sequence, 1, value)


def test_map_keys_of_other_types_are_refused() -> None:
    for key in (True, False, None, 1.5, (1, 2)):
        refused(LocalError, encode, {key: 0})


def test_text_with_a_lone_surrogate_has_no_encoding() -> None:
    for text in (chr(0xD800), "a" + chr(0xDFFF), chr(0xDBFF) + "b"):
        refused(LocalError, encode, text)
        refused(LocalError, encode, {text: 1})


def test_values_nested_too_deeply_have_no_encoding() -> None:
    value: object = 0
    for _ in range(8):
        value = [value]
    assert decode(encode(value)) == value
    refused(LocalError, encode, [value])
    refused(LocalError, encode, {1: value})
    endless: "list[object]" = []
    endless.append(endless)
    refused(LocalError, encode, endless)


def test_no_error_text_repeats_what_was_read_or_written() -> None:
    secret = b"\x5akeykeykey"
    for encoded in (
        b"\x4a" + secret + b"\x00",
        b"\x4b" + secret,
        b"\x6a\xff" + secret[1:],
        b"\xa2\x01\x4a" + secret,
    ):
        assert "key" not in str(refused(DecodeError, decode, encoded))
    assert "key" not in str(refused(LocalError, encode, [secret, "key", 2.5]))


def test_a_message_of_five_kilobytes_survives() -> None:
    message = [b"\x01" * 8, {1: 7, 2: b"\x02" * 8, 3: -49, -1: b"\x03" * 1952}, b"\x04" * 3309, "sub"]
    encoded = encode(message)
    assert len(encoded) > 5000
    assert decode(encoded) == message
