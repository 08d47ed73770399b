"""A quantum source behind HTTPS: a QRNG appliance on the network.

The service answers GET with 200 and either `application/octet-stream`, the raw bytes, or
`application/json`, an object whose member `data` is a list of numbers 0 to 255 or a string of
hexadecimal digits. `{length}` in the URL becomes the number of bytes that is wanted. The server's
certificate is verified; a proxy or a certificate bundle out of the environment is never used.

The bytes cross a network, so whoever runs the service knows them: they are worth what the trust in
it is worth, and the other sources of a draw carry the rest.
"""

import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx

from handfast.core.constants import SOURCE_QUANTUM
from handfast.core.errors import EntropyError, LocalError

# Bytes of one answer, whatever encoding; a list of numbers takes about five bytes for one.
MAX_LENGTH = 4096
MAX_ANSWER = 8 * MAX_LENGTH
TIMEOUT = 5.0


class HttpsSource:
    """An HTTPS service that gives raw quantum bytes."""

    kind = SOURCE_QUANTUM

    def __init__(self, url: str, min_entropy: float = 0.8, ca: str | None = None) -> None:
        """`ca`: a PEM file with the only roots to trust, or None for the system's. `min_entropy`:
        claimed bits per bit. LocalError when the URL is not https or the file cannot be used."""
        # The host alone: a path or query may hold a customer's key.
        self.model = f"https {_host(url)}"[:64]
        self.min_entropy = min_entropy
        self._url = url
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise LocalError(f"the certificates in {ca} cannot be read: {error}") from error
        self._client = httpx.AsyncClient(verify=context, trust_env=False, timeout=TIMEOUT)

    async def read(self, length: int) -> bytes:
        """1 to `length` bytes; EntropyError when the service does not give them."""
        wanted = min(length, MAX_LENGTH)
        try:
            kind, answer = await self._get(self._url.replace("{length}", str(wanted)))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Type and text of the exception; the URL stays out, it may hold a key.
            raise EntropyError(f"{self.model}: {type(error).__name__}: {error}") from error
        return decode_answer(kind, answer)[:length]

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        await self._client.aclose()

    async def _get(self, url: str) -> tuple[str, bytes]:
        headers = {"accept": "application/octet-stream, application/json"}
        async with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code != 200:
                raise EntropyError(
                    f"{self.model} answered with status {response.status_code} where 200 was expected"
                )
            answer = b""
            async for part in response.aiter_bytes():
                answer += part
                if len(answer) > MAX_ANSWER:
                    raise EntropyError(f"{self.model} answered with more than {MAX_ANSWER} bytes")
            return response.headers.get("content-type", "").split(";")[0].strip().lower(), answer


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return parts.hostname
    except ValueError:
        pass
    raise LocalError(f"a quantum service needs an https:// URL with a host, not {url!r}")


def decode_answer(kind: str, answer: bytes) -> bytes:
    """The raw bytes in an answer of content type `kind`; EntropyError when it is of another form."""
    if kind == "application/octet-stream":
        raw: bytes | None = answer
    elif kind == "application/json":
        raw = _decode_json(answer)
    else:
        raise EntropyError(
            f"the service answered with {kind[:60] or 'no content type'}; octet-stream or JSON was expected"
        )
    if not raw:
        raise EntropyError(
            'the service answered without bytes; JSON needs "data": [0 to 255, ...] or hexadecimal'
        )
    return raw


def _decode_json(answer: bytes) -> bytes | None:
    try:
        content: Any = json.loads(answer)
        data = content["data"]
        if isinstance(data, str):
            return bytes.fromhex(data)
        if isinstance(data, list) and all(type(number) is int for number in data):
            return bytes(data)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None
