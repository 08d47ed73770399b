"""A real Mosquitto process on a free loopback port, with the files that handfast-hub writes.

Never a system service: each broker has its own folder, port and process, and is ended by its
process object. Tests that need it carry `needs_mosquitto` and are skipped by name without it.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from free_ports import free_port

from handfast_hub.mqtt import mosquitto as files

PROGRAM = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(
    PROGRAM is None, reason="mosquitto is missing: apt-get install mosquitto"
)

HUB = "aaaaaaaaaaaaa"
# Seconds to start, and to end.
PATIENCE = 60.0


class Mosquitto:
    """One broker process: `host`, `port`, and the hub's `username` and `password`."""

    def __init__(self, folder: Path, hub: str = HUB, tls: files.ServerTls | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self.username = "handfast-hub"
        self.folder = folder
        self.password = files.write(folder, hub, host=self.host, port=self.port, tls=tls)
        if os.geteuid() == 0:
            # Mosquitto started by root becomes the user "mosquitto", who cannot read the test's folder.
            with (folder / "mosquitto.conf").open("a") as configuration:
                configuration.write("user root\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it listens."""
        assert PROGRAM is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [PROGRAM, "-c", str(self.folder / "mosquitto.conf")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("mosquitto did not start:\n" + (self.folder / "mosquitto.log").read_text())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)

    def listens(self) -> bool:
        """Whether somebody accepts connections on the port."""
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def stop(self) -> None:
        """End the process; every client is dropped."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None


@contextlib.contextmanager
def running(folder: Path, hub: str = HUB, tls: files.ServerTls | None = None) -> Iterator[Mosquitto]:
    """A started broker that is stopped at the end."""
    broker = Mosquitto(folder, hub, tls)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def make_certificates(folder: Path, name: str = "localhost") -> tuple[Path, files.ServerTls]:
    """A new authority and a certificate for `name` (and 127.0.0.1 when it is localhost): (ca, server)."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    authority_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        alternatives.append(x509.IPAddress(ip_address("127.0.0.1")))
    authority_identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(authority_identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    server = (
        _certificate(server_name, authority_name, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_identifier),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    ca, certificate, key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return ca, files.ServerTls(certificate, key, None)


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=24))
    )
