"""Hashes, MACs and AEADs of the Crypto port against published answers: the machine's own port, on each."""

from host_crypto import crypto
from refusal import refused
from vector_file import load

from handfast.core.errors import AuthenticationError, LocalError
from handfast.core.suites import AEADS, AES_CCM_16_128_256, SHA_256, SHAKE256


def algorithm(fields: "dict[str, bytes]") -> int:
    return int(fields["algorithm"].decode())


def test_hashes_give_the_published_digests() -> None:
    for vector in load("hash"):
        digest = crypto.hash(algorithm(vector.fields), vector.fields["data"])
        assert digest == vector.fields["digest"], vector.name


def test_hmac_gives_the_macs_of_rfc_4231() -> None:
    for vector in load("hmac"):
        fields = vector.fields
        assert crypto.hmac(algorithm(fields), fields["key"], fields["data"]) == fields["mac"], vector.name


def test_kmac256_gives_the_published_macs() -> None:
    for vector in load("kmac"):
        fields = vector.fields
        output = crypto.kmac256(fields["key"], fields["data"], len(fields["output"]), fields["custom"])
        assert output == fields["output"], vector.name


def test_a_shorter_kmac256_is_another_one_and_not_a_prefix() -> None:
    long = crypto.kmac256(b"key", b"data", 64, b"")
    assert crypto.kmac256(b"key", b"data", 32, b"") != long[:32]


def test_an_aead_seals_to_the_published_ciphertext() -> None:
    for vector in load("aead"):
        fields = vector.fields
        number = algorithm(fields)
        sealed = crypto.seal(number, fields["key"], fields["nonce"], fields["aad"], fields["plaintext"])
        assert sealed == fields["ciphertext"], vector.name


def test_an_aead_opens_the_published_ciphertext() -> None:
    for vector in load("aead"):
        fields = vector.fields
        number = algorithm(fields)
        opened = crypto.open(number, fields["key"], fields["nonce"], fields["aad"], fields["ciphertext"])
        assert opened == fields["plaintext"], vector.name


def test_one_bit_of_difference_anywhere_is_one_and_the_same_refusal() -> None:
    for vector in load("aead"):
        fields = vector.fields
        for name in ("key", "nonce", "aad", "ciphertext"):
            given = dict(fields)
            for at in (0, len(given[name]) - 1):
                if not given[name]:
                    continue
                changed = bytearray(fields[name])
                changed[at] ^= 0x80
                given[name] = bytes(changed)
                inputs = (given["key"], given["nonce"], given["aad"], given["ciphertext"])
                error = refused(AuthenticationError, crypto.open, algorithm(fields), *inputs)
                assert str(error) == str(AuthenticationError()), vector.name


def test_a_ciphertext_without_a_whole_tag_is_refused() -> None:
    for number, row in AEADS.items():
        key, nonce = bytes(row.key_length), bytes(row.nonce_length)
        for length in (0, 1, row.tag_length - 1):
            refused(AuthenticationError, crypto.open, number, key, nonce, b"", bytes(length))


def test_every_length_around_a_block_comes_back() -> None:
    for number, row in AEADS.items():
        key, nonce = bytes(range(row.key_length)), bytes(range(row.nonce_length))
        for length in (0, 1, 15, 16, 17, 31, 32, 33, 48, 500):
            plaintext = crypto.hash(SHAKE256, bytes(1))[:1] * length
            aad = plaintext[: length // 2]
            sealed = crypto.seal(number, key, nonce, aad, plaintext)
            assert len(sealed) == length + row.tag_length
            assert crypto.open(number, key, nonce, aad, sealed) == plaintext


def test_a_long_additional_data_has_its_length_in_six_bytes() -> None:
    # RFC 3610 section 2.2: from 0xFF00 bytes on. The value is pyca/cryptography's.
    aad = bytes(0xFF00)
    tag = crypto.seal(AES_CCM_16_128_256, bytes(32), bytes(13), aad, b"")
    assert (
        crypto.hash(SHA_256, tag).hex() == "61feb8f94f8ccbc1e8e0462945f5f53d63721f1870a2aa0d28d2c95048e82aca"
    )
    refused(AuthenticationError, crypto.open, AES_CCM_16_128_256, bytes(32), bytes(13), aad[1:], tag)


def test_buffers_of_every_kind_are_taken() -> None:
    key, nonce, text = bytes(range(32)), bytes(13), b"twenty bytes of text"
    sealed = crypto.seal(AES_CCM_16_128_256, key, nonce, text, text)
    for kind in (bytearray, memoryview):
        given = kind(text)
        assert crypto.seal(AES_CCM_16_128_256, kind(key), kind(nonce), given, given) == sealed
        assert crypto.open(AES_CCM_16_128_256, kind(key), kind(nonce), given, kind(sealed)) == text
        assert crypto.hash(SHA_256, given) == crypto.hash(SHA_256, text)
        assert crypto.hmac(SHA_256, kind(key), given) == crypto.hmac(SHA_256, key, text)
        assert crypto.kmac256(kind(key), given, 32, b"") == crypto.kmac256(key, text, 32, b"")


def test_an_algorithm_that_nobody_knows_is_our_own_fault() -> None:
    refused(LocalError, crypto.hash, -1, b"")
    refused(LocalError, crypto.hmac, SHAKE256, b"", b"")
    refused(LocalError, crypto.seal, 0, bytes(16), bytes(13), b"", b"")
    refused(LocalError, crypto.open, 0, bytes(16), bytes(13), b"", bytes(16))


def test_a_key_or_a_nonce_of_another_length_is_our_own_fault() -> None:
    for number, row in AEADS.items():
        refused(LocalError, crypto.seal, number, bytes(row.key_length - 1), bytes(row.nonce_length), b"", b"")
        refused(LocalError, crypto.seal, number, bytes(row.key_length), bytes(row.nonce_length + 1), b"", b"")


def test_equal_compares_whole_strings() -> None:
    assert crypto.equal(b"", b"")
    assert crypto.equal(b"same", b"same")
    for other in (b"Same", b"samE", b"sam", b"same ", b""):
        assert not crypto.equal(b"same", other)


def test_xor_combines_two_strings_of_one_length() -> None:
    assert crypto.xor(b"", b"") == b""
    assert crypto.xor(b"\x00\xff\x0f", b"\xff\xff\xf0") == b"\xff\x00\xff"
    text, stream = bytes(range(251)) * 23, crypto.kmac256(b"key", b"", 251 * 23, b"")
    assert crypto.xor(text, stream) == bytes([left ^ right for left, right in zip(text, stream)])
    assert crypto.xor(crypto.xor(text, stream), stream) == text
    refused(LocalError, crypto.xor, b"ab", b"a")
