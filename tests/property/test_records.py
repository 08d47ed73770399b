"""Records: any bytes give only our errors, the bytes are those of other libraries, each arrives once."""

from collections.abc import Callable

import cbor2
import pytest
from Crypto.Cipher import AES
from host_crypto import crypto
from hypothesis import example, given
from hypothesis import strategies as st
from joined import DEVICE_ID, Device, active
from vector_file import load

from handfast.core import cbor, device_session, plaintexts, stored_session
from handfast.core.errors import DecodeError, LocalError, PeerError
from handfast.core.records import MAX_PIV, RecordKeys, decode_header
from handfast.core.replay import FRESH, accept, check, decode_window, encode_window
from handfast.core.root_key import record_keys
from handfast.core.suites import SUITES
from handfast.core.topics import CONTROL, RESPONSE, TELEMETRY

RECORDS = [vector.fields["record"] for vector in load("records") if "record" in vector.fields]

pivs = st.integers(0, 300) | st.integers(0, MAX_PIV)
channels = st.integers(0, 5)


def changed(record: bytes, edits: list[tuple[int, int, int]]) -> bytes:
    """`record` with bytes cut out, put in or replaced."""
    for place, kind, byte in edits:
        at = place % (len(record) + 1)
        record = record[:at] + (b"", bytes([byte]), bytes([byte]))[kind] + record[at + (1, 0, 1)[kind] :]
    return record


edits = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 2), st.integers(0, 255)), max_size=4)
almost = st.builds(changed, st.sampled_from(RECORDS), edits)


def is_record(data: bytes) -> bool:
    """Whether `data` is a record, judged by the strict CBOR decoder."""
    try:
        item = cbor.decode(data)
    except DecodeError:
        return False
    if not (isinstance(item, list) and len(item) == 3 and isinstance(item[0], bytes)):
        return False
    headers = item[1]
    if item[0] not in [cbor.encode({1: number}) for number in (3, 30, 31)] or not isinstance(headers, dict):
        return False
    if set(headers) != {4, 6, 10} or not all(isinstance(value, bytes) for value in headers.values()):
        return False
    piv = headers[6]
    shortest = 1 <= len(piv) <= 5 and (len(piv) == 1 or piv[0] != 0)
    named = headers[4] in (b"\x00", b"\x01") and len(headers[10]) == 2
    return shortest and named and isinstance(item[2], bytes) and 16 <= len(item[2]) <= 0xFFFF


@given(st.binary(max_size=80) | almost)
@example(b"")
def test_a_header_is_read_exactly_when_the_cbor_decoder_sees_a_record(data: bytes) -> None:
    try:
        header = decode_header(data)
    except DecodeError:
        assert not is_record(data)
        return
    assert is_record(data)
    protected, headers, ciphertext = cbor2.loads(data)
    assert cbor2.loads(protected) == {1: header.algorithm}
    assert headers[4] == header.sender and int.from_bytes(headers[6], "big") == header.piv
    assert int.from_bytes(headers[10], "big") == header.epoch
    assert data[header.start :] == ciphertext


def by_others(suite: int, keys: RecordKeys, piv: int, channel: int, plaintext: bytes) -> bytes:
    """The record by cbor2 and PyCryptodome, written down from the specification."""
    algorithm = SUITES[suite].record_aead
    length = 12 if algorithm == 3 else 13
    partial_iv = piv.to_bytes(max(1, (piv.bit_length() + 7) // 8), "big")
    sender = keys.sender
    flat = bytes([len(sender)]) + sender.rjust(length - 6, b"\x00") + partial_iv.rjust(5, b"\x00")
    nonce = bytes(left ^ right for left, right in zip(flat, keys.civ, strict=True))
    protected = cbor2.dumps({1: algorithm})
    external = cbor2.dumps(["handfast-rec-1", DEVICE_ID, keys.epoch, sender, partial_iv, channel])
    aad = cbor2.dumps(["Encrypt0", protected, external])
    if algorithm == 3:
        cipher = AES.new(keys.key, AES.MODE_GCM, nonce=nonce)
    else:
        cipher = AES.new(keys.key, AES.MODE_CCM, nonce=nonce, mac_len=16)
    cipher.update(aad)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    headers = {4: sender, 6: partial_iv, 10: keys.epoch.to_bytes(2, "big")}
    return cbor2.dumps([protected, headers, ciphertext + tag], canonical=True)


@given(
    st.sampled_from(sorted(SUITES)),
    st.integers(0, 65535),
    st.sampled_from([b"\x00", b"\x01"]),
    pivs,
    channels,
    st.binary(max_size=300),
)
def test_a_record_has_the_bytes_that_other_libraries_give_it(
    suite: int, epoch: int, sender: bytes, piv: int, channel: int, plaintext: bytes
) -> None:
    key, civ = record_keys(crypto, suite, b"\x2a" * 64, sender)
    keys = RecordKeys(crypto, suite, DEVICE_ID, epoch, sender, key, civ)
    record = keys.seal(piv, channel, plaintext)
    assert record == by_others(suite, keys, piv, channel, plaintext)
    header = decode_header(record)
    assert keys.open(header, record, channel) == plaintext
    for other in range(6):
        if other != channel:
            with pytest.raises(PeerError):
                keys.open(header, record, other)


READERS: list[Callable[[bytes], object]] = [
    plaintexts.decode_control,
    plaintexts.decode_request,
    plaintexts.decode_response,
    decode_window,
    stored_session.decode_stored,
    lambda data: device_session.resume(crypto, data, 0.0),
]
items = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.binary(max_size=17) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.integers(0, 5), inner, max_size=3),
    max_leaves=20,
)
stored = st.tuples(
    st.just(1),
    st.sampled_from([-21, -24, 0, 99]),
    st.binary(max_size=9),
    st.binary(max_size=17),
    st.binary(max_size=65),
    st.integers(-1, 65536),
    st.binary(max_size=65),
    st.integers(-1, MAX_PIV + 1),
    st.booleans(),
    st.booleans(),
    st.none() | st.text(max_size=4),
)


@given(st.binary(max_size=60) | items.map(cbor.encode) | stored.map(cbor.encode))
def test_whatever_is_read_gives_a_value_or_our_error(data: bytes) -> None:
    for read in READERS:
        try:
            read(data)
        except DecodeError:
            pass


@given(st.binary(max_size=80) | almost, channels)
def test_any_bytes_leave_both_sides_as_they_were(data: bytes, channel: int) -> None:
    device, hub = active(crypto)
    before = hub.ring
    for receive in (hub.receive, device.session.receive):
        with pytest.raises(PeerError):
            receive(channel, data, 1.0)
    assert hub.ring == before
    assert device.session.next_event() is None and device.session.epoch == 0


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 5]), st.integers(0, 200)), min_size=1, max_size=120)
)
def test_a_window_never_accepts_a_number_twice_and_keeps_order_where_it_must(
    numbers: list[tuple[int, int]],
) -> None:
    window, seen = FRESH, set()
    last = dict.fromkeys((0, 2, 4), -1)
    for channel, number in numbers:
        try:
            check(window, number, channel)
        except PeerError:
            old = seen and number <= max(seen) - 64
            assert number in seen or old or number <= last.get(channel, -1)
            continue
        assert number not in seen and number > last.get(channel, -1)
        window = decode_window(encode_window(accept(window, number, channel)))
        seen.add(number)
        if channel in last:
            last[channel] = number


@given(st.lists(st.integers(0, 39), max_size=150), st.data())
def test_what_a_device_sends_is_delivered_at_most_once_and_in_time_at_least_once(
    order: list[int], data: st.DataObject
) -> None:
    device, hub = active(crypto)
    for number in range(40):
        device.session.send(TELEMETRY, b"%d" % number, 1.0)
    frames = device.frames(1.0)
    for place in order:
        try:
            hub.receive(*frames[place], now=1.0)
        except PeerError:
            assert (TELEMETRY, b"%d" % place) in hub.delivered
    delivered = [plaintext for channel, plaintext in hub.delivered if channel == TELEMETRY]
    assert len(set(delivered)) == len(delivered)
    # 40 records fit into the window, so every one that came at all was delivered.
    assert {int(plaintext) for plaintext in delivered} == set(order)


@given(st.integers(0, MAX_PIV), st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=40))
def test_a_response_comes_back(piv: int, epoch: int, status: int, data: bytes) -> None:
    plaintext = plaintexts.encode_response(epoch, piv, status, data)
    assert plaintexts.decode_response(plaintext) == (epoch, piv, status, data)
    assert cbor2.loads(plaintext) == [[epoch, piv], status, data]


@given(st.integers(-10, 10) | st.integers(MAX_PIV, 2**64))
def test_only_the_three_channels_of_applications_take_their_data(channel: int) -> None:
    device = Device(crypto)
    if channel in (1, 4, 5):
        assert device.session.send(channel, b"", 0.0) == (0, 1)
    else:
        with pytest.raises(LocalError):
            device.session.send(channel, b"", 0.0)
    assert CONTROL not in (1, 4, 5) and RESPONSE not in (1, 4, 5)
