"""The .rsp files of cryptography_vectors, and the answers of tests/firmware/crypto_calls.py."""

from itertools import islice
from pathlib import Path

import cryptography_vectors

VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric"


def parsed(line: str) -> object:
    """bytes, a tuple of bytes, a bool or the name of an error."""
    if line in ("True", "False"):
        return line == "True"
    if line.endswith("Error"):
        return line
    parts = tuple(bytes.fromhex(word) for word in line.split())
    return parts if len(parts) > 1 else parts[0]


def records(path: str, step: int) -> list[dict[str, bytes]]:
    """Every step-th record of an .rsp file."""
    blocks = (VECTORS / path).read_text().split("count = ")[1:]
    return [
        {name: bytes.fromhex(value) for name, _, value in lines if name not in ("mlen", "smlen")}
        for block in islice(blocks, 0, None, step)
        for lines in [[line.partition(" = ") for line in block.splitlines()[1:] if " = " in line]]
    ]
