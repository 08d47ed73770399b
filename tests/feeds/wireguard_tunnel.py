"""A WireGuard tunnel between two namespaces, by wireguard-go."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from namespaces import Place, process, run, two_namespaces, until_ready


class End:
    """One end of the tunnel. Its interface has a name that no other process uses: `wg` finds wireguard-go by
    that name in every namespace."""

    def __init__(self, place: Place, interface: str, inside: str) -> None:
        self.place = place
        self.interface = interface
        self.inside = inside
        self._private = run("wg", "genkey")
        self.public = run("wg", "pubkey", said=self._private).strip()

    def up(self, other: "End") -> None:
        """Configure the interface and its one peer."""
        run(
            "wg",
            "set",
            self.interface,
            "listen-port",
            "51820",
            "private-key",
            "/dev/stdin",
            said=self._private,
        )
        run(*self.place.enter("ip", "address", "add", f"{self.inside}/24", "dev", self.interface))
        run(*self.place.enter("ip", "link", "set", self.interface, "up"))
        self._join(other)

    def forget(self, other: "End") -> None:
        """Make the peer anew, with the same preshared key: the next packet needs a handshake."""
        key = self.preshared
        run("wg", "set", self.interface, "peer", other.public, "remove")
        self._join(other, "preshared-key", "/dev/stdin", said=key)

    def _join(self, other: "End", *more: str, said: str = "") -> None:
        run(
            "wg", "set", self.interface, "peer", other.public, *more,
            "endpoint", f"{other.place.address}:51820", "allowed-ips", f"{other.inside}/32", said=said,
        )  # fmt: skip

    def about_peer(self, what: str) -> list[str]:
        """What `wg show` says of the peer."""
        return run("wg", "show", self.interface, what).split()[1:]

    @property
    def handshake(self) -> int:
        """When the last handshake was, 0 for never."""
        return int(self.about_peer("latest-handshakes")[0])

    @property
    def received(self) -> int:
        """Bytes that came from the peer, handshakes that failed among them."""
        return int(self.about_peer("transfer")[0])

    @property
    def preshared(self) -> str:
        """The preshared key."""
        return self.about_peer("preshared-keys")[0]


@contextlib.contextmanager
def wireguard_tunnel(folder: Path) -> Iterator[tuple[End, End]]:
    """Both ends, up, without a preshared key."""
    with two_namespaces() as places, contextlib.ExitStack() as stack:
        ends = [
            End(place, f"hfw{os.getpid()}{letter}", f"198.51.100.{number}")
            for place, letter, number in zip(places, "ab", (1, 2))
        ]
        for end in ends:
            command = end.place.enter("wireguard-go", "-f", end.interface)
            log = folder / f"{end.interface}.log"
            child = stack.enter_context(process(*command, log=log))
            until_ready(lambda: end.interface in run("wg", "show", "interfaces").split(), child, log)  # noqa: B023
        ends[0].up(ends[1])
        ends[1].up(ends[0])
        yield ends[0], ends[1]
