"""Whom the hub's client takes for its KME, and whom it asks nothing."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from misbehaving_kme import one_sentence

from handfast.core.errors import Error, LocalError
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import KmeUnreachable
from handfast_hub.trunk.used_keys import UsedKeys
from handfast_kme import certificates
from handfast_kme.certificates import Authority


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
