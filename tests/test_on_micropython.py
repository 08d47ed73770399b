"""Every file of tests/core, tests/shell and tests/firmware once more, under MicroPython."""

from pathlib import Path

import on_micropython
import pytest

# Files that draw from the generator of the machine.
NEED_A_GENERATOR = [f"tests/firmware/test_{name}.py" for name in ("board", "entropy", "keystore", "qrng")]

# Files whose subject is computed in three tiers.
CRYPTO_FILES = [
    on_micropython.ROOT / f"tests/firmware/test_{name}.py"
    for name in (
        *("aes", "buffers", "coefficients", "keccak", "mldsa", "mldsa_arithmetic", "mlkem", "tier", "x25519"),
        "xwing",
    )
]


@pytest.fixture(scope="module", params=[64, 32], ids=lambda bits: f"{bits}_bit")
def command(request: pytest.FixtureRequest) -> list[str]:
    """A MicroPython with the words of this machine, and where it can be built one with those of a chip."""
    try:
        return on_micropython.interpreter(request.param)
    except on_micropython.BuildError as error:
        if request.param == 64:
            raise
        pytest.skip(f"32-bit MicroPython: {error}")


@pytest.fixture(scope="module", params=[64, 32], ids=lambda bits: f"{bits}_bit")
def native(request: pytest.FixtureRequest) -> list[str]:
    """The same, with the kernels in C."""
    try:
        command = on_micropython.interpreter(request.param)
        if command[0] == "node":
            pytest.skip("npm's MicroPython loads no machine code")
        return on_micropython.with_native_module(command, request.param)
    except on_micropython.BuildError as error:
        if request.param == 64:
            raise
        pytest.skip(f"32-bit MicroPython: {error}")


@pytest.mark.parametrize("path", on_micropython.test_files(), ids=lambda path: path.stem)
def test_under_micropython(path: Path, command: list[str]) -> None:
    if command[0] == "node" and path.relative_to(on_micropython.ROOT).as_posix() in NEED_A_GENERATOR:
        pytest.skip("npm's MicroPython has no os.urandom")
    passed, failed, said = on_micropython.run(command, path)
    assert failed == 0, said
    assert passed == on_micropython.written(path), "a test did not run:\n" + said


@pytest.mark.parametrize("path", CRYPTO_FILES, ids=lambda path: path.stem)
def test_with_kernels_in_c(path: Path, native: list[str]) -> None:
    passed, failed, said = on_micropython.run(native, path)
    assert failed == 0, said
    assert passed == on_micropython.written(path), "a test did not run:\n" + said


def test_a_test_that_fails_under_micropython_is_seen(command: list[str]) -> None:
    passed, failed, said = on_micropython.run(
        command, on_micropython.ROOT / "tests/firmware/failing_sample.py"
    )
    assert (passed, failed) == (1, 2)
    assert "AssertionError: one is not two" in said
