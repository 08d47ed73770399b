"""The Crypto port of CPython: what it promises whatever the library, above all for wrong input."""

import inspect
import threading
from collections.abc import Callable

import pytest
from crypto_libraries import EVERY_LIBRARY, crypto_of

from handfast import ports
from handfast.core import suites
from handfast.core.errors import AuthenticationError, DecodeError, Error, LocalError
from handfast_cpython.crypto import SIGNING_KEYS_KEPT, Crypto, back_ends, default_back_end
from handfast_cpython.crypto_parts import Kem, Signature

# By name: other tests add rows of their own to the tables of suites.py.
KEMS = (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024, suites.MLKEM768_X25519)
SIGNATURES = (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87)
AEADS = (suites.A256GCM, suites.AES_CCM_16_64_128, suites.AES_CCM_16_128_128, suites.AES_CCM_16_128_256)
SEED = bytes(range(32))
RANDOMNESS = bytes(range(100, 132))


def kem_seed(kem: str) -> bytes:
    return bytes(range(suites.KEMS[kem].seed))


def kem_randomness(kem: str) -> bytes:
    return bytes(range(100, 100 + suites.KEMS[kem].randomness))


def test_it_has_every_call_of_the_port_with_the_same_arguments() -> None:
    for name, call in vars(ports.Crypto).items():
        if name.startswith("_") or not callable(call):
            continue
        assert list(inspect.signature(getattr(Crypto, name)).parameters) == list(
            inspect.signature(call).parameters
        ), name


@EVERY_LIBRARY
def test_it_names_the_library_in_use_first_and_supports_every_suite(library: str) -> None:
    crypto = crypto_of(library)
    assert crypto.name.split()[0] == library
    assert "cryptography" in crypto.name
    assert "pycryptodome" in crypto.name
    assert all(crypto.supports(suite) for suite in (-21, -22, -23, -24))
    assert not crypto.supports(1)


def test_the_default_takes_our_randomness() -> None:
    assert Crypto().hedged
    assert Crypto().name == Crypto(default_back_end()).name
    assert not Crypto("cryptography").hedged


def test_liboqs_is_the_default_only_where_the_extra_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []

    def find_spec(name: str) -> object:
        wanted.append(name)
        return None

    monkeypatch.setattr("handfast_cpython.crypto.find_spec", find_spec)
    assert default_back_end() == "pycryptodome"
    assert wanted == ["oqs"]
    monkeypatch.setattr("handfast_cpython.crypto.find_spec", lambda name: object())
    assert default_back_end() == ("liboqs" if "liboqs" in back_ends() else "pycryptodome")


def test_a_library_that_is_not_here_is_refused_with_the_ones_that_are() -> None:
    with pytest.raises(LocalError, match="no crypto back end 'openssl' here; there are .*pycryptodome"):
        Crypto("openssl")


def test_a_part_that_takes_no_randomness_makes_the_whole_unhedged() -> None:
    class Unhedged:
        def kems(self) -> dict[str, Kem]:
            return {}

        def signatures(self) -> dict[int, Signature]:
            return {suites.ML_DSA_65: Crypto("cryptography")._signatures[suites.ML_DSA_65]}

    assert not Crypto(Unhedged()).hedged


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", KEMS)
def test_encapsulation_is_a_function_of_its_randomness_exactly_when_it_is_hedged(
    library: str, kem: str
) -> None:
    crypto = crypto_of(library)
    public_key = crypto.kem_public_key(kem, kem_seed(kem))
    first = crypto.encapsulate(kem, public_key, kem_randomness(kem))
    again = crypto.encapsulate(kem, public_key, kem_randomness(kem))
    other = crypto.encapsulate(kem, public_key, kem_randomness(kem)[::-1])
    assert (first == again) is crypto._kems[kem].hedged
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert (len(first[0]), len(first[1])) == (suites.KEMS[kem].ciphertext, 32)


@EVERY_LIBRARY
@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_a_signature_is_a_function_of_its_randomness_exactly_when_it_is_hedged(
    library: str, algorithm: int
) -> None:
    crypto = crypto_of(library)
    first = crypto.sign(algorithm, SEED, b"message", RANDOMNESS)
    again = crypto.sign(algorithm, SEED, b"message", RANDOMNESS)
    assert (first == again) is crypto.hedged
    assert first != crypto.sign(algorithm, SEED, b"message", RANDOMNESS[::-1])
    assert len(first) == suites.SIGNATURES[algorithm].signature


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", KEMS)
def test_keys_and_ciphertexts_of_a_wrong_length_are_the_peers_fault(library: str, kem: str) -> None:
    crypto, row = crypto_of(library), suites.KEMS[kem]
    public_key = crypto.kem_public_key(kem, kem_seed(kem))
    ciphertext = crypto.encapsulate(kem, public_key, kem_randomness(kem))[0]
    for wrong in (b"", public_key[:-1], public_key + b"\0", public_key[:32]):
        expected = f"must have {row.public_key} bytes; it has {len(wrong)}"
        with pytest.raises(DecodeError, match=expected):
            crypto.encapsulate(kem, wrong, kem_randomness(kem))
    for wrong in (b"", ciphertext[:-1], ciphertext + b"\0", ciphertext[:32]):
        expected = f"must have {row.ciphertext} bytes; it has {len(wrong)}"
        with pytest.raises(DecodeError, match=expected):
            crypto.decapsulate(kem, kem_seed(kem), wrong)


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", KEMS)
def test_every_coefficient_of_an_encapsulation_key_is_checked(library: str, kem: str) -> None:
    crypto = crypto_of(library)
    public_key = crypto.kem_public_key(kem, kem_seed(kem))
    coefficients = {suites.ML_KEM_512: 512, suites.ML_KEM_1024: 1024}.get(kem, 768)
    for index in (0, 1, coefficients // 2, coefficients - 1):
        for value in (3329, 4095):
            # ByteEncode_12: two coefficients in three bytes (FIPS 203 algorithm 5).
            pair = int.from_bytes(public_key[index // 2 * 3 : index // 2 * 3 + 3], "little")
            shift = 12 * (index % 2)
            pair = pair & ~(0xFFF << shift) | value << shift
            at = index // 2 * 3
            wrong = public_key[:at] + pair.to_bytes(3, "little") + public_key[at + 3 :]
            with pytest.raises(DecodeError, match="modulus"):
                crypto.encapsulate(kem, wrong, kem_randomness(kem))


@EVERY_LIBRARY
@pytest.mark.parametrize("kem", KEMS)
def test_a_wrong_ciphertext_gives_a_wrong_secret_and_always_the_same(library: str, kem: str) -> None:
    crypto = crypto_of(library)
    public_key = crypto.kem_public_key(kem, kem_seed(kem))
    ciphertext, shared_secret = crypto.encapsulate(kem, public_key, kem_randomness(kem))
    for at in (0, len(ciphertext) // 2, len(ciphertext) - 1):
        wrong = ciphertext[:at] + bytes([ciphertext[at] ^ 1]) + ciphertext[at + 1 :]
        rejected = crypto.decapsulate(kem, kem_seed(kem), wrong)
        assert len(rejected) == 32
        assert rejected != shared_secret
        assert rejected == crypto.decapsulate(kem, kem_seed(kem), wrong)


@EVERY_LIBRARY
@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_verify_says_false_for_anything_else_than_a_valid_signature(library: str, algorithm: int) -> None:
    crypto = crypto_of(library)
    public_key = crypto.signature_public_key(algorithm, SEED)
    signature = crypto.sign(algorithm, SEED, b"message", RANDOMNESS)
    assert crypto.verify(algorithm, public_key, b"message", signature)
    assert not crypto.verify(algorithm, public_key, b"messagf", signature)
    assert not crypto.verify(algorithm, public_key, b"", signature)
    for wrong in (b"", b"\0", signature[:-1], signature + b"\0", bytes(len(signature)), signature * 2):
        assert not crypto.verify(algorithm, public_key, b"message", wrong)
    for wrong in (b"", public_key[:-1], public_key + b"\0", bytes(len(public_key)), public_key * 2):
        assert not crypto.verify(algorithm, wrong, b"message", signature)
    for at in (0, 40, len(signature) // 2, len(signature) - 1):
        wrong = signature[:at] + bytes([signature[at] ^ 0x10]) + signature[at + 1 :]
        assert not crypto.verify(algorithm, public_key, b"message", wrong), at
    for other in SIGNATURES:
        assert crypto.verify(other, public_key, b"message", signature) is (other == algorithm)


@pytest.mark.parametrize("algorithm", AEADS)
def test_one_wrong_bit_anywhere_fails_with_one_text_and_no_cause(algorithm: int) -> None:
    crypto, row = crypto_of("pycryptodome"), suites.AEADS[algorithm]
    key, nonce, aad = bytes(range(row.key_length)), bytes(range(row.nonce_length)), b"aad"
    sealed = crypto.seal(algorithm, key, nonce, aad, b"plaintext")
    assert len(sealed) == len(b"plaintext") + row.tag_length
    assert crypto.open(algorithm, key, nonce, aad, sealed) == b"plaintext"

    def flipped(data: bytes) -> list[bytes]:
        return [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]

    tries = [(key, nonce, aad, wrong) for wrong in flipped(sealed)]
    tries += [(key, nonce, wrong, sealed) for wrong in [*flipped(aad), b"", aad + b"\0"]]
    tries += [(key, wrong, aad, sealed) for wrong in flipped(nonce)]
    tries += [(wrong, nonce, aad, sealed) for wrong in flipped(key)]
    tries += [(key, nonce, aad, sealed[:length]) for length in range(len(sealed))]
    tries += [(key, nonce, aad, sealed + b"\0"), (key, nonce, aad, bytes(70000))]
    for arguments in tries:
        with pytest.raises(AuthenticationError) as caught:
            crypto.open(algorithm, *arguments)
        assert str(caught.value) == "authentication failed"
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_empty_plaintexts_and_the_longest_that_ccm_takes() -> None:
    crypto = crypto_of("pycryptodome")
    for algorithm in AEADS:
        row = suites.AEADS[algorithm]
        key, nonce = bytes(row.key_length), bytes(row.nonce_length)
        assert crypto.open(algorithm, key, nonce, b"", crypto.seal(algorithm, key, nonce, b"", b"")) == b""
    # RFC 3610: a nonce of 13 bytes leaves two for the length.
    longest = bytes(65535)
    sealed = crypto.seal(31, bytes(32), bytes(13), b"", longest)
    assert crypto.open(31, bytes(32), bytes(13), b"", sealed) == longest
    with pytest.raises(LocalError, match="seals 65535 bytes at most, not 65536"):
        crypto.seal(31, bytes(32), bytes(13), b"", longest + b"\0")


WRONG_CALLS: list[tuple[str, Callable[[Crypto], object]]] = [
    ("no hash -15", lambda crypto: crypto.hash(-15, b"")),
    ("no HMAC hash -45", lambda crypto: crypto.hmac(suites.SHAKE256, b"", b"")),
    ("no AEAD 24", lambda crypto: crypto.seal(24, bytes(32), bytes(12), b"", b"")),
    ("no AEAD 24", lambda crypto: crypto.open(24, bytes(32), bytes(12), b"", b"")),
    ("no KEM 'Kyber768'", lambda crypto: crypto.kem_public_key("Kyber768", bytes(64))),
    ("no KEM 'Kyber768'", lambda crypto: crypto.encapsulate("Kyber768", b"", b"")),
    ("no KEM 'Kyber768'", lambda crypto: crypto.decapsulate("Kyber768", b"", b"")),
    ("no signature -8", lambda crypto: crypto.signature_public_key(-8, SEED)),
    ("no signature -8", lambda crypto: crypto.sign(-8, SEED, b"", RANDOMNESS)),
    ("no signature -8", lambda crypto: crypto.verify(-8, b"", b"", b"")),
    ("A256GCM needs a key of 32", lambda crypto: crypto.seal(3, bytes(16), bytes(12), b"", b"")),
    ("a nonce of 12 bytes; got 32 and 13", lambda crypto: crypto.open(3, bytes(32), bytes(13), b"", b"")),
    ("AES-CCM-16-128-256 needs", lambda crypto: crypto.seal(31, bytes(16), bytes(13), b"", b"")),
    ("ML-KEM-768 needs seed of 64 bytes; got 32", lambda crypto: crypto.kem_public_key("ML-KEM-768", SEED)),
    (
        "MLKEM768-X25519 needs seed of 32 bytes; got 64",
        lambda crypto: crypto.decapsulate("MLKEM768-X25519", bytes(64), bytes(1120)),
    ),
    (
        "MLKEM768-X25519 needs randomness of 64 bytes; got 32",
        lambda crypto: crypto.encapsulate("MLKEM768-X25519", bytes(1216), RANDOMNESS),
    ),
    ("ML-DSA-65 needs seed of 32 bytes; got 31", lambda crypto: crypto.sign(-49, SEED[1:], b"", RANDOMNESS)),
    ("ML-DSA-65 needs seed of 32", lambda crypto: crypto.signature_public_key(-49, SEED[1:])),
    ("ML-DSA-65 needs randomness of 32 bytes; got 0", lambda crypto: crypto.sign(-49, SEED, b"", b"")),
]


@EVERY_LIBRARY
@pytest.mark.parametrize(("text", "call"), WRONG_CALLS, ids=[text for text, _ in WRONG_CALLS])
def test_what_our_own_caller_gets_wrong_is_a_local_error(
    library: str, text: str, call: Callable[[Crypto], object]
) -> None:
    with pytest.raises(LocalError) as caught:
        call(crypto_of(library))
    assert text in str(caught.value)
    assert isinstance(caught.value, Error)
    assert SEED.hex()[2:] not in str(caught.value)


def test_equal_compares_bytes_of_any_length() -> None:
    crypto = crypto_of("pycryptodome")
    assert crypto.equal(b"", b"")
    assert crypto.equal(SEED, bytes(SEED))
    assert not crypto.equal(SEED, SEED[:-1])
    assert not crypto.equal(SEED, SEED[::-1])


@EVERY_LIBRARY
def test_no_more_than_a_few_private_keys_are_kept(library: str) -> None:
    crypto = Crypto(library) if library in back_ends() else crypto_of(library)
    seeds = [bytes([number]) * 32 for number in range(SIGNING_KEYS_KEPT + 3)]
    for seed in seeds:
        crypto.sign(suites.ML_DSA_44, seed, b"", RANDOMNESS)
        assert crypto._signer.cache_info().currsize <= SIGNING_KEYS_KEPT
    # A key that was dropped, and one that was not.
    for seed in (seeds[0], seeds[-1]):
        signature = crypto.sign(suites.ML_DSA_44, seed, b"again", RANDOMNESS)
        public_key = crypto.signature_public_key(suites.ML_DSA_44, seed)
        assert crypto.verify(suites.ML_DSA_44, public_key, b"again", signature)


@EVERY_LIBRARY
def test_threads_do_not_mix_their_keys_and_randomness(library: str) -> None:
    crypto = crypto_of(library)

    def work(number: int) -> list[bytes]:
        seed, randomness = bytes([number]) * 32, bytes([100 + number]) * 32
        return [
            crypto.sign(suites.ML_DSA_44, seed, b"message", randomness),
            crypto.signature_public_key(suites.ML_DSA_44, seed),
            *crypto.encapsulate("ML-KEM-512", public_key, randomness),
        ]

    public_key = crypto.kem_public_key("ML-KEM-512", kem_seed("ML-KEM-512"))
    expected = [work(number) for number in range(6)]
    results: dict[tuple[int, int], list[bytes]] = {}

    def run(number: int) -> None:
        for turn in range(20):
            results[number, turn] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 120
    for (number, _), result in results.items():
        assert result[1:] == expected[number][1:]
        assert (result[0] == expected[number][0]) or not crypto.hedged
