"""The kernels in C on the emulated Cortex-M3, loaded from the flash of an image without them."""

import tempfile
from pathlib import Path

import board_program
import on_board
import pytest
from build_native import native_module
from build_qemu_port import firmware
from known_answers import parsed, records
from micropython_build import BuildError

from handfast.core import suites
from handfast_cpython.crypto import Crypto

ML_KEMS = (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024)
ML_DSAS = (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87)
# Every twenty-fifth of the 3,000 records of ML-KEM, every fifth of the 300 keys of ML-DSA.
KEM_STEP, KEY_STEP = 25, 5
FILES = [
    on_board.ROOT / f"tests/firmware/test_{name}.py"
    for name in ("aes", "buffers", "coefficients", "keccak", "tier")
]


@pytest.fixture(scope="module")
def native() -> Path:
    """The module for armv7m."""
    try:
        firmware()
        return native_module("armv7m")
    except BuildError as error:
        pytest.skip(f"the emulated board: {error}")


def test_the_tests_of_the_kernels_pass_with_those_in_c(native: Path) -> None:
    for path, (passed, failed, said) in on_board.run(firmware(), FILES, native).items():
        assert (passed > 0, failed) == (True, 0), f"{path.name}:\n{said}"


def calls_and_answers() -> tuple[list[str], list[object]]:
    """Lines for crypto_calls.py, and what it must say."""
    calls: list[tuple[object, ...]] = [("name",)]
    wanted: list[object] = [b"handfast_micropython, native"]
    crypto = Crypto("pycryptodome")
    for kem in ML_KEMS:
        for record in records(f"MLKEM/kat_{kem.replace('ML-KEM-', 'MLKEM_')}.rsp", KEM_STEP):
            seed = record["d"] + record["z"]
            calls += [
                ("kem_public_key", kem, seed),
                ("encapsulate", kem, record["pk"], record["msg"]),
                ("decapsulate", kem, seed, record["ct"]),
                ("decapsulate", kem, seed, record["ct_n"]),
            ]
            wanted += [record["pk"], (record["ct"], record["ss"]), record["ss"], record["ss_n"]]
    for algorithm in ML_DSAS:
        name = suites.SIGNATURES[algorithm].name.replace("ML-DSA-", "MLDSA_")
        for record in records(f"MLDSA/kat_{name}_det_pure.rsp", KEY_STEP):
            calls.append(("signature_public_key", algorithm, record["xi"]))
            wanted.append(record["pk"])
        # A signature of CPython's port, byte for byte, and taken.
        xi, rnd = bytes(range(32)), bytes(range(32, 64))
        signature = crypto.sign(algorithm, xi, b"message", rnd)
        calls += [
            ("sign", algorithm, xi, b"message", rnd),
            ("verify", algorithm, crypto.signature_public_key(algorithm, xi), b"message", signature),
        ]
        wanted += [signature, True]
    # X-Wing, with X25519 in it.
    kem, seed, randomness = suites.MLKEM768_X25519, bytes(range(32)), bytes(range(64))
    public_key = crypto.kem_public_key(kem, seed)
    made = crypto.encapsulate(kem, public_key, randomness)
    calls += [
        ("kem_public_key", kem, seed),
        ("encapsulate", kem, public_key, randomness),
        ("decapsulate", kem, seed, made[0]),
        ("decapsulate", kem, seed, made[0]),
    ]
    wanted += [public_key, made, made[1], made[1]]
    lines = [
        " ".join([part.hex() or "-" if isinstance(part, bytes) else str(part) for part in call])
        for call in calls
    ]
    return lines, wanted


def test_known_answers_with_the_kernels_in_c(native: Path) -> None:
    lines, wanted = calls_and_answers()
    assert len(wanted) == 1 + 120 * 4 + 60 + 3 * 2 + 4
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "calls.txt"
        asked.write_text("\n".join(lines))
        program = (
            "import sys\n"
            "sys.path.append('/host/tests/firmware')\n"
            "import crypto_calls, emulator\n"
            "from handfast_micropython.crypto import Crypto\n"
            "crypto = Crypto()\n"
            f"for line in emulator.read({str(asked)!r}).decode().split('\\n'):\n"
            "    print(crypto_calls.answer(crypto, line))\n"
        )
        flash = Path(folder) / "flash.img"
        said = board_program.run(firmware(), on_board.with_native(native) + program, flash=flash)
    assert [parsed(line) for line in said.split("\n")[:-1]] == wanted
