"""The client of ETSI GS QKD 014 V1.1.1: keys from a KME over mutual TLS.

Before the first byte of a request leaves, the KME's certificate has been verified and its common name found
to be
the KME ID that the operator wrote down (clause 5.1 asks for it, and leaves open where the ID stands). Every
call has a
connection of its own: a request on an idle connection that the server is just closing could not be told from
a lost answer, and a lost enc_keys answer is a lost key.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
from cryptography import x509
from cryptography.x509.oid import NameOID

from handfast.core.errors import LocalError
from handfast_cpython.tls import client_context
from handfast_hub.trunk.kme_answers import (
    Key,
    KeyLost,
    KeyNotFound,
    KmeAnswerError,
    KmeUnreachable,
    Status,
    canonical,
    read_keys,
    read_status,
    refusal,
)
from handfast_hub.trunk.used_keys import UsedKeys

# Pauses before a key is asked for again that the peer's KME may be about to get.
NOT_FOUND_DELAYS = (0.05, 0.1, 0.2, 0.4)
# Attempts at a connection; nothing is asked before there is one.
CONNECT_DELAYS = (0.1, 0.4)
_MAX_ANSWER = 1 << 22


class KmeClient:
    """One hub's access to its KME.

    `async with KmeClient(...) as kme: [key] = await kme.enc_keys("hub-vienna")`. Errors: `kme_answers`;
    each is one
    sentence. A key that was returned was never returned before, also not to an earlier process (`used`).
    """

    def __init__(
        self,
        url: str,
        *,
        kme_id: str,
        ca: Path,
        certificate: Path,
        key: Path,
        used: UsedKeys,
        timeout: float = 10.0,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        """`url` like https://kme.example:8443; `ca`, `certificate`, `key`: PEM files. LocalError,
        LinkError."""
        if not url.startswith("https://"):
            raise LocalError(f"expected the https URL of a KME, got {url}")
        self._context = _context_for(kme_id, ca, certificate, key)
        self._url, self._used, self._sleep = url.rstrip("/"), used, sleep
        self._http = httpx.AsyncClient(
            verify=self._context,
            # The environment may name proxies and other authorities; a KME is reached as configured or not
            # at all.
            trust_env=False,
            timeout=timeout,
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def status(self, slave_sae_id: str) -> Status:
        """Get status (clause 5.2)."""
        return read_status(await self._call("status", slave_sae_id, "status"))

    async def enc_keys(
        self,
        slave_sae_id: str,
        number: int = 1,
        size: int | None = None,
        *,
        additional_slave_sae_ids: Sequence[str] = (),
        extension_mandatory: Sequence[dict[str, Any]] = (),
        extension_optional: Sequence[dict[str, Any]] = (),
        verb: str = "POST",
    ) -> list[Key]:
        """Get key (clause 5.3): `number` new keys of `size` bits, the KME's own size when None.

        Never repeated once it was sent: KeyLost says that the answer is missing, and that a key may be lost
        with it.
        `verb` GET can carry number and size only.
        """
        fields: dict[str, Any] = {"number": number}
        if size is not None:
            if size % 8:
                raise LocalError(f"expected a size in bits that is a multiple of 8, got {size}")
            fields["size"] = size
        others = {
            "additional_slave_SAE_IDs": list(additional_slave_sae_ids),
            "extension_mandatory": list(extension_mandatory),
            "extension_optional": list(extension_optional),
        }
        fields |= {name: value for name, value in others.items() if value}
        keys = read_keys(await self._call("enc_keys", slave_sae_id, "enc_keys", fields, verb), number, size)
        return await self._new(keys)

    async def dec_keys(
        self, master_sae_id: str, key_ids: Sequence[str], size: int | None = None, *, verb: str = "POST"
    ) -> list[Key]:
        """Get key with key IDs (clause 5.4), in the order of `key_ids`.

        A KME may hear of a key later than its SAE: not found is asked again four times within a second,
        then it is
        KeyNotFound and a new key must be agreed on. `verb` GET can carry exactly one id.
        """
        wanted = [canonical(key_id) for key_id in key_ids]
        if not wanted or len(set(wanted)) < len(wanted):
            raise LocalError("expected at least one key_ID, and each only once")
        if verb == "GET":
            if len(wanted) != 1:
                raise LocalError("GET asks for exactly one key_ID; use POST for several")
            fields: dict[str, Any] = {"key_ID": wanted[0]}
        else:
            fields = {"key_IDs": [{"key_ID": key_id} for key_id in wanted]}
        for delay in (*NOT_FOUND_DELAYS, None):
            try:
                body = await self._call("dec_keys", master_sae_id, "dec_keys", fields, verb)
                break
            except KeyNotFound:
                if delay is None:
                    raise
                await self._sleep(delay)
        return await self._new(read_keys(body, len(wanted), size, wanted))

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def __aenter__(self) -> "KmeClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _new(self, keys: list[Key]) -> list[Key]:
        await asyncio.to_thread(self._used.take, [(key.key_id, key.value) for key in keys])
        return keys

    async def _call(
        self, method: str, sae_id: str, what: str, fields: dict[str, Any] | None = None, verb: str = "GET"
    ) -> bytes:
        if verb not in ("GET", "POST") or (
            verb == "GET" and not set(fields or {}) <= {"number", "size", "key_ID"}
        ):
            raise LocalError("GET carries number and size, or one key_ID; use POST for anything else")
        url = f"{self._url}/api/v1/keys/{quote(sae_id, safe='')}/{method}"
        if verb == "GET":
            request = self._http.build_request("GET", url, params=fields)
        else:
            body = json.dumps(fields).encode()
            request = self._http.build_request(
                "POST", url, content=body, headers={"Content-Type": "application/json"}
            )
        status, body, retry_after = await self._exchange(request, what)
        if status != 200:
            raise refusal(status, body, retry_after, what)
        return body

    async def _exchange(self, request: httpx.Request, what: str) -> tuple[int, bytes, str | None]:
        for delay in (*CONNECT_DELAYS, None):
            try:
                response = await self._http.send(request, stream=True)
                break
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                trouble = _why_no_connection(error)
                if delay is None or _is_about_certificates(error):
                    raise KmeUnreachable(trouble) from None
                await self._sleep(delay)
            except httpx.HTTPError as error:
                raise _lost(what, error) from None
        try:
            body = b""
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_ANSWER:
                    raise KmeAnswerError(f"the answer to {what} is longer than {_MAX_ANSWER} bytes")
            return response.status_code, body, response.headers.get("retry-after")
        except httpx.HTTPError as error:
            raise _lost(what, error) from None
        finally:
            await response.aclose()


class _WrongKme(ssl.SSLCertVerificationError):
    """The certificate is good, and another's."""


def _context_for(kme_id: str, ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS that ends the handshake unless the peer's common name is `kme_id`: no request is sent to another
    KME."""
    context = client_context(ca=ca, certificate=certificate, key=key)

    class Checked(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            der = self.getpeercert(binary_form=True)
            if der is None:
                raise _WrongKme("the KME showed no certificate")
            subject = x509.load_der_x509_certificate(der).subject
            names = [str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            if names != [kme_id]:
                raise _WrongKme(
                    f"the certificate belongs to {', '.join(names) or 'nobody'}, expected {kme_id}"
                )

    context.sslobject_class = Checked
    return context


def _lost(what: str, error: httpx.HTTPError) -> Exception:
    tls = _tls_error(error)
    if tls is not None:
        # TLS 1.3 tells a client after the handshake that its certificate was not liked. Nothing was
        # delivered.
        return KmeUnreachable(
            f"the KME does not accept this hub's certificate ({tls.reason or tls}); check file, key and CA"
        )
    if what == "status":
        return KmeUnreachable(f"the KME broke off while it answered: {type(error).__name__}")
    return KeyLost(
        f"the answer to {what} was lost ({type(error).__name__}): its key counts as used, ask for a new one"
    )


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_about_certificates(error: BaseException) -> bool:
    return _tls_error(error) is not None


def _why_no_connection(error: BaseException) -> str:
    tls = _tls_error(error)
    if tls is None:
        return f"the KME cannot be reached: {error or type(error).__name__}"
    if isinstance(tls, _WrongKme):
        return f"this is another KME: {tls.args[0]}"
    if isinstance(tls, ssl.SSLCertVerificationError):
        text = tls.verify_message
        if "not yet valid" in text or "expired" in text:
            return f"the KME's certificate does not hold now ({text}): renew it, or set the clocks right"
        return f"the KME's certificate is not to be trusted: {text}"
    return f"TLS with the KME failed: {tls.reason or tls}"
