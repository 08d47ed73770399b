"""What users would run instead: TLS 1.3 with ML-DSA-65 certificates on both sides; CPU of the server.

    python tests/bench/tls_process.py < requests

Client and server stand in one thread and pass bytes through memory; only the server's calls are
timed. The library is the OpenSSL inside the wheel of cryptography, reached by pyOpenSSL.
"""

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from child import Answer, serve
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mldsa
from OpenSSL import SSL, crypto

# A handshake with client certificates takes three turns.
TURNS = 10
LARGEST = 1 << 16

PrivateKey = mldsa.MLDSA65PrivateKey


def certificate(name: str, key: PrivateKey, issuer: str, issuer_key: PrivateKey) -> x509.Certificate:
    """A certificate for `key` by `issuer_key`; an authority's when both names are one."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=24))
        .add_extension(x509.BasicConstraints(name == issuer, None), critical=True)
        .sign(issuer_key, None)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def context(key: PrivateKey, own: x509.Certificate, authority: x509.Certificate) -> SSL.Context:
    """TLS 1.3, sessions off, the peer's certificate demanded; sends its own without the authority's."""
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_3_VERSION)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_options(SSL.OP_NO_TICKET)
    made.use_certificate(crypto.X509.from_cryptography(own))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # pyOpenSSL takes ML-DSA keys from files only.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key.pem"
        file.touch(0o600)
        file.write_bytes(pem)
        made.use_privatekey_file(os.fspath(file))
    store = made.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(authority))
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return made


class Handshakes:
    """What the parent may ask for."""

    def __init__(self) -> None:
        keys = [PrivateKey.generate() for _ in range(3)]
        authority = certificate("authority", keys[0], "authority", keys[0])
        self._server = context(keys[1], certificate("server", keys[1], "authority", keys[0]), authority)
        self._client = context(keys[2], certificate("client", keys[2], "authority", keys[0]), authority)

    def run(self, count: int) -> Answer:
        """CPU seconds of the server for `count` handshakes, bytes of one, and what was negotiated."""
        spent = 0.0
        for _ in range(count):
            connection, seconds, carried = self._handshake()
            spent += seconds
        return {
            "seconds": spent,
            "carried": carried,
            "library": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
            "group": connection.get_group_name(),
            "cipher": connection.get_cipher_name(),
        }

    def _handshake(self) -> tuple[SSL.Connection, float, int]:
        server, client = SSL.Connection(self._server, None), SSL.Connection(self._client, None)
        server.set_accept_state()
        client.set_connect_state()
        spent, carried = 0.0, 0
        for _ in range(TURNS):
            finished = _step(client)
            carried += _carry(client, server)
            began = time.thread_time()
            finished = _step(server) and finished
            spent += time.thread_time() - began
            carried += _carry(server, client)
            if finished:
                return server, spent, carried
        raise RuntimeError("the TLS handshake does not end")


def _step(side: SSL.Connection) -> bool:
    try:
        side.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _carry(sender: SSL.Connection, receiver: SSL.Connection) -> int:
    carried = 0
    while True:
        try:
            data = sender.bio_read(LARGEST)
        except SSL.WantReadError:
            return carried
        carried += len(data)
        receiver.bio_write(data)


if __name__ == "__main__":
    serve({"run": Handshakes().run})
