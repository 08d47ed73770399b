"""The files that make Mosquitto 2 isolate devices: mosquitto.conf, its ACL and its password file.

A device is whoever holds a client id: it may write and read the topics that carry that id and no
others (docs/protocol.md, carriage over MQTT). The hub is the one user with a password.
"""

import base64
import hashlib
import secrets
from collections import namedtuple
from pathlib import Path

from handfast.core.topics import ROOT

# A record of 65,000 bytes of plaintext, its overhead, its topic and the MQTT header: 65 KiB hold all.
MAX_PACKET_SIZE = 66_560
# What mosquitto_passwd of Mosquitto 2 writes: PBKDF2-SHA-512, 101 rounds, salt of 12 bytes. The
# password is 256 random bits, so rounds add nothing.
PASSWORD_ROUNDS = 101

# Paths of a PEM certificate and its key; `ca` is not None when devices must show a certificate.
ServerTls = namedtuple("ServerTls", ("certificate", "key", "ca"))

ACL = f"""\
# Written by handfast-hub. %c is the client id: <chan> while onboarding, <device_id> afterwards.
# Patterns hold for everybody; a client without a user name has nothing else.
pattern write {ROOT}+/up/%c
pattern read {ROOT}+/dn/%c
pattern write {ROOT}+/dev/%c/up/#
pattern read {ROOT}+/dev/%c/dn/#

# The hub reads what devices write and writes what they read.
user {{username}}
topic read {ROOT}{{hub}}/up/+
topic write {ROOT}{{hub}}/dn/+
topic read {ROOT}{{hub}}/dev/+/up/+
topic write {ROOT}{{hub}}/dev/+/dn/+
"""

CONFIGURATION = """\
# Written by handfast-hub for Mosquitto 2.0 or newer. docs/brokers.md explains each line.
listener {port} {host}
{tls}allow_anonymous true
password_file {folder}/hub.passwd
acl_file {folder}/devices.acl

# Devices keep no session and nothing is retained; the hub's session survives its restart, and that
# of Mosquitto: who takes a message for a hub that is not back yet must know that there is one.
retain_available false
allow_zero_length_clientid false
persistent_client_expiration 7d
persistence true
persistence_location {folder}/
autosave_interval 30

# Small packets at once; none larger than the largest record.
set_tcp_nodelay true
max_packet_size {max_packet_size}

# The hub acknowledges after its commit, so it needs more than the 20 in flight and 1000 queued
# that Mosquitto allows by default: beyond those, messages are dropped without a word.
max_inflight_messages 1000
max_queued_messages 100000
max_queued_bytes 268435456
max_connections {max_connections}
"""

TLS = """\
certfile {certificate}
keyfile {key}
tls_version tlsv1.2
"""

CLIENT_CERTIFICATES = """\
cafile {ca}
require_certificate true
"""


def write(
    folder: Path,
    hub: str,
    *,
    host: str = "127.0.0.1",
    port: int = 1883,
    username: str = "handfast-hub",
    password: str | None = None,
    tls: ServerTls | None = None,
    max_connections: int = 100_000,
) -> str:
    """Write mosquitto.conf, devices.acl and hub.passwd into `folder`; returns the hub's password.

    `hub` is the base32 text of the hub's kid, as in its topics. A new random password is made
    when none is given. Existing files of these names are replaced.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(32) if password is None else password
    configuration = CONFIGURATION.format(
        host=host,
        port=port,
        tls=_tls_lines(tls),
        folder=folder,
        max_packet_size=MAX_PACKET_SIZE,
        max_connections=max_connections,
    )
    (folder / "mosquitto.conf").write_text(configuration)
    (folder / "devices.acl").write_text(ACL.format(username=username, hub=hub))
    (folder / "devices.acl").chmod(0o600)
    (folder / "hub.passwd").touch(0o600)
    (folder / "hub.passwd").write_text(f"{username}:{hash_password(password)}\n")
    return password


def hash_password(password: str) -> str:
    """One entry of a Mosquitto 2 password file, without the user name."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PASSWORD_ROUNDS)
    return f"$7${PASSWORD_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _tls_lines(tls: ServerTls | None) -> str:
    if tls is None:
        return ""
    lines = TLS.format(certificate=tls.certificate, key=tls.key)
    return lines if tls.ca is None else lines + CLIENT_CERTIFICATES.format(ca=tls.ca)
