"""What is generated under firmware_micropython is what its generators write now."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FIRMWARE = Path(__file__).parents[1] / "firmware_micropython"


def generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FIRMWARE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", generator("generate_keccak").FILES)
def test_keccak_in_viper_is_what_its_generator_writes(name: str) -> None:
    keccak = generator("generate_keccak")
    assert (keccak.FOLDER / name).read_text() == keccak.FILES[name]()


@pytest.mark.parametrize("name", generator("derive_bytecode").NAMES)
def test_the_bytecode_twin_is_the_viper_file_without_types(name: str) -> None:
    viper = (FIRMWARE / "handfast_micropython" / f"{name}_viper.py").read_text()
    twin = (FIRMWARE / "handfast_micropython" / f"{name}_bytecode.py").read_text()
    assert twin == generator("derive_bytecode").bytecode(viper, name)
