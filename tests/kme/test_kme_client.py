"""The hub's client against KMEs that misbehave, each in one way: real TLS, wrong answers."""

import asyncio
import base64
import datetime as dt
import json
import os
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from handfast.core.errors import Error, LocalError, ReplayError
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import (
    KeyLost,
    KeyNotFound,
    KeysUnavailable,
    KmeAnswerError,
    KmeRefused,
    KmeUnreachable,
)
from handfast_hub.trunk.used_keys import UsedKeys
from handfast_kme import certificates
from handfast_kme.certificates import Authority, server_tls

Answer = tuple[int, bytes, dict[str, str]] | None
SUBJECT = "CN=kme-berlin,O=test"


def new_key(size: int = 256, **more: Any) -> dict[str, Any]:
    return {"key_ID": str(uuid.uuid4()), "key": base64.b64encode(os.urandom(size // 8)).decode(), **more}


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, content, {name.replace("_", "-"): value for name, value in headers.items()}


class Misbehaving:
    """An HTTPS server that gives the next answer of a list, the last one again and again; None hangs up."""

    def __init__(self, folder: Path, answers: list[Answer]) -> None:
        self.folder, self.answers = folder, answers
        self.requests: list[tuple[str, str, bytes]] = []

    async def start(self, subject: str = SUBJECT, context: ssl.SSLContext | None = None) -> None:
        authority = Authority.create(self.folder / "ca", "test", 30)
        authority.issue(self.folder / "kme", "kme", subject, 30, "127.0.0.1")
        authority.issue(self.folder / "sae", "sae", "CN=hub-berlin,O=test", 30)
        tls = context or server_tls(self.folder / "kme", "kme")
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self.server.sockets[0].getsockname()[1]

    def client(self, **more: Any) -> KmeClient:
        sae = self.folder / "sae"
        wanted = {
            "kme_id": "kme-berlin",
            "ca": sae / "ca.pem",
            "certificate": sae / "sae.pem",
            "key": sae / "sae.key",
            "used": UsedKeys(self.folder / "used"),
            "timeout": 20.0,
            "sleep": self._no_sleep,
            **more,
        }
        return KmeClient(f"https://127.0.0.1:{self.port}", **wanted)

    @staticmethod
    async def _no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            verb, path, _ = head.split(" ", 2)
            length = next((int(v) for n, _, v in (line.partition(": ") for line in head.split("\r\n"))
                           if n.lower() == "content-length"), 0)  # fmt: skip
            self.requests.append((verb, path, await reader.readexactly(length)))
            given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if given is not None:
                status, body, headers = given
                lines = [f"HTTP/1.1 {status} x", *(f"{n}: {v}" for n, v in headers.items())]
                lines.append(f"content-length: {len(body) + int(headers.get('short', '0'))}")
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def kme(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    started: list[Misbehaving] = []

    async def start(*answers: Answer, **more: Any) -> Misbehaving:
        server = Misbehaving(tmp_path, list(answers) or [answer({"keys": [new_key()]})])
        await server.start(**more)
        started.append(server)
        return server

    yield start
    for server in started:
        server.server.close()


def one_sentence(error: Error) -> str:
    assert error.detail
    assert "\n" not in error.detail
    assert "Traceback" not in error.detail
    return error.detail


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"<html><body>502 Bad Gateway</body></html>", "HTML"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([], "JSON object"),
        ({}, "array of keys"),
        ({"keys": {}}, "array of keys"),
        ({"keys": []}, "expected 1 keys, got 0"),
        ({"keys": [new_key(), new_key()]}, "expected 1 keys, got 2"),
        ({"keys": [{"key_ID": str(uuid.uuid4())}]}, "half"),
        ({"keys": [{"key": base64.b64encode(bytes(range(32))).decode()}]}, "UUID"),
        ({"keys": [new_key(key_ID="7")]}, "UUID"),
        ({"keys": [new_key(128)]}, "256 bits, got 128"),
        ({"keys": [new_key(2048)]}, "bits for bytes"),
        ({"keys": [new_key(key="not base64!")]}, "base64"),
        ({"keys": [new_key(key=base64.b64encode(bytes(32)).decode())]}, "no key"),
        ({"keys": [None]}, "half"),
    ],
)
async def test_a_wrong_key_container_is_one_clear_error(kme: Any, wrong: Any, says: str) -> None:
    server = await kme(answer(wrong))
    async with server.client() as client:
        with pytest.raises(KmeAnswerError) as raised:
            await client.enc_keys("hub-vienna", size=256)
    assert says in one_sentence(raised.value)
    assert len(server.requests) == 1


async def test_the_same_key_twice_in_one_answer_is_refused(kme: Any) -> None:
    key = new_key()
    for second in (key, new_key(key=key["key"]), new_key(key_ID=key["key_ID"])):
        server = await kme(answer({"keys": [key, second]}))
        async with server.client() as client:
            with pytest.raises(KmeAnswerError, match="twice"):
                await client.enc_keys("hub-vienna", 2)


async def test_a_key_or_an_id_of_an_earlier_process_is_refused(kme: Any) -> None:
    key = new_key()
    server = await kme(answer({"keys": [key]}))
    async with server.client() as client:
        await client.enc_keys("hub-vienna")
    for again in (key, new_key(key=key["key"]), new_key(key_ID=key["key_ID"].upper())):
        server.answers = [answer({"keys": [again]})]
        async with server.client() as client:
            with pytest.raises(ReplayError, match="gave before"):
                await client.enc_keys("hub-vienna")
    server.answers = [answer({"keys": [new_key()]})]
    async with server.client() as client:
        assert len(await client.enc_keys("hub-vienna")) == 1


async def test_the_memory_of_keys_holds_no_key(kme: Any, tmp_path: Path) -> None:
    key = new_key()
    server = await kme(answer({"keys": [key]}))
    async with server.client() as client:
        await client.enc_keys("hub-vienna")
    for content in [path.read_bytes() for path in sorted(tmp_path.glob("used*"))]:  # noqa: ASYNC240
        assert base64.b64decode(key["key"]) not in content
        assert key["key_ID"].encode() not in content


async def test_a_lost_answer_to_enc_keys_is_never_asked_for_again(kme: Any) -> None:
    for lost in (None, answer({"keys": []}, short="10")):
        server = await kme(lost)
        async with server.client() as client:
            with pytest.raises(KeyLost) as raised:
                await client.enc_keys("hub-vienna")
        assert "lost" in one_sentence(raised.value)
        assert len(server.requests) == 1


async def test_a_key_that_the_slaves_kme_gets_late_is_asked_for_again(kme: Any) -> None:
    key, late = new_key(), answer({"message": "one or more keys specified are not found on KME"}, 400)
    server = await kme(late, late, late, answer({"keys": [key]}))
    async with server.client() as client:
        [got] = await client.dec_keys("hub-berlin", [key["key_ID"]])
    assert got.key_id == key["key_ID"]
    assert len(server.requests) == 4


async def test_a_key_that_never_comes_is_given_up_after_five_requests(kme: Any) -> None:
    for late in (answer({"message": "keys not found"}, 400), answer(b"<html>", 404)):
        server = await kme(late)
        async with server.client() as client:
            with pytest.raises(KeyNotFound):
                await client.dec_keys("hub-berlin", [str(uuid.uuid4())])
        assert len(server.requests) == 5


async def test_other_ids_than_were_asked_for_are_refused(kme: Any) -> None:
    server = await kme(answer({"keys": [new_key()]}))
    async with server.client() as client:
        with pytest.raises(KmeAnswerError, match="other key_IDs"):
            await client.dec_keys("hub-berlin", [str(uuid.uuid4())])


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (503, {"message": "error on server side"}, KeysUnavailable, ""),
        (503, {"message": "x", "details": [{"reason": "key_exhausted"}]}, KeysUnavailable, "key_exhausted"),
        (503, {"message": "x", "details": [{"reason": "qber_alarm"}]}, KeysUnavailable, "qber_alarm"),
        (503, {"message": 5, "details": "x"}, KeysUnavailable, ""),
        (400, {"message": "Insufficient keys"}, KeysUnavailable, "key_exhausted"),
        (400, {"message": "not enough keys available"}, KeysUnavailable, "key_exhausted"),
        (500, b"<html>oops</html>", KeysUnavailable, ""),
        (502, b"", KeysUnavailable, ""),
        (429, {"title": "Too many requests"}, KeysUnavailable, ""),
        (401, {"message": "who are you"}, KmeRefused, None),
        (403, {"title": "Forbidden"}, KmeRefused, None),
        (400, {"message": "size shall be a multiple of 8"}, KmeRefused, None),
        (400, b"", KmeRefused, None),
        (302, b"", KmeAnswerError, None),
    ],
)
async def test_an_error_in_any_shape_is_understood(
    kme: Any, status: int, body: Any, kind: type[Error], reason: str | None
) -> None:
    server = await kme(answer(body, status, retry_after="7", location="https://127.0.0.1:1/"))
    async with server.client() as client:
        with pytest.raises(kind) as raised:
            await client.enc_keys("hub-vienna")
    assert str(status) in one_sentence(raised.value)
    if reason is not None:
        assert (raised.value.reason, raised.value.retry_after) == (reason, 7.0)  # type: ignore[attr-defined]
    assert len(server.requests) == 1


async def test_a_message_of_a_stranger_is_shortened_and_made_printable(kme: Any) -> None:
    server = await kme(answer({"message": "\x1b[31m" + "x" * 5000}, 400))
    async with server.client() as client:
        with pytest.raises(KmeRefused) as raised:
            await client.enc_keys("hub-vienna")
    assert "\x1b" not in raised.value.detail
    assert len(raised.value.detail) < 300


async def test_a_status_as_real_servers_send_it_is_taken(kme: Any) -> None:
    rough = {"key_size": "256", "stored_key_count": 5000, "max_key_count": 1000, "max_key_size": None, "x": 1}
    server = await kme(answer(rough, content_type="text/html"))
    async with server.client() as client:
        status = await client.status("hub-vienna")
    assert (status.key_size, status.stored_key_count, status.max_key_count) == (256, 1000, 1000)
    assert (status.max_key_size, status.max_sae_id_count) == (None, 0)


@pytest.mark.parametrize(
    "wrong", [{}, {"key_size": 256}, {"key_size": -1, "stored_key_count": 1}, [], b"<html>"]
)
async def test_a_status_without_the_two_numbers_is_an_error(kme: Any, wrong: Any) -> None:
    server = await kme(answer(wrong))
    async with server.client() as client:
        with pytest.raises(KmeAnswerError):
            await client.status("hub-vienna")


async def test_keys_with_a_capital_letter_and_ids_in_capitals_are_taken(kme: Any) -> None:
    key = new_key()
    server = await kme(answer({"Keys": [{**key, "key_ID": key["key_ID"].upper()}]}))
    async with server.client() as client:
        [got] = await client.dec_keys("hub-berlin", [key["key_ID"]])
    assert got.key_id == key["key_ID"]
    assert key["key"] not in repr(got)


async def test_requests_are_what_the_standard_says(kme: Any) -> None:
    server = await kme(answer({"keys": [new_key()]}))
    ids = [str(uuid.uuid4())]
    async with server.client() as client:
        await client.enc_keys("hub/vienna 1", 1, 256, extension_mandatory=[{"acme_x": 1}])
        server.answers = [answer({"keys": [new_key()]})]
        await client.enc_keys("v", 1, 256, verb="GET")
        server.answers = [answer({"keys": [new_key(key_ID=ids[0])]})]
        await client.dec_keys("v", ids, verb="GET")
        for wrong in (
            client.enc_keys("v", size=257),
            client.enc_keys("v", additional_slave_sae_ids=["w"], verb="GET"),
            client.dec_keys("v", ids * 2),
            client.dec_keys("v", []),
        ):
            with pytest.raises(LocalError):
                await wrong
    (_, first, body), (_, second, _), (_, third, _) = server.requests
    assert first == "/api/v1/keys/hub%2Fvienna%201/enc_keys"
    assert json.loads(body) == {"number": 1, "size": 256, "extension_mandatory": [{"acme_x": 1}]}
    assert second == "/api/v1/keys/v/enc_keys?number=1&size=256"
    assert third == f"/api/v1/keys/v/dec_keys?key_ID={ids[0]}"


async def test_an_answer_without_end_is_cut(kme: Any) -> None:
    server = await kme(answer(b" " * (1 << 23)))
    async with server.client() as client:
        with pytest.raises(KmeAnswerError, match="longer"):
            await client.status("hub-vienna")


# Certificates ---------------------------------------------------------------------------------------


async def test_another_kme_of_the_same_authority_gets_no_request(kme: Any) -> None:
    server = await kme(subject="CN=kme-vienna,O=test")
    async with server.client() as client:
        with pytest.raises(KmeUnreachable, match="belongs to kme-vienna, expected kme-berlin") as raised:
            await client.enc_keys("hub-vienna")
    one_sentence(raised.value)
    assert server.requests == []


async def test_a_kme_of_another_authority_gets_no_request(kme: Any, tmp_path: Path) -> None:
    server = await kme()
    Authority.create(tmp_path / "other", "other", 30)
    async with server.client(ca=tmp_path / "other/ca.pem") as client:
        with pytest.raises(KmeUnreachable, match="not to be trusted"):
            await client.enc_keys("hub-vienna")
    assert server.requests == []


async def test_the_environment_can_change_neither_authorities_nor_route(
    kme: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await kme()
    Authority.create(tmp_path / "other", "other", 30)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "other/ca.pem"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with server.client() as client:
        assert len(await client.enc_keys("hub-vienna")) == 1


async def test_a_client_certificate_that_the_kme_does_not_accept_is_said(kme: Any, tmp_path: Path) -> None:
    server = await kme()
    other = Authority.create(tmp_path / "other", "other", 30)
    other.issue(tmp_path / "wrong", "sae", "CN=hub-berlin,O=test", 30)
    wrong = tmp_path / "wrong"
    async with server.client(certificate=wrong / "sae.pem", key=wrong / "sae.key") as client:
        with pytest.raises(Error) as raised:
            await client.enc_keys("hub-vienna")
    one_sentence(raised.value)
    assert server.requests == []


@pytest.mark.parametrize("days", [-400, 400])
async def test_a_clock_that_is_wrong_is_said(kme: Any, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = dt.datetime.now(dt.UTC)
    monkeypatch.setattr(certificates, "_now", lambda: now + dt.timedelta(days=days))
    server = await kme()
    async with server.client() as client:
        with pytest.raises(KmeUnreachable, match="set the clocks right") as raised:
            await client.enc_keys("hub-vienna")
    one_sentence(raised.value)
    assert server.requests == []


async def test_a_kme_that_is_not_there_is_asked_for_three_times(kme: Any) -> None:
    server = await kme()
    server.server.close()
    await server.server.wait_closed()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with server.client(sleep=sleep) as client:
        with pytest.raises(KmeUnreachable, match="cannot be reached") as raised:
            await client.enc_keys("hub-vienna")
    one_sentence(raised.value)
    assert pauses == [0.1, 0.4]


def test_a_url_without_tls_is_refused(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path, "test", 30)
    authority.issue(tmp_path, "sae", "CN=x", 30)
    with pytest.raises(LocalError, match="https"):
        KmeClient("http://127.0.0.1", kme_id="x", ca=tmp_path / "ca.pem", certificate=tmp_path / "sae.pem",
                  key=tmp_path / "sae.key", used=UsedKeys(tmp_path / "used"))  # fmt: skip


def test_issued_certificates_are_signed_with_sha_256(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path, "test", 30)
    authority.issue(tmp_path, "sae", "CN=x", 30)
    found = x509.load_pem_x509_certificate((tmp_path / "sae.pem").read_bytes())
    assert isinstance(found.signature_hash_algorithm, hashes.SHA256)
