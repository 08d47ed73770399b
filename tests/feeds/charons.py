"""Two strongSwan daemons in two namespaces, with ESP in user space (kernel-libipsec)."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vici
from namespaces import Place, process, run, two_namespaces, until_ready

DAEMON = "charon-systemd"
# kernel-libipsec before kernel-netlink: both can do ESP, and the kernel may have none.
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac kdf gcm curve25519"
    " kernel-libipsec kernel-netlink socket-default vici"
)
SETTINGS = """
charon-systemd {{
  load = {plugins}
  install_routes = yes
  plugins {{
    vici {{
      socket = unix://{vici}
    }}
  }}
  journal {{
    default = -1
  }}
  filelog {{
    {name} {{
      path = {log}
      default = 1
      flush_line = yes
    }}
  }}
}}
"""


class Charon:
    """One daemon; `inside` is the address that the tunnel protects."""

    def __init__(self, place: Place, inside: str, folder: Path) -> None:
        self.place = place
        self.inside = inside
        self.socket = folder / f"{place.name}.vici"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / f"{place.name}.charon.log"
        self.settings = folder / f"{place.name}.conf"
        self.settings.write_text(
            SETTINGS.format(vici=self.socket, log=self.log, name=f"{place.name}-log", plugins=PLUGINS)
        )

    @contextlib.contextmanager
    def session(self) -> Iterator["vici.Session"]:
        """A session with it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.socket))
            yield vici.Session(connection)

    def ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(OSError), self.session() as session:
            return bool(session.version())
        return False

    def associations(self) -> list[tuple[str, dict[str, Any]]]:
        """Every IKE_SA that is established: the name of its connection, and what charon says of it."""
        with self.session() as session:
            found = [item for entry in session.list_sas() for item in entry.items()]
        return [(name, sa) for name, sa in found if sa["state"] == b"ESTABLISHED"]

    def ppks(self) -> list[str]:
        """The shared keys that a feed loaded."""
        with self.session() as session:
            return [
                key.decode() for key in session.get_shared().get("keys", []) if key.startswith(b"handfast")
            ]

    def connection(self, other: "Charon") -> dict[str, Any]:
        """What `[feed.NAME.connection]` says of the way to the other one."""
        return {
            "local_addrs": [self.place.address],
            "remote_addrs": [other.place.address],
            "local": {"auth": "psk", "id": self.place.address},
            "remote": {"auth": "psk", "id": other.place.address},
            "proposals": ["aes256gcm16-prfsha384-x25519"],
            "children": {
                "inside": {
                    "local_ts": [f"{self.inside}/32"],
                    "remote_ts": [f"{other.inside}/32"],
                    "esp_proposals": ["aes256gcm16"],
                    "start_action": "trap",
                }
            },
        }


@contextlib.contextmanager
def two_charons(folder: Path) -> Iterator[tuple[Charon, Charon]]:
    """Both of them, with the classical half of their authentication; no connection yet."""
    with two_namespaces() as places, contextlib.ExitStack() as stack:
        charons = [Charon(place, f"198.51.100.{number}", folder) for place, number in zip(places, (1, 2))]
        for charon in charons:
            run(*charon.place.enter("ip", "address", "add", f"{charon.inside}/32", "dev", "lo"))
            command = charon.place.enter(DAEMON)
            log = folder / f"{charon.place.name}.out"
            charon.process = stack.enter_context(
                process(*command, log=log, STRONGSWAN_CONF=str(charon.settings))
            )
            # Debian's profile of AppArmor, where it is enforced, lets charon open no socket of ours.
            until_ready(charon.ready, charon.process, log)
            with charon.session() as session:
                session.load_shared({"type": "IKE", "data": "classical", "owners": []})
        yield charons[0], charons[1]
