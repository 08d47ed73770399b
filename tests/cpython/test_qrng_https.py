"""The quantum source behind HTTPS, against a real server on this machine."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from mosquitto import make_certificates

from handfast.core.errors import EntropyError
from handfast_cpython.qrng import open_source
from handfast_cpython.qrng_https import MAX_ANSWER, HttpsSource, decode_answer


class Service(NamedTuple):
    """An HTTPS service on this machine, the file of its authority, and what it was asked."""

    url: str
    ca: Path
    requests: list[str]


@asynccontextmanager
async def service(path: Path, answers: list[bytes]) -> AsyncIterator[Service]:
    """Answers each request with the next of `answers`, whole HTTP responses."""
    ca, own = make_certificates(path / "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.certificate, own.key)
    requests: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                requests.append(head.split(b"\r\n")[0].decode())
                writer.write(answers[len(requests) - 1])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Service(f"https://localhost:{port}/raw?n={{length}}", ca, requests)
    finally:
        server.close()


def response(body: bytes, kind: str = "application/octet-stream", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_service_gives_raw_bytes_and_both_forms_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy and a bundle of certificates out of the environment would break it, were they used.
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    answers = [
        response(b"sixty-four or fewer"),
        response(json.dumps({"data": [0, 255, 17], "success": True}).encode(), "application/json"),
        response(b'{"data": "00ff11"}', "application/json; charset=utf-8"),
        response(bytes(100)),
    ]
    async with service(tmp_path, answers) as served:
        source = open_source(f"{served.url}#ca={served.ca}")
        assert await source.read(64) == b"sixty-four or fewer"
        assert await source.read(64) == b"\x00\xff\x11"
        assert await source.read(10000) == b"\x00\xff\x11"
        assert await source.read(64) == bytes(64)
        await source.close()
        await source.close()
        assert served.requests[0] == "GET /raw?n=64 HTTP/1.1"
        assert served.requests[2] == "GET /raw?n=4096 HTTP/1.1"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (response(b"", status="503 Service Unavailable"), "answered with status 503 where 200 was expected"),
        (response(b"", status="302 Found"), "answered with status 302 where 200 was expected"),
        (response(b"<html>", "text/html"), "answered with text/html; octet-stream or JSON was expected"),
        (response(b""), "answered without bytes"),
        (response(b"{}", "application/json"), "answered without bytes"),
        (response(bytes(MAX_ANSWER + 1)), f"answered with more than {MAX_ANSWER} bytes"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "RemoteProtocolError"),
    ],
    ids=["503", "redirect", "html", "empty", "no data", "too long", "no http"],
)
async def test_any_other_answer_is_an_entropy_error_without_the_url(
    tmp_path: Path, answer: bytes, sentence: str
) -> None:
    async with service(tmp_path, [answer]) as served:
        source = HttpsSource(served.url + "&key=SECRET", ca=str(served.ca))
        with pytest.raises(EntropyError, match=sentence) as error:
            await source.read(64)
        assert "SECRET" not in str(error.value)
        await source.close()


async def test_a_service_without_a_trusted_certificate_gives_nothing(tmp_path: Path) -> None:
    async with service(tmp_path, [response(bytes(64))]) as served:
        stranger, _ = make_certificates(tmp_path / "stranger")
        for ca in (None, str(stranger)):
            source = HttpsSource(served.url, ca=ca)
            with pytest.raises(
                EntropyError, match=r"https localhost: ConnectError: .*CERTIFICATE_VERIFY_FAILED"
            ):
                await source.read(64)
            await source.close()
        assert served.requests == []


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "7", "{", '{"data": null}', '{"data": "0g"}', '{"data": [256]}', '{"data": [-1]}']
    + ['{"data": [true]}', '{"data": [1.0]}', '{"data": {}}', '{"data": ["00"]}', "[" * 100000],
)
def test_json_of_another_form_is_an_entropy_error(body: str) -> None:
    with pytest.raises(EntropyError, match="answered without bytes"):
        decode_answer("application/json", body.encode())
