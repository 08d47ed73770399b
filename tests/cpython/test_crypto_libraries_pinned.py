"""What the port takes from its libraries under private names, and what loading it may do."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from Crypto.Hash import KMAC256, cSHAKE256
from Crypto.Hash.KMAC128 import KMAC_Hash
from Crypto.PublicKey import MLKEM

from handfast_cpython import crypto_kmac, crypto_liboqs, crypto_pycryptodome

SDK = Path(crypto_kmac.__file__).parents[1]


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints for `code`."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SDK), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout.strip()


def test_pycryptodome_encapsulates_with_our_coins_under_a_private_name() -> None:
    assert list(inspect.signature(MLKEM.MLKEMKey._encaps).parameters) == ["self", "coins"]
    assert list(inspect.signature(MLKEM.MLKEMKey._decaps).parameters) == ["self", "ct"]
    key = MLKEM.construct(param_set=MLKEM.ML_KEM_768, seed=bytes(64))
    shared_secret, ciphertext = key._encaps(bytes(32))
    assert (len(shared_secret), len(ciphertext)) == (32, 1088)
    assert crypto_pycryptodome.kems()["ML-KEM-768"].encapsulate(key.ek, bytes(32)) == (
        ciphertext,
        shared_secret,
    )


def test_kmac256_goes_through_the_sponge_in_one_call() -> None:
    assert crypto_kmac.kmac256 is crypto_kmac.kmac256_sponge


def test_the_sponge_and_pycryptodomes_object_agree_for_every_padding() -> None:
    for length in (*range(32, 36), *range(128, 140), 271, 272, 273):
        for data in (b"", bytes(length), bytes(range(200))):
            for custom in (b"", b"label", bytes(140)):
                arguments = bytes(range(256))[:length] or b"", data, length, custom
                assert crypto_kmac.kmac256_sponge(*arguments) == crypto_kmac.kmac256_object(*arguments)


def test_the_sponge_takes_keys_that_pycryptodomes_object_refuses() -> None:
    for key in (b"", b"k", bytes(16), bytes(31)):
        reference = KMAC_Hash(b"data", key, 32, b"label", "20", cSHAKE256, 136)
        assert crypto_kmac.kmac256_sponge(key, b"data", 32, b"label") == reference.digest()
        with pytest.raises(ValueError, match="at least 256 bits"):
            KMAC256.new(key=key)


def test_without_the_private_names_kmac256_is_pycryptodomes_object() -> None:
    code = """
import Crypto.Hash.keccak as keccak
library = keccak._raw_keccak_lib
class Without:
    def __getattr__(self, name):
        if name == "keccak_oneshot":
            raise AttributeError(name)
        return getattr(library, name)
keccak._raw_keccak_lib = Without()
from handfast_cpython import crypto_kmac
assert crypto_kmac.kmac256 is crypto_kmac.kmac256_object
print(crypto_kmac.kmac256(bytes(32), b"data", 32, b"label").hex())
"""
    assert python(code) == crypto_kmac.kmac256_sponge(bytes(32), b"data", 32, b"label").hex()


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, handfast_cpython; print([m for m in ('Crypto', 'cryptography') if m in sys.modules])"
    assert python(code) == "[]"


def test_liboqs_is_not_even_loaded_for_another_back_end() -> None:
    code = """
from handfast_cpython import crypto, crypto_liboqs
crypto.Crypto("pycryptodome")
print(crypto_liboqs.load.cache_info().currsize)
"""
    assert python(code) == "0"


def test_a_machine_without_liboqs_loses_no_time_and_imports_no_oqs(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    # A library of another kind under that name, as an old liboqs would be: passed over.
    other = Path(sys.modules["Crypto.PublicKey"].__file__ or "").parent / "_mlkem.abi3.so"
    (tmp_path / "lib" / "liboqs.so").symlink_to(other)
    code = """
import sys, time
from handfast_cpython import crypto_liboqs
start = time.monotonic()
library = crypto_liboqs.load()
assert time.monotonic() - start < 2
assert "oqs" not in sys.modules
assert (library is None) == (crypto_liboqs.kems() == {} == crypto_liboqs.signatures())
print(library.name if library else "none")
"""
    found = python(code, OQS_INSTALL_PATH=str(tmp_path))
    if found != "none":
        pytest.skip(f"{found} is on this machine's search path")


def liboqs() -> crypto_liboqs.Liboqs:
    library = crypto_liboqs.load()
    if library is None:
        pytest.skip("liboqs: the C library is not on this machine")
    return library


def test_liboqs_has_every_parameter_set() -> None:
    liboqs()
    assert sorted(crypto_liboqs.kems()) == ["ML-KEM-1024", "ML-KEM-512", "ML-KEM-768"]
    assert sorted(crypto_liboqs.signatures()) == [-50, -49, -48]


def test_liboqs_gives_nobody_else_the_randomness_laid_ready() -> None:
    draw = liboqs()._library.OQS_randombytes
    from ctypes import c_char, c_size_t

    crypto_liboqs._ready.randomness = bytes(32)
    other_length, buffer = (c_char * 16)(), (c_char * 32)()
    draw(other_length, c_size_t(16))
    assert bytes(other_length) != bytes(16)
    draw(buffer, c_size_t(32))
    assert bytes(buffer) == bytes(32)
    draw(buffer, c_size_t(32))
    assert bytes(buffer) != bytes(32)


def test_liboqs_that_does_not_use_our_randomness_is_noticed() -> None:
    liboqs()
    crypto_liboqs._ready.randomness = bytes(32)
    with pytest.raises(RuntimeError, match="did not use the randomness"):
        crypto_liboqs._check(0)
    assert crypto_liboqs._ready.randomness is None
