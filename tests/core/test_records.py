"""One sealed record: the vectors of tests/vectors/records, every wrong byte, and the limits."""

from host_crypto import crypto
from refusal import refused
from vector_file import Vector, load, load_file

from handfast.core import cbor
from handfast.core.errors import AuthenticationError, DecodeError, LocalError, PeerError
from handfast.core.records import MAX_PIV, RecordKeys, decode_header
from handfast.core.root_key import record_keys
from handfast.core.suites import SUITES

DEVICE_ID = b"device-1"


class Watched:
    """A Crypto port that keeps what the AEAD was given."""

    def __init__(self) -> None:
        self.kmac256 = crypto.kmac256
        self.hmac = crypto.hmac
        self.calls: "list[tuple[int, bytes, bytes, bytes]]" = []

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        self.calls.append((algorithm, key, nonce, aad))
        return crypto.seal(algorithm, key, nonce, aad, plaintext)

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        self.calls.append((algorithm, key, nonce, aad))
        return crypto.open(algorithm, key, nonce, aad, ciphertext)


def number(vector: Vector, name: str) -> int:
    return int(vector.fields[name].decode())


def keys(
    suite: int, secret: bytes, epoch: int, sender: bytes, device_id: bytes = DEVICE_ID, port: object = crypto
) -> RecordKeys:
    key, civ = record_keys(crypto, suite, secret, sender)
    return RecordKeys(port, suite, device_id, epoch, sender, key, civ)


def secret(suite: int) -> bytes:
    return b"\x2a" * (48 if suite == -23 else 64)


def test_every_record_of_the_vectors_is_sealed_and_opened() -> None:
    count = 0
    for vector in load("records"):
        if vector.expect != "success":
            continue
        fields, port = vector.fields, Watched()
        record = fields["record"]
        made = keys(
            number(vector, "suite"),
            fields["traffic_secret"],
            number(vector, "epoch"),
            fields["sender"],
            fields["device_id"],
            port,
        )
        piv, channel = number(vector, "piv"), number(vector, "channel")
        assert (made.key, made.civ) == (fields["key"], fields["civ"]), vector.name
        assert made.seal(piv, channel, fields["plaintext"]) == record, vector.name
        header = decode_header(record)
        named = (header.sender, header.piv, header.epoch)
        assert named == (fields["sender"], piv, number(vector, "epoch")), vector.name
        assert made.open(header, record, channel) == fields["plaintext"], vector.name
        sealed, opened = port.calls
        assert sealed == opened == (header.algorithm, fields["key"], fields["nonce"], fields["aad"]), (
            vector.name
        )
        count += 1
    assert count >= 8


def test_every_forged_record_of_the_vectors_is_refused() -> None:
    count = 0
    for vector in load("records"):
        if vector.expect != "AuthenticationError":
            continue
        fields = vector.fields
        header = decode_header(fields["record"])
        made = keys(
            number(vector, "suite"),
            fields["traffic_secret"],
            header.epoch,
            header.sender,
            fields["device_id"],
        )
        refused(AuthenticationError, made.open, header, fields["record"], number(vector, "channel"))
        count += 1
    assert count >= 8


def test_whatever_is_not_the_encoding_of_a_record_is_refused() -> None:
    fields = load_file("records", "not_a_record.txt").fields
    for name in fields:
        error = refused(DecodeError, decode_header, fields[name])
        assert str(error), name


def test_a_record_is_deterministic_cbor_with_exactly_these_headers() -> None:
    for suite in SUITES:
        made = keys(suite, secret(suite), 300, b"\x01")
        for piv in (0, 255, 256, 65535, 65536, (1 << 24) - 1, 1 << 24, (1 << 32) - 1, 1 << 32, MAX_PIV):
            for size in (0, 7, 8, 239, 240, 300):
                record = made.seal(piv, 1, bytes(size))
                protected, headers, ciphertext = cbor.decode(record)
                assert cbor.decode(protected) == {1: SUITES[suite].record_aead}
                shortest = piv.to_bytes(5, "big")
                while len(shortest) > 1 and shortest[0] == 0:
                    shortest = shortest[1:]
                assert headers == {4: b"\x01", 6: shortest, 10: b"\x01\x2c"}
                header = decode_header(record)
                assert (header.piv, header.epoch, header.sender) == (piv, 300, b"\x01")
                assert record[header.start :] == ciphertext
                assert len(ciphertext) == size + 16


def test_a_record_is_35_or_36_bytes_longer_than_its_plaintext() -> None:
    made = keys(-21, secret(-21), 1, b"\x00")
    assert len(made.seal(7, 1, bytes(100))) == 135
    assert len(made.seal(700, 1, bytes(100))) == 136


def test_keys_of_another_direction_or_epoch_are_refused() -> None:
    made = keys(-21, secret(-21), 1, b"\x00")
    for epoch, sender in ((1, b"\x01"), (2, b"\x00")):
        record = keys(-21, secret(-21), epoch, sender).seal(0, 1, b"21.5 C")
        refused(AuthenticationError, made.open, decode_header(record), record, 1)


def test_no_suite_seals_with_a_short_tag() -> None:
    for suite in SUITES:
        assert keys(suite, secret(suite), 1, b"\x00").algorithm in (3, 30, 31)


def test_one_wrong_bit_anywhere_is_refused() -> None:
    made = keys(-21, secret(-21), 1, b"\x00")
    record = made.seal(300, 1, b"21.5 C")
    for index in range(len(record)):
        for bit in (1, 0x10, 0x80):
            wrong = record[:index] + bytes([record[index] ^ bit]) + record[index + 1 :]
            try:
                made.open(decode_header(wrong), wrong, 1)
            except PeerError:
                continue
            raise AssertionError("bit %d of byte %d was not noticed" % (bit, index))


def test_a_cut_record_is_refused_at_every_length() -> None:
    record = keys(-23, secret(-23), 1, b"\x00").seal(300, 1, bytes(300))
    for end in range(len(record)):
        refused(DecodeError, decode_header, record[:end])


def test_an_aead_that_this_epoch_does_not_use_is_refused() -> None:
    record = keys(-24, secret(-24), 1, b"\x00").seal(0, 1, b"21.5 C")
    other = keys(-21, secret(-21), 1, b"\x00")
    refused(AuthenticationError, other.open, decode_header(record), record, 1)


def test_a_nonce_never_comes_twice_under_one_secret() -> None:
    port = Watched()
    for sender in (b"\x00", b"\x01"):
        made = keys(-21, secret(-21), 1, sender, DEVICE_ID, port)
        for piv in (0, 1, 255, 256, 65536, 1 << 24, 1 << 32, MAX_PIV):
            made.seal(piv, 1, b"")
    assert len({(key, nonce) for _, key, nonce, _ in port.calls}) == 16
    assert len({nonce for _, _, nonce, _ in port.calls}) == 16


def test_65000_bytes_fit_and_one_more_is_our_callers_fault() -> None:
    made = keys(-24, secret(-24), 1, b"\x00")
    record = made.seal(0, 4, bytes(65000))
    assert made.open(decode_header(record), record, 4) == bytes(65000)
    refused(LocalError, made.seal, 1, 4, bytes(65001))


def test_numbers_end_after_five_bytes() -> None:
    made = keys(-21, secret(-21), 1, b"\x00")
    made.seal(MAX_PIV, 1, b"")
    refused(LocalError, made.seal, MAX_PIV + 1, 1, b"")
