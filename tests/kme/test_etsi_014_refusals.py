"""What our KME refuses by ETSI GS QKD 014 V1.1.1: requests that are none, callers that it does not serve."""

import ssl
from typing import Any

import httpx
import pytest
from etsi_014_site import Sae, Site, error

from handfast_kme.certificates import client_tls
from handfast_kme.installed import Folder

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 257}, "size shall be a multiple of 8"),
        ({"extension_mandatory": [{"acme_x": 1}]}, "not all extension_mandatory parameters are supported"),
        (
            {"extension_mandatory": [{"handfast_max_qber_percent": 0}]},
            "not all extension_mandatory request options could be met",
        ),
        ({"extension_mandatory": [{"handfast_max_qber_percent": 10**400}]}, ""),
        ({"extension_mandatory": [{"handfast_max_qber_percent": -1}]}, ""),
        ({"size": 32}, ""),
        ({"size": 65544}, ""),
        ({"number": 0}, ""),
        ({"number": 129}, ""),
        ({"number": "1"}, ""),
        ({"number": 1.5}, ""),
        ({"number": True}, ""),
        ({"number": None}, ""),
        ({"additional_slave_SAE_IDs": "second-vienna"}, ""),
        ({"additional_slave_SAE_IDs": ["nobody"]}, ""),
        ({"additional_slave_SAE_IDs": ["second-vienna", "second-vienna"]}, ""),
        ({"additional_slave_SAE_IDs": ["hub-vienna"]}, ""),
        ({"extension_mandatory": {"acme_x": 1}}, ""),
        ({"extension_optional": [1]}, ""),
        ({"key_size": 256}, ""),
        ([], ""),
        ("text", ""),
    ],
)
async def test_a_bad_key_request_is_400(site: Site, body: Any, message: str) -> None:
    error(await site.master.post("hub-vienna/enc_keys", body), 400, message)
    assert (await site.master.get("hub-vienna/status")).json()["stored_key_count"] == 64


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key_IDs": []},
        {"key_IDs": ["550e8400-e29b-41d4-a716-446655440000"]},
        {"key_IDs": [{"key_ID": "nonsense"}]},
        {"key_IDs": [{"key_ID": 5}]},
        {"key_IDs": [{}]},
        {"key_IDs": [{"key_ID": "550e8400-e29b-41d4-a716-446655440000"}] * 2},
        {"key_IDs": [{"key_ID": "550e8400-e29b-41d4-a716-446655440000", "other": 1}]},
        {"key_IDs": [{"key_ID": "550e8400-e29b-41d4-a716-446655440000", "key_ID_extension": 1}]},
        {"keys": []},
    ],
)
async def test_bad_key_ids_are_400(site: Site, body: Any) -> None:
    error(await site.slave.post("hub-berlin/dec_keys", body), 400)


@pytest.mark.parametrize(
    ("verb", "path", "more"),
    [
        ("GET", "hub-vienna/enc_keys?number=1&number=2", {}),
        ("GET", "hub-vienna/enc_keys?additional_slave_SAE_IDs=x", {}),
        ("GET", "hub-vienna/enc_keys?size=+256", {}),
        ("GET", "hub-vienna/enc_keys", {"content": b"{}"}),
        ("GET", "hub-vienna/dec_keys", {}),
        ("GET", "hub-vienna/dec_keys?key_ID=550e8400-e29b-41d4-a716-446655440000&key_ID=x", {}),
        ("POST", "hub-vienna/status", {"json": {}}),
        ("PUT", "hub-vienna/enc_keys", {"json": {}}),
        ("HEAD", "hub-vienna/status", {}),
        ("POST", "hub-vienna/enc_keys", {"content": b"{}"}),
        ("POST", "hub-vienna/enc_keys?number=2", {"json": {}}),
        (
            "POST",
            "hub-vienna/enc_keys",
            {"content": b"\xff{}", "headers": {"Content-Type": "application/json"}},
        ),
        (
            "POST",
            "hub-vienna/enc_keys",
            {"content": b'{"size":256,"size":512}', "headers": {"Content-Type": "application/json"}},
        ),
        (
            "POST",
            "hub-vienna/enc_keys",
            {"content": b"[" * 50000, "headers": {"Content-Type": "application/json"}},
        ),
        (
            "POST",
            "hub-vienna/enc_keys",
            {"content": b" " * 70000, "headers": {"Content-Type": "application/json"}},
        ),
        ("GET", "hub-vienna/keys", {}),
        ("GET", "nobody/status", {}),
        ("GET", "hub-berlin/status", {}),
        ("GET", "..%2f..%2fetc/status", {}),
    ],
)
async def test_what_is_no_request_of_the_standard_is_400(
    site: Site, verb: str, path: str, more: dict[str, Any]
) -> None:
    response = await site.master.http.request(verb, f"{site.master.base}/{path}", **more)
    if verb == "HEAD":
        assert response.status_code == 400
        return
    error(response, 400)


async def test_an_sae_of_another_kme_is_401(site: Site) -> None:
    there = Sae(site.network, "hub-vienna", "berlin")
    error(await there.get("hub-vienna/status"), 401)
    await there.http.aclose()


async def test_identity_never_comes_from_a_header(site: Site) -> None:
    for name in (
        "X-SAE-ID",
        "X-SSL-Client-S-DN",
        "X-Client-Cert",
        "SSL_CLIENT_CERT",
        "X-Forwarded-Client-Cert",
    ):
        response = await site.stranger.get("hub-vienna/status", headers={name: "CN=hub-berlin,O=test"})
        error(response, 400)


async def test_without_a_client_certificate_there_is_no_answer(site: Site) -> None:
    ca = Folder(site.network.group.folder).authority / "ca.pem"
    context = ssl.create_default_context(cafile=str(ca))
    async with httpx.AsyncClient(verify=context, trust_env=False) as http:
        with pytest.raises(httpx.HTTPError):
            await http.get(f"{site.master.base}/hub-vienna/status")


async def test_tls_1_1_is_refused(site: Site) -> None:
    context = client_tls(Folder(site.network.group.folder).consumer("hub-berlin"), "sae")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(verify=context, trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{site.master.base}/hub-vienna/status")
