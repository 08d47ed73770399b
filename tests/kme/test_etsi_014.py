"""Our KME against ETSI GS QKD 014 V1.1.1, clause by clause, by a bare HTTPS client with a certificate.

The store is filled by hand: these tests are about the API. The KMEs and their control channel are real.
"""

import asyncio
import base64
import json
import os
import ssl
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from installation import installed, running, until

from handfast_kme.alarms import Level
from handfast_kme.certificates import client_tls
from handfast_kme.installed import Folder

SIZE = 256


class Sae:
    """An SAE with nothing but a TLS library."""

    def __init__(self, network: Any, name: str, node: str | None = None) -> None:
        consumer = network.named("consumer", name)
        kme = network.named("node", node or consumer.node)
        self.base = f"https://{kme.address}:{kme.port}/api/v1/keys"
        context = client_tls(Folder(network.group.folder).consumer(name), "sae")
        self.http = httpx.AsyncClient(verify=context, trust_env=False, timeout=30)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(f"{self.base}/{path}", **more)

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(f"{self.base}/{path}", json=body)


class Site:
    def __init__(self, network: Any, kmes: dict[str, Any]) -> None:
        self.network, self.kmes = network, kmes
        self.master, self.slave = Sae(network, "hub-berlin"), Sae(network, "hub-vienna")
        self.second, self.stranger = Sae(network, "second-vienna"), Sae(network, "stranger")
        self.blocks = 0

    def fill(self, keys: int) -> None:
        """The same cells at both ends, as a block would have left them."""
        self.blocks += 1
        key = os.urandom(32 * keys)
        for kme in self.kmes.values():
            kme.store.add_block("fibre", self.blocks, key, {})

    def empty(self) -> None:
        for kme in self.kmes.values():
            kme.store.void("fibre", 0)
            kme.links["fibre"].watch.level = Level.CLEAR


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    network, _ = installed(tmp_path_factory.mktemp("site"))
    async with running(network, line=False) as kmes:
        made = Site(network, kmes)

        async def connected() -> bool:
            return all(kme.links["fibre"].control is not None for kme in kmes.values())

        await until(connected)
        yield made
        for sae in (made.master, made.slave, made.second, made.stranger):
            await sae.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def site(installation: Site) -> Site:
    """64 keys in store, none on its way, no alarm."""
    installation.empty()
    installation.fill(64)
    return installation


def error(response: httpx.Response, status: int, message: str = "") -> dict[str, Any]:
    """The Error data format (clause 6.5): message, and details as an array of objects."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = response.json()
    assert isinstance(body["message"], str)
    assert body["message"]
    assert all(isinstance(entry, dict) for entry in body.get("details", []))
    if message:
        assert body["message"] == message
    return body


async def test_status_has_every_field_of_clause_6_1(site: Site) -> None:
    response = await site.master.get("hub-vienna/status")
    assert response.status_code == 200
    body = response.json()
    strings = {name: body.pop(name) for name in list(body) if name.endswith("_ID") and "max" not in name}
    assert strings == {
        "source_KME_ID": "kme-berlin",
        "target_KME_ID": "kme-vienna",
        "master_SAE_ID": "hub-berlin",
        "slave_SAE_ID": "hub-vienna",
    }
    assert body.pop("status_extension")["handfast_simulated"] is True
    assert body == {
        "key_size": 256,
        "stored_key_count": 64,
        "max_key_count": 400,
        "max_key_per_request": 128,
        "max_key_size": 65536,
        "min_key_size": 64,
        "max_SAE_ID_count": 4,
    }


async def test_a_key_container_has_uuids_and_base64_keys_of_size_bits(site: Site) -> None:
    response = await site.master.post("hub-vienna/enc_keys", {"number": 3, "size": 1024})
    assert response.status_code == 200
    keys = response.json()["keys"]
    assert len(keys) == 3
    for key in keys:
        assert str(uuid.UUID(key["key_ID"])) == key["key_ID"]
        assert len(base64.b64decode(key["key"], validate=True)) * 8 == 1024
    assert len({key["key"] for key in keys}) == 3


@pytest.mark.parametrize("form", ["empty object", "GET", "GET with query"])
async def test_number_is_1_and_size_the_key_size_by_default(site: Site, form: str) -> None:
    if form == "empty object":
        response = await site.master.post("hub-vienna/enc_keys", {})
    else:
        query = {"number": "1", "size": "256"} if form == "GET with query" else None
        response = await site.master.get("hub-vienna/enc_keys", params=query)
    [key] = response.json()["keys"]
    assert len(base64.b64decode(key["key"])) * 8 == SIZE


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_the_slave_gets_the_same_key_once(site: Site, verb: str) -> None:
    [key] = (await site.master.post("hub-vienna/enc_keys", {})).json()["keys"]

    async def fetch() -> httpx.Response:
        if verb == "GET":
            return await site.slave.get("hub-berlin/dec_keys", params={"key_ID": key["key_ID"]})
        return await site.slave.post("hub-berlin/dec_keys", {"key_IDs": [{"key_ID": key["key_ID"]}]})

    assert (await fetch()).json()["keys"] == [key]
    error(await fetch(), 400, "one or more keys specified are not found on KME")


async def test_delivered_keys_are_gone_from_the_pool_and_from_both_disks(site: Site) -> None:
    [key] = (await site.master.post("hub-vienna/enc_keys", {})).json()["keys"]
    assert (await site.master.get("hub-vienna/status")).json()["stored_key_count"] == 63
    assert (await site.slave.get("hub-berlin/status")).json()["stored_key_count"] == 63
    await site.slave.get("hub-berlin/dec_keys", params={"key_ID": key["key_ID"]})
    secret = base64.b64decode(key["key"])
    for kme in site.kmes.values():
        kme.store.checkpoint()
        for path in kme.store.path.parent.glob("store.sqlite*"):
            assert secret not in path.read_bytes(), path.name


async def test_one_bad_id_burns_no_good_one(site: Site) -> None:
    keys = (await site.master.post("hub-vienna/enc_keys", {"number": 2})).json()["keys"]
    ids = [{"key_ID": key["key_ID"]} for key in keys]
    wrong = [*ids, {"key_ID": str(uuid.uuid4())}]
    error(
        await site.slave.post("hub-berlin/dec_keys", {"key_IDs": wrong}),
        400,
        "one or more keys specified are not found on KME",
    )
    assert (await site.slave.post("hub-berlin/dec_keys", {"key_IDs": ids})).json()["keys"] == keys


async def test_dec_keys_by_an_sae_that_was_not_named_is_401_and_burns_nothing(site: Site) -> None:
    [key] = (await site.master.post("hub-vienna/enc_keys", {})).json()["keys"]
    ids = {"key_IDs": [{"key_ID": key["key_ID"]}]}
    error(await site.stranger.post("hub-berlin/dec_keys", ids), 401)
    assert (await site.slave.post("hub-berlin/dec_keys", ids)).json()["keys"] == [key]


async def test_each_additional_slave_gets_the_key_once(site: Site) -> None:
    request = {"additional_slave_SAE_IDs": ["second-vienna"]}
    [key] = (await site.master.post("hub-vienna/enc_keys", request)).json()["keys"]
    ids = {"key_IDs": [{"key_ID": key["key_ID"]}]}
    for sae in (site.second, site.slave):
        assert (await sae.post("hub-berlin/dec_keys", ids)).json()["keys"] == [key]
    for sae in (site.second, site.slave):
        error(await sae.post("hub-berlin/dec_keys", ids), 400)


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


async def test_optional_extensions_that_are_unknown_are_ignored(site: Site) -> None:
    response = await site.master.post("hub-vienna/enc_keys", {"extension_optional": [{"acme_x": 1}]})
    assert len(response.json()["keys"]) == 1


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


async def test_sae_ids_in_urls_are_url_encoded(site: Site) -> None:
    assert (await site.master.get("hub%2Dvienna/status")).status_code == 200


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


async def test_starvation_is_503_and_says_so(site: Site) -> None:
    response = await site.master.post("hub-vienna/enc_keys", {"number": 65})
    body = error(response, 503)
    assert body["details"] == [{"reason": "key_exhausted"}]
    assert response.headers["retry-after"].isdigit()
    # Nothing was burnt by asking for too much.
    assert len((await site.master.post("hub-vienna/enc_keys", {"number": 64})).json()["keys"]) == 64
    error(await site.master.post("hub-vienna/enc_keys", {}), 503)


async def test_both_ends_may_ask_at_once_and_no_cell_is_given_to_two(site: Site) -> None:
    asked = [sae.post(f"{peer}/enc_keys", {"number": 4}) for _ in range(7)
             for sae, peer in ((site.master, "hub-vienna"), (site.slave, "hub-berlin"))]  # fmt: skip
    answers = await asyncio.gather(*asked)
    keys = [key["key"] for answer in answers if answer.status_code == 200 for key in answer.json()["keys"]]
    assert len(keys) == len(set(keys))
    assert len(keys) >= 40


async def test_a_link_in_alarm_delivers_nothing_and_says_why(site: Site) -> None:
    site.kmes["berlin"].links["fibre"].watch.level = Level.ALARM
    body = error(await site.master.post("hub-vienna/enc_keys", {}), 503)
    assert body["details"] == [{"reason": "qber_alarm"}]


async def test_an_answer_is_json_in_utf_8_and_never_cached(site: Site) -> None:
    response = await site.master.post("hub-vienna/enc_keys", {})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    json.loads(response.content.decode("utf-8"))
