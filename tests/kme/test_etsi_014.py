"""Our KME against ETSI GS QKD 014 V1.1.1, clause by clause, by a bare HTTPS client with a certificate.

The store is filled by hand: these tests are about the API. The KMEs and their control channel are real.
"""

import asyncio
import base64
import json
import uuid

import httpx
import pytest
from etsi_014_site import Site, error

from handfast_kme.alarms import Level

SIZE = 256

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def test_optional_extensions_that_are_unknown_are_ignored(site: Site) -> None:
    response = await site.master.post("hub-vienna/enc_keys", {"extension_optional": [{"acme_x": 1}]})
    assert len(response.json()["keys"]) == 1


async def test_sae_ids_in_urls_are_url_encoded(site: Site) -> None:
    assert (await site.master.get("hub%2Dvienna/status")).status_code == 200


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
