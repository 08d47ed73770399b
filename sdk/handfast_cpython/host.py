"""The bundle of ports that a Device takes on a CPython machine."""

import os
from pathlib import Path

from handfast.core.errors import Error
from handfast.ports import QuantumSource
from handfast_cpython.clock import Clock
from handfast_cpython.crypto import Crypto
from handfast_cpython.entropy import Entropy
from handfast_cpython.keystore import Keystore
from handfast_cpython.qrng import open_source

MACHINE_ID = Path("/etc/machine-id")


class Host:
    """Crypto, keystore, entropy and clock of this machine, over one directory.

    host = Host("/var/lib/handfast", qrng="/dev/qrandom0")
    """

    def __init__(self, path: str | os.PathLike[str], *, qrng: str | QuantumSource = "os") -> None:
        """`path`: the directory of the keystore. `qrng`: see `handfast_cpython.qrng`, or a source.

        LocalError for a `qrng` that does not exist, KeystoreError when the keystore cannot be used.
        """
        source = open_source(qrng) if isinstance(qrng, str) else qrng
        self.crypto = Crypto()
        self.clock = Clock()
        self.keystore = Keystore(path)
        try:
            self.entropy = Entropy(self.crypto, self.keystore, source, unique_id=_machine_id())
        except Error:
            self.keystore.close()
            raise

    async def close(self) -> None:
        """Let go of the source and of the keystore's lock; may be called twice."""
        await self.entropy.close()
        self.keystore.close()


def _machine_id() -> bytes:
    try:
        return MACHINE_ID.read_bytes().strip()
    except OSError:
        return b""
