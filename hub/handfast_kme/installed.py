"""Where everything of an installation lies, so that apply, serve and the tests agree."""

from collections.abc import Iterator
from pathlib import Path

from handfast.core.errors import KeystoreError
from handfast_kme.channel import ONE_TIME_KEY

PSK = 32
"""Bytes of the pre-shared key of a link's classical channel."""
ONE_TIME_KEYS = 64
"""One-time keys that a new link begins with; every block uses one and brings two."""


class Folder:
    """The folder of an installation.

    ca/                     ca.pem, ca.key
    nodes/<node>/           kme.pem, kme.key, ca.pem, store.sqlite, <link>.psk, <link>-line.psk
    lines/<link>/           line.pem, line.key, ca.pem, alice.psk, bob.psk
    consumers/<sae>/        sae.pem, sae.key, ca.pem
    dials/<link>.json
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def authority(self) -> Path:
        return self.root / "ca"

    def node(self, name: str) -> Path:
        return self.root / "nodes" / name

    def line(self, name: str) -> Path:
        return self.root / "lines" / name

    def consumer(self, name: str) -> Path:
        return self.root / "consumers" / name

    def store(self, node: str) -> Path:
        return self.node(node) / "store.sqlite"

    def dials(self, link: str) -> Path:
        return self.root / "dials" / f"{link}.json"

    def psk_at_node(self, node: str, link: str) -> Path:
        return self.node(node) / f"{link}.psk"

    def psk_at_line(self, link: str, role: str) -> Path:
        return self.line(link) / f"{role}.psk"


def read_psk(path: Path) -> bytes:
    """The pre-shared key of a channel, 32 bytes; KeystoreError."""
    return _read(path)[:PSK]


def first_one_time_keys(path: Path) -> Iterator[tuple[str, bytes]]:
    """The one-time keys behind it; none in the file of a line."""
    rest = _read(path)[PSK:]
    for number in range(len(rest) // ONE_TIME_KEY):
        yield f"first-{number:03}", rest[number * ONE_TIME_KEY : (number + 1) * ONE_TIME_KEY]


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KeystoreError(f"there is no pre-shared key: run 'handfast-kme apply' first: {error}") from None
    if len(content) < PSK:
        raise KeystoreError(f"{path} should hold at least {PSK} bytes")
    return content
