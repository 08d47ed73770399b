"""Fragments and frames: every order, loss, repetition and damage, in memory."""

import hashlib

from refusal import refused

from handfast.core.cbor import decode, encode
from handfast.core.errors import DecodeError, LocalError
from handfast.core.frames import FrameReader, Reassembly, delimit, fragment, is_fragment

SID = bytes(range(8))
OTHER_SID = bytes(range(8, 16))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def payload(length: int) -> bytes:
    return bytes([(7 * index + index // 256) & 255 for index in range(length)])


def parts(data: bytes, limit: int = 512, sid: bytes = SID) -> "list[bytes]":
    return fragment(data, limit, sid, sha256)


def altered(part: bytes, position: int, value: object) -> bytes:
    """The fragment `part` with another value in its array of five."""
    fields = decode(part)
    assert isinstance(fields, list)
    fields[position] = value
    return encode(fields)


def test_a_payload_that_fits_is_not_fragmented() -> None:
    assert parts(payload(512)) == [payload(512)]
    assert not is_fragment(encode(True) + encode(b"message"))
    assert Reassembly(sha256).receive(b"\xf5\x01", 0.0) == b"\xf5\x01"
    assert Reassembly(sha256).receive(b"", 0.0) == b""


def test_a_fragment_is_the_array_that_the_protocol_says() -> None:
    data = payload(1000)
    first, second, third = parts(data)
    assert decode(first) == [SID, 0, 3, sha256(data), data[:463]]
    assert decode(second) == [SID, 1, 3, sha256(data), data[463:926]]
    assert decode(third) == [SID, 2, 3, sha256(data), data[926:]]
    assert is_fragment(first)


def test_no_fragment_is_longer_than_the_packet_limit() -> None:
    for limit in (72, 73, 128, 305, 306, 1024, 4096):
        for length in (limit + 1, 2 * limit, min(16384, 16 * (limit - 49))):
            fragments = parts(payload(length), limit)
            assert 2 <= len(fragments) <= 16
            assert max([len(part) for part in fragments]) <= limit


def test_what_needs_more_than_16_fragments_is_not_sent() -> None:
    assert len(parts(payload(16 * 463))) == 16
    refused(LocalError, parts, payload(16 * 463 + 1))
    refused(LocalError, parts, payload(100), 49)
    refused(LocalError, parts, payload(100), 0)


def test_what_is_longer_than_16_kilobytes_is_not_sent() -> None:
    assert len(parts(payload(16384), 8192)) == 3
    refused(LocalError, parts, payload(16385), 8192)


def test_a_sid_has_8_bytes() -> None:
    refused(LocalError, parts, payload(600), 512, bytes(7))


def test_fragments_are_put_together_in_any_order_and_repeated() -> None:
    data = payload(1500)
    fragments = parts(data)
    orders = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (0, 0, 1, 1, 2, 2, 3), (3, 0, 3, 0, 2, 3, 1))
    for order in orders:
        reassembly = Reassembly(sha256)
        for index in order[:-1]:
            assert reassembly.receive(fragments[index], 0.0) is None
        assert reassembly.receive(fragments[order[-1]], 0.0) == data
        assert reassembly.timer() is None


def test_with_one_fragment_lost_nothing_is_given() -> None:
    fragments = parts(payload(1500))
    for lost in range(4):
        reassembly = Reassembly(sha256)
        for index in range(4):
            if index != lost:
                assert reassembly.receive(fragments[index], 0.0) is None


def test_the_same_fragments_sent_again_complete_again() -> None:
    data = payload(700)
    first, second = parts(data)
    reassembly = Reassembly(sha256)
    for _ in range(3):
        assert reassembly.receive(first, 0.0) is None
        assert reassembly.receive(second, 1.0) == data


def test_a_late_duplicate_of_a_complete_payload_does_not_block_the_next_one() -> None:
    reassembly = Reassembly(sha256)
    first, second = parts(payload(700))
    reassembly.receive(first, 0.0)
    reassembly.receive(second, 0.0)
    assert reassembly.receive(second, 1.0) is None
    following = payload(800)
    third, fourth = parts(following, sid=OTHER_SID)
    assert reassembly.receive(third, 2.0) is None
    assert reassembly.receive(first, 2.0) is None
    assert reassembly.receive(fourth, 2.0) == following


def test_fragments_of_another_payload_do_not_push_out_the_one_under_way() -> None:
    data = payload(700)
    first, second = parts(data)
    reassembly = Reassembly(sha256)
    assert reassembly.receive(first, 0.0) is None
    for other in (
        parts(payload(700), sid=OTHER_SID)[0],
        parts(payload(701))[0],
        altered(second, 2, 3),
        altered(second, 3, bytes(32)),
    ):
        assert reassembly.receive(other, 1.0) is None
    assert reassembly.receive(second, 2.0) == data


def test_the_first_of_two_different_fragments_counts() -> None:
    data = payload(700)
    first, second = parts(data)
    reassembly = Reassembly(sha256)
    reassembly.receive(first, 0.0)
    assert reassembly.receive(altered(first, 4, b"other"), 0.0) is None
    assert reassembly.receive(second, 0.0) == data


def test_a_payload_with_another_hash_is_dropped_and_can_be_sent_again() -> None:
    data = payload(700)
    first, second = parts(data)
    reassembly = Reassembly(sha256)
    assert reassembly.receive(altered(first, 4, b"forged"), 0.0) is None
    refused(DecodeError, reassembly.receive, second, 0.0)
    assert reassembly.timer() is None
    assert reassembly.receive(first, 0.0) is None
    assert reassembly.receive(second, 0.0) == data


def test_after_thirty_seconds_an_unfinished_payload_is_forgotten() -> None:
    data = payload(700)
    first, second = parts(data)
    reassembly = Reassembly(sha256)
    assert reassembly.receive(first, 100.0) is None
    assert reassembly.timer() == 130.0
    reassembly.handle_timer(129.9)
    assert reassembly.timer() == 130.0
    assert reassembly.receive(second, 130.0) is None
    assert reassembly.receive(first, 131.0) == data
    reassembly.receive(first, 200.0)
    reassembly.handle_timer(230.0)
    assert reassembly.timer() is None


def test_after_thirty_seconds_another_payload_takes_the_place() -> None:
    other = payload(800)
    third, fourth = parts(other, sid=OTHER_SID)
    reassembly = Reassembly(sha256)
    reassembly.receive(parts(payload(700))[0], 0.0)
    assert reassembly.receive(third, 30.0) is None
    assert reassembly.receive(fourth, 30.0) == other


def test_fragments_cannot_grow_beyond_16_kilobytes() -> None:
    reassembly = Reassembly(sha256)
    for index in (0, 1):
        assert reassembly.receive(encode([SID, index, 4, bytes(32), bytes(8192)]), 0.0) is None
    refused(DecodeError, reassembly.receive, encode([SID, 2, 4, bytes(32), b"\x00"]), 0.0)
    refused(DecodeError, Reassembly(sha256).receive, encode([SID, 0, 2, bytes(32), bytes(16385)]), 0.0)
    refused(DecodeError, Reassembly(sha256).receive, encode([SID, 0, 2, bytes(32), bytes(70000)]), 0.0)


def test_malformed_fragments_are_refused_and_leave_the_good_ones_alone() -> None:
    data = payload(700)
    first, second = parts(data)
    reassembly = Reassembly(sha256)
    reassembly.receive(first, 0.0)
    for position, values in (
        (0, (bytes(7), bytes(9), "01234567", 0, None)),
        (1, (-1, 2, 16, True, None, b"\x00", 1 << 32)),
        (2, (0, 1, 17, -2, True, None, 1 << 32)),
        (3, (bytes(31), bytes(33), b"", "", None)),
        (4, (b"", "text", None, 0, [])),
    ):
        for value in values:
            refused(DecodeError, reassembly.receive, altered(second, position, value), 0.0)
    for text in (second[:-1], second + b"\x00", b"\x85", b"\x85\x00", b"\x85\x00\x01\x02\x03\x04"):
        refused(DecodeError, reassembly.receive, text, 0.0)
    refused(DecodeError, reassembly.receive, encode([SID, 0, 1, sha256(b"whole"), b"whole"]), 0.0)
    assert reassembly.receive(second, 0.0) == data


LENGTHS = (0, 1, 2, 249, 250, 251, 253, 254, 255, 256, 504, 505, 508, 509, 5000)


def contents(length: int) -> "tuple[bytes, ...]":
    return bytes(length), b"\x01" * length, b"\xff" * length, payload(length), payload(length) + b"\x00"


def test_a_frame_has_no_zero_inside_and_is_read_back() -> None:
    for length in LENGTHS:
        for data in contents(length):
            frame = delimit(data)
            assert frame[0] == 0
            assert frame[-1] == 0
            assert b"\x00" not in frame[1:-1]
            assert len(frame) <= len(data) + 7 + (len(data) + 4) // 254
            reader = FrameReader()
            assert reader.receive(frame) == [data]
            assert reader.dropped == 0


def test_a_frame_is_spelled_as_the_docstring_says() -> None:
    # The CRC-32 of "123456789" is the check value of its catalogue entry.
    assert delimit(b"123456789") == b"\x00\x0e123456789\xcb\xf4\x39\x26\x00"
    assert delimit(b"1\x00") == b"\x00\x021\x05\x87\x84\x15\x4d\x00"
    assert delimit(b"") == b"\x00\x01\x01\x01\x01\x01\x00"


def test_frames_are_read_however_the_stream_is_cut() -> None:
    sent = [payload(300), b"", b"\x00", b"\x00" * 20, b"last"]
    stream = b"".join([delimit(data) for data in sent])
    for size in (1, 2, 3, 7, 100, len(stream)):
        reader = FrameReader()
        got = []
        for at in range(0, len(stream), size):
            got += reader.receive(stream[at : at + size])
        assert got == sent
        assert reader.dropped == 0


def test_after_garbage_the_next_frame_is_read() -> None:
    frame = delimit(payload(300))
    for garbage in (b"\xff", b"\x05abc", b"noise on the line", payload(300)[1:], frame[:100], frame[100:-1]):
        reader = FrameReader()
        got = reader.receive(garbage) + reader.receive(frame)
        assert got == [payload(300)]
        assert reader.dropped > 0


def test_a_damaged_frame_is_dropped_and_the_ones_beside_it_are_not() -> None:
    before, frame, after = delimit(b"before"), delimit(payload(20)), delimit(b"after")
    for at in range(1, len(frame) - 1):
        for bit in (1, 16, 128):
            damaged = frame[:at] + bytes((frame[at] ^ bit,)) + frame[at + 1 :]
            reader = FrameReader()
            assert reader.receive(before + damaged + after) == [b"before", b"after"]
            assert reader.dropped >= 1


def test_a_lost_byte_costs_no_more_than_two_frames() -> None:
    stream = delimit(b"first") + delimit(payload(20)) + delimit(b"third")
    for at in range(len(stream)):
        got = FrameReader().receive(stream[:at] + stream[at + 1 :])
        assert len([data for data in (b"first", payload(20), b"third") if data in got]) >= 2


def test_a_stream_without_an_end_of_frame_fills_no_memory() -> None:
    reader = FrameReader(limit=100)
    for _ in range(1000):
        assert reader.receive(b"\x01" * 50) == []
    assert reader.dropped == 1
    assert reader.receive(delimit(payload(100))) == [payload(100)]
    assert reader.receive(delimit(payload(102))) == []
    assert reader.receive(delimit(payload(99))) == [payload(99)]
    assert reader.dropped == 2


def test_the_longest_frame_of_a_limit_is_read_whatever_is_in_it() -> None:
    for limit in (1, 100, 249, 250, 251, 504, 505):
        for data in (bytes(limit), b"\x01" * limit, payload(limit)):
            assert FrameReader(limit).receive(delimit(data)) == [data]


def test_what_is_longer_than_a_frame_may_be_is_not_written() -> None:
    assert len(delimit(bytes(65536))) == 65536 + 4 + 3
    refused(LocalError, delimit, bytes(65537))
