"""Replayed crypto is worth something only if it refuses what was not recorded."""

from host_crypto import REPLAY, crypto
from pair import Pair
from refusal import refused
from replay_crypto import ReplayCrypto

from handfast.core.errors import DecodeError
from handfast.core.suites import ML_DSA_44, ML_KEM_512, SUITES

SEED = bytes(range(32))
# What tests/core/test_replayed_crypto.py alone asks for; the smallest parameters, for the smallest files.
MESSAGE = b"replayed"


def test_a_whole_handshake_runs_with_every_suite() -> None:
    for number in SUITES:
        device, hub = Pair(crypto, number, (number,)).run()
        assert type(device).__name__ == type(hub).__name__ == "Established", number
        assert device.keys == hub.keys, number


def test_one_differing_bit_in_any_input_is_not_answered() -> None:
    replay = ReplayCrypto(crypto, REPLAY)
    public_key = crypto.signature_public_key(ML_DSA_44, SEED)
    signature = crypto.sign(ML_DSA_44, SEED, MESSAGE, SEED)
    assert crypto.verify(ML_DSA_44, public_key, MESSAGE, signature)
    encapsulation_key = crypto.kem_public_key(ML_KEM_512, SEED + SEED)
    ciphertext, secret = crypto.encapsulate(ML_KEM_512, encapsulation_key, SEED)
    assert crypto.decapsulate(ML_KEM_512, SEED + SEED, ciphertext) == secret
    for operation, algorithm, inputs in (
        ("signature_public_key", ML_DSA_44, (SEED,)),
        ("sign", ML_DSA_44, (SEED, MESSAGE, SEED)),
        ("verify", ML_DSA_44, (public_key, MESSAGE, signature)),
        ("kem_public_key", ML_KEM_512, (SEED + SEED,)),
        ("encapsulate", ML_KEM_512, (encapsulation_key, SEED)),
        ("decapsulate", ML_KEM_512, (SEED + SEED, ciphertext)),
    ):
        call = getattr(replay, operation)
        assert call(algorithm, *inputs) == getattr(crypto, operation)(algorithm, *inputs)
        for position in range(len(inputs)):
            for at in (0, len(inputs[position]) - 1):
                changed = bytearray(inputs[position])
                changed[at] ^= 1
                others = inputs[:position] + (bytes(changed),) + inputs[position + 1 :]
                refused(AssertionError, call, algorithm, *others)


def test_two_inputs_cannot_be_taken_for_one() -> None:
    replay = ReplayCrypto(crypto, REPLAY)
    crypto.sign(ML_DSA_44, SEED, MESSAGE, SEED)
    refused(AssertionError, replay.sign, ML_DSA_44, SEED, MESSAGE + SEED[:1], SEED[1:])


def test_an_error_is_replayed_as_that_error() -> None:
    # FIPS 203 section 7.2: coefficients of 4095 are not below q.
    refused(DecodeError, crypto.encapsulate, ML_KEM_512, b"\xff" * 800, SEED)
    refused(DecodeError, ReplayCrypto(crypto, REPLAY).encapsulate, ML_KEM_512, b"\xff" * 800, SEED)
