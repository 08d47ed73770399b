"""Messages, errors and frames: one encoding each, and everything else refused."""

from refusal import refused

from handfast.core import messages
from handfast.core.cbor import encode, encode_sequence
from handfast.core.errors import DecodeError
from handfast.core.identifiers import decode_identifier, encode_identifier
from handfast.core.messages import ErrorMessage, Frame, Message1, Plaintext2, Plaintext3
from handfast.core.suites import suite

_EADS = (
    [],
    [(0, None)],
    [(0, b"")],
    [(0, b"\xe9"), (0, None), (0, None)],
    [(65280, b"gate"), (-65283, b"rootc"), (0, b"padding")],
    [(-1, None), (23, None), (24, b""), (-25, None)],
)
_BY_KID = bytes.fromhex("a10448") + b"kid-of-8"


def test_the_examples_of_rfc_9528_for_identifiers() -> None:
    for identifier, wire in (
        ("21", "21"),
        ("0d", "0d"),
        ("18", "4118"),
        ("38", "4138"),
        ("abcd", "42abcd"),
        ("ff", "41ff"),
        ("", "40"),
    ):
        assert encode(encode_identifier(bytes.fromhex(identifier))).hex() == wire
    count = 0
    for byte in range(256):
        item = encode_identifier(bytes([byte]))
        assert decode_identifier(item) == bytes([byte])
        if item != bytes([byte]):
            assert encode(item) == bytes([byte])
            count += 1
            refused(DecodeError, decode_identifier, bytes([byte]))
    assert count == 48
    for item in (24, -25, True, None, "a", [1], {}):
        refused(DecodeError, decode_identifier, item)


def test_message_1_is_read_as_it_was_written() -> None:
    for suites_i in ((-21,), (0,), (24,), (-21, -22), (6, 2, -21)):
        for c_i in (b"", b"\x00", b"\x18", b"\x37", b"8 bytes!"):
            for ead_1 in _EADS:
                message = Message1(0, suites_i, b"g_x", c_i, ead_1)
                encoded = messages.encode_message_1(message)
                assert messages.decode_message_1(encoded) == message
    assert messages.encode_message_1(Message1(0, (-21,), b"\x01", b"\x00", [])).hex() == "0034410100"


def test_a_message_1_of_another_form_is_refused() -> None:
    for items in (
        (),
        (0,),
        (0, -21, b"g_x"),
        (True, -21, b"g_x", 0),
        (b"\x00", -21, b"g_x", 0),
        (0, b"\x34", b"g_x", 0),
        (0, False, b"g_x", 0),
        (0, [], b"g_x", 0),
        (0, [-21], b"g_x", 0),
        (0, [-21, True], b"g_x", 0),
        (0, [-21, b"\x35"], b"g_x", 0),
        (0, [-21, [-22]], b"g_x", 0),
        (0, -21, "g_x", 0),
        (0, -21, 7, 0),
        (0, -21, b"g_x", 24),
        (0, -21, b"g_x", b"\x00"),
        (0, -21, b"g_x", None),
        (0, -21, b"g_x", 0, b"value without label"),
        (0, -21, b"g_x", 0, 1, b"value", b"second value"),
        (0, -21, b"g_x", 0, 1, "text"),
        (0, -21, b"g_x", 0, None),
        (0, -21, b"g_x", 0, True),
        (0, -21, b"g_x", 0, [1, b"value"]),
    ):
        refused(DecodeError, messages.decode_message_1, encode_sequence(*items))
    refused(DecodeError, messages.decode_message_1, encode([0, -21, b"g_x", 0]))


def test_a_message_is_refused_by_its_size_before_it_is_read() -> None:
    row = suite(-21)
    for limit, decode in (
        (2048, messages.decode_message_1),
        (10240, messages.decode_plaintext_2),
        (10240, messages.decode_message_3),
        (10240, messages.decode_plaintext_3),
        (1024, messages.decode_message_4),
        (1024, messages.decode_plaintext_4),
        (1024, messages.decode_error),
        (10272, messages.decode_frame),
    ):
        # Not one byte of it is CBOR, and the text speaks of the size.
        error = refused(DecodeError, decode, b"\xff" * (limit + 1))
        assert str(limit) in error.detail
    error = refused(DecodeError, messages.split_message_2, b"\xff" * 10241, row)
    assert "10240" in error.detail


def test_message_2_is_split_by_the_ciphertext_of_the_suite() -> None:
    for number, length in ((-21, 1120), (-22, 1088), (-23, 1568), (-24, 768)):
        row = suite(number)
        g_y, ciphertext_2 = b"\x47" * length, b"\x43" * 11
        message_2 = messages.encode_message_2(g_y, ciphertext_2)
        assert messages.split_message_2(message_2, row) == (g_y, ciphertext_2)
        # Ten bytes hold no PLAINTEXT_2.
        refused(DecodeError, messages.split_message_2, messages.encode_message_2(g_y, ciphertext_2[1:]), row)
        refused(DecodeError, messages.split_message_2, message_2 + b"\x40", row)
        refused(DecodeError, messages.split_message_2, encode([g_y + ciphertext_2]), row)
        refused(DecodeError, messages.split_message_2, b"", row)


def test_a_message_2_beyond_the_keystream_is_refused() -> None:
    """HKDF ends at 255 hashes (RFC 9528 appendix G is not in use)."""
    row = suite(-23)
    # A size limit of 10240 would hide it, so this row has a hash of 32 bytes.
    short = type(row)(*[-16 if name == "hash" else getattr(row, name) for name in _fields(row)])
    message_2 = messages.encode_message_2(bytes(1568), bytes(8161))
    refused(DecodeError, messages.split_message_2, message_2, short)
    message_2 = messages.encode_message_2(bytes(1568), bytes(8160))
    assert len(messages.split_message_2(message_2, short)[1]) == 8160


def test_plaintexts_are_read_as_they_were_written() -> None:
    for ead in _EADS:
        for c_r in (b"", b"\x27", b"8 bytes!"):
            plaintext_2 = Plaintext2(c_r, _BY_KID, b"signature", ead)
            encoded = messages.encode_plaintext_2(plaintext_2)
            assert messages.decode_plaintext_2(encoded) == plaintext_2
        plaintext_3 = Plaintext3(_BY_KID, b"signature", ead)
        assert messages.decode_plaintext_3(messages.encode_plaintext_3(plaintext_3)) == plaintext_3
        assert messages.decode_plaintext_4(messages.encode_plaintext_4(ead)) == ead
        assert messages.decode_ead(messages.encode_ead(ead)) == ead
    assert messages.encode_plaintext_4([]) == b""


def test_a_plaintext_of_another_form_is_refused() -> None:
    for items in (
        (),
        (b"kid-of-8",),
        (b"kid-of-8", b"7 bytes"),
        (b"kid-of-8", "signature"),
        (b"kid-of-8", None),
        ({4: b"kid-of-8"}, b"signature"),
        (True, b"signature"),
        (b"kid-of-8", b"signature", b"ead value"),
        (b"kid-of-8", b"signature", False),
    ):
        refused(DecodeError, messages.decode_plaintext_3, encode_sequence(*items))
        refused(DecodeError, messages.decode_plaintext_2, encode_sequence(b"c_r", *items))
    refused(DecodeError, messages.decode_plaintext_2, encode_sequence({}, b"kid-of-8", b"signature"))
    for data in (b"\x40", b"\xf5", b"\x60", b"\x00\x40\x40"):
        refused(DecodeError, messages.decode_plaintext_4, data)


def test_message_3_and_message_4_are_one_byte_string() -> None:
    for encode_message, decode_message in (
        (messages.encode_message_3, messages.decode_message_3),
        (messages.encode_message_4, messages.decode_message_4),
    ):
        assert decode_message(encode_message(b"ciphertext")) == b"ciphertext"
        for data in (b"", b"\x00", b"\x40\x40", encode("text"), encode([b"ciphertext"])):
            refused(DecodeError, decode_message, data)


def test_an_ead_has_a_bounded_number_of_items() -> None:
    most = [(0, None)] * 31 + [(1, b"value")]
    assert messages.decode_ead(messages.encode_ead(most)) == most
    refused(DecodeError, messages.decode_ead, messages.encode_ead(most + [(0, None)]))


def test_errors_are_read_as_they_were_written() -> None:
    for error, wire in (
        (ErrorMessage(1, "no"), "01626e6f"),
        (ErrorMessage(2, (2,)), "0202"),
        (ErrorMessage(2, (-21, -22)), "02823435"),
        (ErrorMessage(3, True), "03f5"),
        (ErrorMessage(-7, [None, {1: b""}]), "2682f6a10140"),
        (ErrorMessage(70000, 0), "1a0001117000"),
    ):
        assert messages.encode_error(error).hex() == wire
        assert messages.decode_error(bytes.fromhex(wire)) == error


def test_an_error_of_another_form_is_refused() -> None:
    for items in (
        (),
        (1,),
        (0, True),  # success is never sent (RFC 9528 section 6.1)
        (1, b"bytes"),
        (1, "text", 0),
        (2, []),
        (2, [-21]),
        (2, "suites"),
        (2, True),
        (3, False),
        (3, 1),
        (True, "text"),
        ("1", "text"),
    ):
        refused(DecodeError, messages.decode_error, encode_sequence(*items))


def test_frames_are_read_as_they_were_written() -> None:
    for frame, wire in (
        (Frame(None, b"message_1", None), "f5" + b"message_1".hex()),
        (Frame(None, b"", None), "f5"),
        (Frame(b"8 bytes!", b"\x43abc", None), "48" + b"8 bytes!".hex() + "43616263"),
        (Frame(b"\x27", b"\x43abc", None), "2743616263"),
        (Frame(b"\x18", b"\x40", None), "411840"),
        (Frame(b"\x00", None, ErrorMessage(1, "no")), "0001626e6f"),
        (Frame(b"c_i", None, ErrorMessage(2, (-21, -22))), "43635f6902823435"),
    ):
        assert messages.encode_frame(frame).hex() == wire
        assert messages.decode_frame(bytes.fromhex(wire)) == frame


def test_a_frame_of_another_form_is_refused() -> None:
    for items in (
        (),
        (0,),
        (b"c_x", 1),
        (b"c_x", "text"),
        (b"c_x", b"message", b"more"),
        (b"c_x", 1, b"bytes"),
        (b"c_x", 1, "text", 1),
        (b"c_x", 1, "x" * 1024),
        (b"\x00", b"message"),
        (24, b"message"),
        (False, b"message"),
        (None, b"message"),
        ([b"sid", 0, 2, b"sha", b"fragment"],),
    ):
        refused(DecodeError, messages.decode_frame, encode_sequence(*items))


def _fields(row: object) -> "list[str]":
    return [
        "number",
        "aead",
        "hash",
        "mac_length",
        "kem",
        "signature",
        "app_aead",
        "app_hash",
        "record_aead",
        "mandatory_items",
    ]
