"""Write the bytecode twins of the viper files: the same statements without types.

    python firmware_micropython/derive_bytecode.py

For interpreters that compile no viper. Keccak is not among them: without viper, 64-bit lanes are better.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "handfast_micropython"
NAMES = ("aes", "buffers", "coefficients", "ghash", "mldsa", "mldsa_rounding", "mlkem")


def bytecode(viper: str, name: str) -> str:
    """The source of `name`_bytecode.py, from that of `name`_viper.py."""
    code = viper.replace(f"{name}_bytecode is this file without types.", f"Written from {name}_viper.")
    code = code.replace("for chips with viper", "where MicroPython compiles no viper")
    code = (
        code.replace("import micropython\n\n\n", "\n")
        .replace("@micropython.viper\n", "")
        .replace(": uint", ": int")
    )
    return re.sub(r"\b(?:ptr8|ptr32|uint)\((\w+(?:\[[^\]]*\])?)\)", r"\1", code)


if __name__ == "__main__":
    for each in NAMES:
        source = (FOLDER / f"{each}_viper.py").read_text()
        (FOLDER / f"{each}_bytecode.py").write_text(bytecode(source, each))
