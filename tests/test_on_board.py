"""Files of tests/core, tests/shell and tests/firmware, and known answers, on the emulated Cortex-M3.

An emulated chip is slow: each run takes the files of QUICK, and ROTATING of SLOW, others each day. All there
are: python tests/on_board.py. Known answers are 36, others each day too: of each ML-KEM two of
the 1,000 records of kat_MLKEM_*.rsp (key, ciphertext, secret, implicit rejection), of each ML-DSA one of the
100 keys of kat_MLDSA_*_det_pure.rsp, and a signature, its verification and a forgery as CPython has them.
"""

import datetime as dt
import os
import shutil
from pathlib import Path
from random import Random

import board_program
import cryptography_vectors
import on_board
import on_micropython
import pytest
from build_qemu_port import BOARDS, firmware
from micropython_build import BuildError

from handfast.core import suites
from handfast_cpython.crypto import Crypto

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None,
    reason="the emulated board needs qemu-system-arm and gcc-arm-none-eabi: apt-get install them",
)
VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric"
# The number of the day chooses; a run can be repeated by its date.
TODAY = dt.datetime.now(dt.UTC).toordinal()
# Files that take the board a few seconds, run always.
QUICK = (
    "core/test_cbor",
    "core/test_codes",
    "core/test_cose",
    "core/test_credentials",
    "core/test_device_session",
    "core/test_device_session_epochs",
    "core/test_device_session_storage",
    "core/test_ead",
    "core/test_entropy",
    "core/test_errors",
    "core/test_frames",
    "core/test_health_tests",
    "core/test_hub_session",
    "core/test_hub_session_records",
    "core/test_hub_session_restored",
    "core/test_key_cache",
    "core/test_messages",
    "core/test_plaintexts",
    "core/test_records",
    "core/test_replay",
    "core/test_rfc9529",
    "core/test_root_key",
    "core/test_session_faults",
    "firmware/test_aes",
    "firmware/test_buffers",
    "firmware/test_keccak",
    "firmware/test_keystore",
    "firmware/test_mqtt",
    "firmware/test_mqtt_hostile",
    "firmware/test_mqtt_lost",
    "firmware/test_uart",
    "firmware/test_mldsa",
    "firmware/test_mlkem",
    "firmware/test_x25519",
    "firmware/test_xwing",
    "shell/test_identity",
    "shell/test_inbox",
)
# Files of which each takes up to a minute, and how many of them run on one day.
SLOW = (
    "core/test_ead_in_handshakes",
    "core/test_handshake_faults",
    "core/test_initiator",
    "core/test_key_schedule",
    "core/test_onboarding_vectors",
    "core/test_replayed_crypto",
    "shell/test_device",
    "shell/test_device_life",
    "shell/test_enrolment",
    "shell/test_enrolment_attacked",
)
ROTATING = 1


@pytest.fixture(scope="module")
def image() -> Path:
    """The firmware of the Cortex-M3."""
    return built("an385")


def built(board: str) -> Path:
    """The firmware of a board; outside CI the test is skipped where it cannot be built."""
    try:
        return firmware(board)
    except BuildError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no firmware: {error}")


def chosen() -> list[Path]:
    """The files of today."""
    first = TODAY % len(SLOW)
    names = (*QUICK, *(SLOW + SLOW)[first : first + ROTATING])
    return [on_micropython.ROOT / "tests" / f"{name}.py" for name in names]


def test_files_of_core_shell_and_firmware_pass_on_the_board(image: Path) -> None:
    paths = chosen()
    found = on_board.run(image, paths)
    assert sorted(found) == sorted(paths)
    for path, (passed, failed, said) in found.items():
        assert failed == 0, said
        assert passed == on_micropython.written(path), "a test did not run:\n" + said


def test_a_test_that_fails_on_the_board_is_seen(image: Path) -> None:
    path = on_micropython.ROOT / "tests/firmware/failing_sample.py"
    passed, failed, said = on_board.run(image, [path])[path]
    assert (passed, failed) == (1, 2)
    assert "AssertionError: one is not two" in said


def records(path: str, numbers: tuple[int, ...]) -> list[dict[str, bytes]]:
    """Those records of an .rsp file."""
    blocks = (VECTORS / path).read_text().split("count = ")[1:]
    return [
        {
            name: bytes.fromhex(value)
            for name, _, value in (line.partition(" = ") for line in blocks[number].splitlines()[1:])
            if value and name not in ("mlen", "smlen")
        }
        for number in numbers
    ]


def calls_of_today() -> tuple[list[tuple[object, ...]], list[str]]:
    """Calls of the Crypto port, and how crypto_calls.py should answer each."""
    calls: list[tuple[object, ...]] = []
    wanted: list[str] = []
    for kem in (suites.ML_KEM_512, suites.ML_KEM_768, suites.ML_KEM_1024):
        name = f"MLKEM/kat_{kem.replace('ML-KEM-', 'MLKEM_')}.rsp"
        for record in records(name, (TODAY % 1000, (TODAY + 500) % 1000)):
            seed = record["d"] + record["z"]
            calls += [
                ("kem_public_key", kem, seed),
                ("encapsulate", kem, record["pk"], record["msg"]),
                ("decapsulate", kem, seed, record["ct"]),
                ("decapsulate", kem, seed, record["ct_n"]),
            ]
            wanted += [
                record["pk"].hex(),
                f"{record['ct'].hex()} {record['ss'].hex()}",
                record["ss"].hex(),
                record["ss_n"].hex(),
            ]
    crypto, random = Crypto("pycryptodome"), Random(TODAY)
    for algorithm in (suites.ML_DSA_44, suites.ML_DSA_65, suites.ML_DSA_87):
        name = suites.SIGNATURES[algorithm].name.replace("ML-DSA-", "MLDSA_")
        (record,) = records(f"MLDSA/kat_{name}_det_pure.rsp", (TODAY % 100,))
        rnd, message = random.randbytes(32), random.randbytes(random.randrange(300))
        signature = crypto.sign(algorithm, record["xi"], message, rnd)
        calls += [
            ("signature_public_key", algorithm, record["xi"]),
            ("sign", algorithm, record["xi"], message, rnd),
            ("verify", algorithm, record["pk"], message, signature),
            ("verify", algorithm, record["pk"], message + b"\0", signature),
        ]
        wanted += [record["pk"].hex(), signature.hex(), "True", "False"]
    return calls, wanted


def test_known_answers_on_the_board_and_the_answers_of_cpython(image: Path, tmp_path: Path) -> None:
    calls, wanted = calls_of_today()
    assert len(calls) == 36
    file = tmp_path / "calls"
    file.write_text("\n".join(on_micropython.call_line(call) for call in calls))
    program = (
        "import emulator, sys\n"
        "sys.path.append('/host/tests/firmware')\n"
        "import crypto_calls\n"
        "from handfast_micropython.crypto import Crypto\n"
        "crypto = Crypto()\n"
        f"for line in emulator.read({str(file)!r}).decode().split('\\n'):\n"
        "    print(crypto_calls.answer(crypto, line))\n"
    )
    assert board_program.run(image, program, heap=400 << 10).splitlines() == wanted


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_starts_and_computes(board: str) -> None:
    program = (
        "import os\n"
        "from handfast_micropython.crypto import Crypto\n"
        "crypto = Crypto()\n"
        "key = crypto.kem_public_key('ML-KEM-768', bytes(64))\n"
        "ciphertext, secret = crypto.encapsulate('ML-KEM-768', key, bytes(32))\n"
        "same = crypto.decapsulate('ML-KEM-768', bytes(64), ciphertext) == secret\n"
        "print(os.uname()[4], crypto.name, same)\n"
    )
    said = board_program.run(built(board), program, board=board, heap=192 << 10)
    assert said.startswith(f"mps2-{board} with Cortex-M") and said.endswith(", viper True\n")
