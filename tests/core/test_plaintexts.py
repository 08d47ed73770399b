"""What stands inside records: channels 0, 2 and 3."""

from refusal import refused

from handfast.core import cbor, plaintexts
from handfast.core.errors import DecodeError

ATTEMPT = bytes(range(16))
CONTROLS = ((0, ATTEMPT), (1, ATTEMPT), (2, None), (3, None), (4, "lost"), (4, ""), (4, "x" * 128))


def test_every_control_record_comes_back() -> None:
    for kind, value in CONTROLS:
        plaintext = plaintexts.encode_control(kind, value)
        assert plaintexts.decode_control(plaintext) == (kind, value)
    assert plaintexts.encode_control(2) == b"\x81\x02"
    assert plaintexts.encode_control(0, ATTEMPT) == b"\x82\x00\x50" + ATTEMPT


def test_any_other_control_record_is_refused() -> None:
    long_attempt, text = ATTEMPT + b"\x00", "0123456789abcdef"
    for item in (
        None, 0, [], {}, b"", "fin", [0], [0, None], [0, ATTEMPT[1:]], [0, ATTEMPT, 0], [0, text], [1],
        [1, long_attempt], [2, None], [2, ATTEMPT], [3, 0], [4], [4, b"lost"], [4, "x" * 129], [4, None], [5],
        [-1], [True], [False, ATTEMPT], [[0], ATTEMPT],
    ):  # fmt: skip
        refused(DecodeError, plaintexts.decode_control, cbor.encode(item))
    for plaintext in (b"", b"\x82\x00", b"\x81\x02\x00", b"\x81\x18\x02"):
        refused(DecodeError, plaintexts.decode_control, plaintext)


def test_a_request_comes_back_and_may_get_more_fields() -> None:
    for data in (b"", b"open", bytes(1000)):
        assert plaintexts.decode_request(plaintexts.encode_request(data)) == data
    assert plaintexts.encode_request(b"open") == b"\x82\xa0\x44open"
    assert plaintexts.decode_request(cbor.encode([{7: "later"}, b"open"])) == b"open"


def test_any_other_request_is_refused() -> None:
    for item in (b"open", [b"open"], [{}], [{}, "open"], [[], b"open"], [{}, b"open", 0], None):
        refused(DecodeError, plaintexts.decode_request, cbor.encode(item))


def test_a_response_names_its_request() -> None:
    plaintext = plaintexts.encode_response(3, 700, plaintexts.STATUS_DONE, b"ok")
    assert plaintext == b"\x83\x82\x03\x19\x02\xbc\x00\x42ok"
    assert plaintexts.decode_response(plaintext) == (3, 700, 0, b"ok")


def test_any_other_response_is_refused() -> None:
    for item in (
        None, [], [[3, 7], 0], [[3], 0, b""], [[3, 7, 1], 0, b""], [[3, -1], 0, b""], [[-3, 7], 0, b""],
        [[3, 7], -1, b""], [[3, 7], 0, "ok"], [[True, 7], 0, b""], [[3, 7], False, b""], [3, 0, b""],
        [[3, 7], 0, b"", 1], [[1 << 16, 7], 0, b""], [[3, 1 << 40], 0, b""], [[3, 7], 1 << 31, b""],
    ):  # fmt: skip
        refused(DecodeError, plaintexts.decode_response, cbor.encode(item))
