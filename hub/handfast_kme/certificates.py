"""The installation's own CA, and certificates for KMEs, SAEs and lines. ECDSA P-256, as every TLS stack has
it.

A KME certificate is for server and client, with the address as subject alternative name: KMEs talk to each
other too. ETSI GS QKD 014 leaves open where an identity stands; here it is the subject, compared as a whole.
"""

import datetime as dt
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from handfast.core.errors import KeystoreError


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    # mkdir with parents would make those with the mode of the day.
    for folder_above in reversed([path.parent, *path.parent.parents]):
        folder_above.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Authority:
    """The CA of one installation."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate, self._key = certificate, key

    @classmethod
    def create(cls, folder: Path, name: str, days: int) -> "Authority":
        """Make a CA in `folder`: ca.pem and ca.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            ]
        )
        builder = _builder(subject, subject, key, days * 3)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        write_atomically(folder / "ca.key", _key_pem(key))
        write_atomically(folder / "ca.pem", _pem(certificate), 0o644)
        return cls(certificate, key)

    @classmethod
    def load(cls, folder: Path) -> "Authority":
        """The CA of `folder`; KeystoreError."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError) as error:
            raise KeystoreError(f"{folder} should hold the CA, ca.pem and ca.key: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeystoreError(f"{folder}/ca.key should be an EC key")
        return cls(certificate, key)

    def issue(self, folder: Path, name: str, subject: str, days: int, address: str | None = None) -> None:
        """Write <name>.pem, <name>.key and ca.pem into `folder`. With an `address` it is for servers too."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(x509.Name.from_rfc4514_string(subject), self.certificate.subject, key, days)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if address is not None:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(address)]), critical=False
            )
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        write_atomically(folder / f"{name}.key", _key_pem(key))
        write_atomically(folder / f"{name}.pem", _pem(certificate), 0o644)
        write_atomically(folder / "ca.pem", _pem(self.certificate), 0o644)

    def vouches_for(self, path: Path, subject: str, days: int, address: str | None = None) -> bool:
        """Whether `path` is a certificate of ours that still fits and is not in its last third."""
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
            found.verify_directly_issued_by(self.certificate)
            path.with_suffix(".key").stat()
        except Exception:  # whatever is wrong with it, a new one is made
            return False
        left = found.not_valid_after_utc - _now()
        if found.subject != x509.Name.from_rfc4514_string(subject) or left < dt.timedelta(days=days) / 3:
            return False
        try:
            names = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            names = []
        return names == ([] if address is None else [_alternative(address)])


def server_tls(folder: Path, name: str) -> ssl.SSLContext:
    """TLS that demands a certificate of our CA from whoever calls."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def client_tls(folder: Path, name: str) -> ssl.SSLContext:
    """TLS for a call under our own certificate, to a server of our CA."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(folder / "ca.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def subject_of(tls: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """The subject of the peer's verified certificate, RFC 4514; empty when it showed none."""
    der = None if tls is None else tls.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).subject.rfc4514_string() if der else ""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    # An hour back: clocks of two sites differ.
    builder = builder.not_valid_before(_now() - dt.timedelta(hours=1))
    builder = builder.not_valid_after(_now() + dt.timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
