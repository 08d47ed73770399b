"""NIST's CCM vectors (CAVS 11.0, in PyPI's cryptography_vectors) through the Crypto port.

DVPT has good and bad ciphertexts with tags of 16 bytes, VTT has encryptions with tags of 8.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from crypto_libraries import crypto_of

from handfast.core import suites
from handfast.core.errors import AuthenticationError

FOLDER = Path(cryptography_vectors.__file__).parent / "ciphers/AES/CCM"
OF_A_RECORD = ("CT", "Payload", "Result")


def records(file: str) -> Iterator[dict[str, str]]:
    """Each record with every value that stands above it in force."""
    values: dict[str, str] = {}
    for line in (FOLDER / file).read_text().splitlines():
        names = re.findall(r"(\w+) = (\w+)", line)
        if line.startswith("Count"):
            if "CT" in values:
                yield values
            # Values of a section stay, those of a record do not.
            values = {
                name: value for name, value in values.items() if name not in ("CT", "Result", "Payload")
            }
        elif line.startswith("[") and "CT" in values:
            yield values
            values = {name: value for name, value in values.items() if name in ("Alen", "Plen", "Nlen")}
        values.update(names)
    yield values


def octets(record: dict[str, str], name: str, length: str | None = None) -> bytes:
    """An empty value is written as 00 with its length 0 above."""
    return b"" if length is not None and record[length] == "0" else bytes.fromhex(record[name])


@pytest.mark.parametrize(
    ("algorithm", "file"),
    [(suites.AES_CCM_16_128_128, "DVPT128.rsp"), (suites.AES_CCM_16_128_256, "DVPT256.rsp")],
)
def test_decryption_with_good_and_bad_tags(algorithm: int, file: str) -> None:
    crypto = crypto_of("pycryptodome")
    good = bad = 0
    for record in records(file):
        if (record["Nlen"], record["Tlen"]) != ("13", "16"):
            continue
        key, nonce, sealed = (octets(record, name) for name in ("Key", "Nonce", "CT"))
        aad = octets(record, "Adata", "Alen")
        if record["Result"] == "Pass":
            good += 1
            plaintext = octets(record, "Payload", "Plen")
            assert crypto.open(algorithm, key, nonce, aad, sealed) == plaintext
            assert crypto.seal(algorithm, key, nonce, aad, plaintext) == sealed
        else:
            bad += 1
            with pytest.raises(AuthenticationError):
                crypto.open(algorithm, key, nonce, aad, sealed)
    assert good + bad == 60
    assert good >= 10
    assert bad >= 30


@pytest.mark.parametrize(
    ("algorithm", "file", "tag"),
    [
        (suites.AES_CCM_16_64_128, "VTT128.rsp", "8"),
        (suites.AES_CCM_16_128_128, "VTT128.rsp", "16"),
        (suites.AES_CCM_16_128_256, "VTT256.rsp", "16"),
    ],
)
def test_encryption_with_tags_of_each_length(algorithm: int, file: str, tag: str) -> None:
    crypto = crypto_of("pycryptodome")
    count = 0
    for record in records(file):
        if record["Tlen"] != tag:
            continue
        key, nonce, aad, plaintext, sealed = (
            octets(record, name) for name in ("Key", "Nonce", "Adata", "Payload", "CT")
        )
        assert crypto.seal(algorithm, key, nonce, aad, plaintext) == sealed
        assert crypto.open(algorithm, key, nonce, aad, sealed) == plaintext
        count += 1
    assert count == 10
