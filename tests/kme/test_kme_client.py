"""The hub's client against KMEs that misbehave, each in one way: real TLS, wrong answers."""

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from misbehaving_kme import answer, new_key, one_sentence

from handfast.core.errors import Error, LocalError, ReplayError
from handfast_hub.trunk.kme_answers import (
    KeyLost,
    KeyNotFound,
    KeysUnavailable,
    KmeAnswerError,
    KmeRefused,
)


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
