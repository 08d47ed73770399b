"""EAD items word by word: which label in which message, critical or not, how often, and with what inside."""

from refusal import refused

from handfast.core import cbor, ead
from handfast.core.constants import MAX_DEVINFO
from handfast.core.errors import DecodeError, LocalError

ATTEMPT, R_D, R_H = b"a" * 16, b"d" * 32, b"h" * 32
GATE = (65280, cbor.encode([1, 0, 0, b"m" * 16, None]))
TOKEN_ITEM = (-65281, cbor.encode([1, b"token-id", b"p" * 32]))
DEVINFO = (65282, cbor.encode({0: "1.0"}))
ROOTC = (-65283, cbor.encode([1, ATTEMPT, None, R_D]))
ROOTR = (-65284, cbor.encode([1, ATTEMPT, R_H, b"device-1", 7, {}]))
STATUS = (-65287, cbor.encode([1, 2, 60]))
# Each item, and the only message that may carry it.
ITEMS = ((GATE, 1), (TOKEN_ITEM, 3), (DEVINFO, 3), (ROOTC, 3), (ROOTR, 4), (STATUS, 4))
# RFC 9528 reserves these patterns for nobody; draft-ietf-lake-edhoc-grease sends such ones on purpose.
GREASE = (160, 41120, 43690, 65279, 65288, 65535)


def test_each_item_is_known_in_its_own_message_alone() -> None:
    for item, home in ITEMS:
        for message in (1, 2, 3, 4):
            if message == home:
                assert list(ead.read_items(message, [item])) == [abs(item[0])]
            elif item[0] < 0:
                refused(DecodeError, ead.read_items, message, [item])
            else:
                assert ead.read_items(message, [item]) == {}


def test_an_item_with_the_other_sign_is_refused_at_home() -> None:
    for item, home in ITEMS:
        refused(DecodeError, ead.read_items, home, [(-item[0], item[1])])


def test_a_label_occurs_once_whatever_its_sign() -> None:
    for item, home in ITEMS:
        refused(DecodeError, ead.read_items, home, [item, item])
        refused(DecodeError, ead.read_items, home, [item, (-item[0], item[1])])
        refused(DecodeError, ead.read_items, home, [item, (GREASE[0], None), item])
    for label in GREASE:
        refused(DecodeError, ead.read_items, 3, [(label, None), ROOTC, (label, b"x")])


def test_padding_may_come_any_number_of_times_and_anywhere() -> None:
    padding = [(0, None), (0, b""), (0, bytes(200))]
    for item, home in ITEMS:
        assert ead.read_items(home, padding + [item] + padding) == ead.read_items(home, [item])


def test_unknown_items_are_ignored_unless_they_are_critical() -> None:
    for message in (1, 2, 3, 4):
        for label in GREASE:
            for value in (None, b"", b"\xff" * 20):
                assert ead.read_items(message, [(label, value)]) == {}
                refused(DecodeError, ead.read_items, message, [(-label, value)])


def test_an_item_of_ours_needs_its_value() -> None:
    for item, home in ITEMS:
        refused(DecodeError, ead.read_items, home, [(item[0], None)])
        refused(DecodeError, ead.read_items, home, [(item[0], b"")])
        refused(DecodeError, ead.read_items, home, [(item[0], item[1] + b"\x00")])
        refused(DecodeError, ead.read_items, home, [(item[0], item[1][:-1])])


def test_every_field_of_every_item_has_its_type_length_and_range() -> None:
    mac, pop = b"m" * 16, b"p" * 32
    wrong = (
        (GATE[0], 1, [1, 0, 0, mac]),
        (GATE[0], 1, [1, 0, 0, mac, None, None]),
        (GATE[0], 1, {1: 0}),
        (GATE[0], 1, [2, 0, 0, mac, None]),
        (GATE[0], 1, [True, 0, 0, mac, None]),
        (GATE[0], 1, [1, 2, 0, mac, None]),
        (GATE[0], 1, [1, -1, 0, mac, None]),
        (GATE[0], 1, [1, False, 0, mac, None]),
        (GATE[0], 1, [1, 0, 2, mac, None]),
        (GATE[0], 1, [1, 0, True, mac, None]),
        (GATE[0], 1, [1, 0, 0, mac[1:], None]),
        (GATE[0], 1, [1, 0, 0, "m" * 16, None]),
        (GATE[0], 1, [1, 0, 0, mac, b"token-id"]),
        (GATE[0], 1, [1, 1, 0, mac, None]),
        (GATE[0], 1, [1, 1, 0, mac, b"token-i"]),
        (GATE[0], 1, [1, 1, 0, mac, "token-id"]),
        (TOKEN_ITEM[0], 3, [1, b"token-id"]),
        (TOKEN_ITEM[0], 3, [0, b"token-id", pop]),
        (TOKEN_ITEM[0], 3, [1, b"token-idx", pop]),
        (TOKEN_ITEM[0], 3, [1, None, pop]),
        (TOKEN_ITEM[0], 3, [1, b"token-id", pop[1:]]),
        (DEVINFO[0], 3, [1]),
        (DEVINFO[0], 3, b"x"),
        (DEVINFO[0], 3, {0: b"1.0"}),
        (DEVINFO[0], 3, {1: 2}),
        (DEVINFO[0], 3, {2: [1, "m", 1000, 0, 0, 0]}),
        (DEVINFO[0], 3, {2: ["1", "m", 1000, 0, 0, 0, []]}),
        (DEVINFO[0], 3, {2: [1, b"m", 1000, 0, 0, 0, []]}),
        (DEVINFO[0], 3, {2: [1, "m", -1, 0, 0, 0, []]}),
        (DEVINFO[0], 3, {2: [1, "m", 1000, False, 0, 0, []]}),
        (DEVINFO[0], 3, {2: None}),
        (DEVINFO[0], 3, {9: "x" * MAX_DEVINFO}),
        (ROOTC[0], 3, [1, ATTEMPT, None]),
        (ROOTC[0], 3, [2, ATTEMPT, None, R_D]),
        (ROOTC[0], 3, [1, ATTEMPT[1:], None, R_D]),
        (ROOTC[0], 3, [1, None, None, R_D]),
        (ROOTC[0], 3, [1, ATTEMPT, b"", R_D]),
        (ROOTC[0], 3, [1, ATTEMPT, False, R_D]),
        (ROOTC[0], 3, [1, ATTEMPT, None, R_D + b"x"]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H, b"device-1", 7]),
        (ROOTR[0], 4, [2, ATTEMPT, R_H, b"device-1", 7, {}]),
        (ROOTR[0], 4, [1, b"", R_H, b"device-1", 7, {}]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H[1:], b"device-1", 7, {}]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H, b"device", 7, {}]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H, b"device-1", 65536, {}]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H, b"device-1", -1, {}]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H, b"device-1", True, {}]),
        (ROOTR[0], 4, [1, ATTEMPT, R_H, b"device-1", 7, []]),
        (STATUS[0], 4, [1, 2]),
        (STATUS[0], 4, [2, 2, 60]),
        (STATUS[0], 4, [1, 0, 60]),
        (STATUS[0], 4, [1, 3, 60]),
        (STATUS[0], 4, [1, True, 60]),
        (STATUS[0], 4, [1, 1, -1]),
        (STATUS[0], 4, [1, 1, 2**32]),
        (STATUS[0], 4, [1, 1, None]),
    )
    for label, message, value in wrong:
        refused(DecodeError, ead.read_items, message, [(label, cbor.encode(value))])


def test_reserved_and_unknown_entries_are_ignored() -> None:
    info = cbor.encode({0: "1", 1: "2", 2: [1, "m", 1000, 0, 0, 0, 2], 3: b"?", "later": [1]})
    assert ead.read_items(3, [(DEVINFO[0], info)]) == {DEVINFO[0]: info}
    value = cbor.encode([1, ATTEMPT, R_H, b"device-1", 0, {1: "later", "x": None}])
    assert ead.read_items(4, [(ROOTR[0], value)]) == {65284: ead.RootR(ATTEMPT, R_H, b"device-1", 0)}


def test_what_is_encoded_is_read_back() -> None:
    for message, encoded, item in (
        (1, ead.encode_gate(ead.Gate(0, 1, b"m" * 16, None)), ead.Gate(0, 1, b"m" * 16, None)),
        (1, ead.encode_gate(ead.Gate(1, 0, b"m" * 16, b"8 bytes!")), ead.Gate(1, 0, b"m" * 16, b"8 bytes!")),
        (3, ead.encode_token(ead.TokenProof(b"token-id", R_D)), ead.TokenProof(b"token-id", R_D)),
        (3, ead.encode_rootc(ead.RootC(ATTEMPT, R_H[:16], R_D)), ead.RootC(ATTEMPT, R_H[:16], R_D)),
        (
            4,
            ead.encode_rootr(ead.RootR(ATTEMPT, R_H, b"8 bytes!", 65535)),
            ead.RootR(ATTEMPT, R_H, b"8 bytes!", 65535),
        ),
        (4, ead.encode_status(ead.Status(1, 2**32 - 1)), ead.Status(1, 2**32 - 1)),
    ):
        assert ead.read_items(message, [encoded]) == {abs(encoded[0]): item}


def test_a_hub_cannot_write_what_a_device_would_refuse() -> None:
    refused(LocalError, ead.encode_rootr, ead.RootR(ATTEMPT, R_H, b"7 bytes", 0))
    refused(LocalError, ead.encode_rootr, ead.RootR(ATTEMPT, R_H, b"8 bytes!", 65536))
    refused(LocalError, ead.encode_status, ead.Status(0, 0))
    refused(LocalError, ead.encode_status, ead.Status(1, -1))
    refused(LocalError, ead.encode_devinfo, bytes(MAX_DEVINFO + 1))
