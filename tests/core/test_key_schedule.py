"""EDHOC_Extract, EDHOC_KDF and what the key schedule makes of them."""

from host_crypto import crypto
from refusal import refused
from vector_file import load

from handfast.core.cbor import decode, encode
from handfast.core.errors import LocalError
from handfast.core.kdf import expand, extract, info
from handfast.core.key_schedule import KeySchedule, context_2, context_3
from handfast.core.suites import AEADS, HASHES, SHA_256, SHA_384, SHAKE256, SUITES, suite

_PRK = bytes([0x50]) * 64
_TH = bytes([0x54]) * 64


def test_extract_and_expand_give_the_known_answers() -> None:
    checked = 0
    for vector in load("key_schedule"):
        fields = vector.fields
        algorithm = decode(fields["hash_algorithm"])
        prk = extract(crypto, algorithm, fields["salt"], fields["ikm"])
        assert prk == fields["prk"], vector.name
        for name in fields:
            if not name.endswith("_label"):
                continue
            case = name[:-6]
            label, context = decode(fields[name]), fields[case + "_context"]
            okm = fields[case + "_okm"]
            assert info(label, context, len(okm)) == fields[case + "_info"], vector.name + " " + case
            assert expand(crypto, algorithm, prk, label, context, len(okm)) == okm, vector.name + " " + case
            checked += 1
    assert checked == 21


def test_a_prk_is_as_long_as_the_hash() -> None:
    for algorithm, length in ((SHA_256, 32), (SHA_384, 48), (SHAKE256, 64)):
        assert len(extract(crypto, algorithm, b"", b"ikm")) == length


def test_a_shorter_output_is_another_output() -> None:
    """The length is an input: cutting a MAC or key short gives none that the protocol knows."""
    for algorithm in (SHA_256, SHA_384, SHAKE256):
        long = expand(crypto, algorithm, _PRK, 2, b"context", 64)
        assert expand(crypto, algorithm, _PRK, 2, b"context", 32) != long[:32]


def test_hkdf_ends_and_kmac_does_not() -> None:
    for algorithm in (SHA_256, SHA_384):
        limit = 255 * HASHES[algorithm].length
        assert len(expand(crypto, algorithm, _PRK, 0, b"", limit)) == limit
        refused(LocalError, expand, crypto, algorithm, _PRK, 0, b"", limit + 1)
    assert len(expand(crypto, SHAKE256, _PRK, 0, b"", 20000)) == 20000


def test_every_suite_gets_keys_of_its_lengths() -> None:
    for number in SUITES:
        row = suite(number)
        schedule = KeySchedule(crypto, row)
        aead, length = AEADS[row.aead], HASHES[row.hash].length
        assert len(schedule.th_2(b"g_y", b"message_1")) == length
        assert len(schedule.th_3(_TH, b"plaintext", b"cred")) == length
        assert len(schedule.th_4(_TH, b"plaintext", b"cred")) == length
        assert len(schedule.prk_2e(_TH, b"g_xy")) == length
        assert len(schedule.salt_3e2m(_PRK, _TH)) == length
        assert len(schedule.salt_4e3m(_PRK, _TH)) == length
        assert len(schedule.keystream_2(_PRK, _TH, 5000)) == 5000
        assert len(schedule.k_3(_PRK, _TH)) == len(schedule.k_4(_PRK, _TH)) == aead.key_length
        assert len(schedule.iv_3(_PRK, _TH)) == len(schedule.iv_4(_PRK, _TH)) == aead.nonce_length
        assert len(schedule.prk_out(_PRK, _TH)) == length
        assert len(schedule.prk_exporter(_PRK)) == length
        assert len(schedule.key_update(_PRK, b"")) == length


def test_every_derivation_has_its_own_label() -> None:
    """From one PRK, one transcript hash and one length no two of them give the same bytes."""
    schedule = KeySchedule(crypto, suite(-21))
    values = [
        schedule.keystream_2(_PRK, _TH, 64),
        schedule.salt_3e2m(_PRK, _TH),
        schedule.mac_2(_PRK, (_TH,), 64),
        schedule.salt_4e3m(_PRK, _TH),
        schedule.mac_3(_PRK, (_TH,), 64),
        schedule.prk_out(_PRK, _TH),
        schedule.key_update(_PRK, _TH),
        schedule.prk_exporter(_PRK),
        schedule.exporter(_PRK, 32768, _TH, 64),
        schedule.exporter(_PRK, 32769, _TH, 64),
    ]
    assert len(set(values)) == len(values)
    assert schedule.k_3(_PRK, _TH) != schedule.k_4(_PRK, _TH)
    assert schedule.iv_3(_PRK, _TH) != schedule.iv_4(_PRK, _TH)


def test_a_mac_covers_the_identifier_as_it_is_on_the_wire() -> None:
    parts = b"\xa1\x04\x41\x32", b"\x01\x02", b"\xa1\x08\x01", b"\x00"
    assert b"".join(context_2(b"\x27", *parts)) == bytes.fromhex(
        "27" + "a1044132" + "420102" + "a10801" + "00"
    )
    assert b"".join(context_2(b"\x18", *parts)) == bytes.fromhex(
        "4118" + "a1044132" + "420102" + "a10801" + "00"
    )
    assert b"".join(context_3(*parts)) == bytes.fromhex("a1044132" + "420102" + "a10801" + "00")


def test_a_transcript_covers_every_byte_of_what_was_sent() -> None:
    schedule = KeySchedule(crypto, suite(-23))
    assert schedule.th_2(b"g_y", b"m") != schedule.th_2(b"g_y", b"n")
    assert schedule.th_2(b"g_y", b"m") != schedule.th_2(b"g_z", b"m")
    assert schedule.th_3(_TH, b"p", b"c") == schedule.hash(encode(_TH) + b"pc")
    assert schedule.th_3(_TH, b"p", b"c") != schedule.th_3(_TH, b"p", b"d")
    assert schedule.th_4(_TH, b"p", b"c") != schedule.th_4(_TH, b"q", b"c")
