"""TLS towards a broker: the certificate is always verified, the host name always checked.

TLS hides metadata from the network, nothing more: what handfast protects does not depend on it.
"""

import ssl
from pathlib import Path

from handfast.core.errors import LocalError


def client_context(
    *,
    ca: "str | Path | None" = None,
    certificate: "str | Path | None" = None,
    key: "str | Path | None" = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """A context that trusts the PEM file `ca`, or the system's authorities without one.

    `certificate` and `key` are PEM files for a broker that asks for a client certificate; `key` may
    be left out when `certificate` holds both. LocalError when a file cannot be read or used.
    """
    if key is not None and certificate is None:
        raise LocalError("a client key was given without its certificate: name the certificate file too")
    if minimum_version < ssl.TLSVersion.TLSv1_2:
        raise LocalError(f"TLS 1.2 is the lowest version that handfast speaks, not {minimum_version.name}")
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if ca is None else str(ca))
    except (OSError, ValueError) as error:
        raise LocalError(f"the CA file {ca} should hold PEM certificates: {_reason(error)}") from error
    context.minimum_version = minimum_version
    if certificate is not None:
        try:
            # Without a password function OpenSSL would stop and ask on the terminal.
            context.load_cert_chain(
                str(certificate), None if key is None else str(key), password=_refuse_password
            )
        except (OSError, ValueError) as error:
            raise LocalError(
                f"the client certificate {certificate} and its key should be PEM files that belong together: "
                f"{_reason(error)}"
            ) from error
    return context


def server_context(*, certificate: "str | Path | None", key: "str | Path | None" = None) -> ssl.SSLContext:
    """A context for a broker of our own; `certificate` and `key` as for `client_context`.

    LocalError without a certificate, and when a file cannot be read or used.
    """
    if certificate is None:
        raise LocalError("a broker with TLS needs a certificate: name its PEM file, and that of its key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(
            str(certificate), None if key is None else str(key), password=_refuse_password
        )
    except (OSError, ValueError) as error:
        raise LocalError(
            f"the certificate {certificate} should be a PEM file that belongs to its key: {_reason(error)}"
        ) from error
    return context


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; give an unencrypted key file with mode 0600")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(error) or type(error).__name__
