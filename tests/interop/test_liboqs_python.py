"""liboqs-python, the binding that its makers keep, beside our ctypes calls into the same C library.

Our port needs more than the package offers (docs/crypto.md), so both stand on their own and have to
agree. Without the C library `import oqs` would try to build one and end the process: it is looked for first.
"""

import contextlib
import io
import types

import pytest

from handfast.core import suites
from handfast_cpython import Crypto, crypto_liboqs

if crypto_liboqs.load() is None:
    pytest.skip("liboqs: the C library is not on this machine", allow_module_level=True)


@pytest.fixture(scope="module")
def oqs() -> types.ModuleType:
    with contextlib.redirect_stdout(io.StringIO()):
        import oqs as module
    return module


KEMS = [suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024]


@pytest.mark.parametrize("kem", KEMS)
def test_what_liboqs_python_encapsulates_our_seed_opens(oqs: types.ModuleType, kem: str) -> None:
    crypto = Crypto("liboqs")
    seed = bytes(range(64))
    with oqs.KeyEncapsulation(kem) as peer:
        ciphertext, shared_secret = peer.encap_secret(crypto.kem_public_key(kem, seed))
    assert crypto.decapsulate(kem, seed, ciphertext) == shared_secret


@pytest.mark.parametrize("kem", KEMS)
def test_what_we_encapsulate_liboqs_python_opens(oqs: types.ModuleType, kem: str) -> None:
    crypto = Crypto("liboqs")
    with oqs.KeyEncapsulation(kem) as peer:
        ciphertext, shared_secret = crypto.encapsulate(kem, peer.generate_keypair(), bytes(32))
        assert peer.decap_secret(ciphertext) == shared_secret


@pytest.mark.parametrize("algorithm", sorted(suites.SIGNATURES))
def test_signatures_are_verified_both_ways(oqs: types.ModuleType, algorithm: int) -> None:
    crypto, name = Crypto("liboqs"), suites.SIGNATURES[algorithm].name
    seed, message = bytes(range(32)), b"a message"
    with oqs.Signature(name) as peer:
        public_key = peer.generate_keypair()
        assert crypto.verify(algorithm, public_key, message, peer.sign(message))
        ours = crypto.sign(algorithm, seed, message, bytes(32))
        assert peer.verify(message, ours, crypto.signature_public_key(algorithm, seed))
        assert not peer.verify(b"another message", ours, crypto.signature_public_key(algorithm, seed))
