"""`handfast-hub` for tokens and devices: who comes in, and who goes."""

import json
import re

import pytest
import registry_world as world
from operator_shell import Shell, claim

from handfast_cpython.terminal import USAGE


def test_a_token_is_shown_once_and_listed_by_its_id(shell: Shell) -> None:
    text = shell.type("--quiet", "token", "--label", "sensor-7").strip()
    assert re.fullmatch(r"([A-Z2-7]{8}-){8}[A-Z2-7]{8}", text)
    listed = shell.type("tokens")
    assert "sensor-7" in listed
    assert text not in listed
    (info,) = shell.json("tokens")
    assert (info["state"], info["shared"], info["quota"]) == ("live", False, 1)
    assert "secret" not in json.dumps(info)
    shell.type("withdraw", info["token_id"])
    assert shell.json("tokens")[0]["state"] == "withdrawn"
    assert "16 hex digits" in shell.one_sentence("withdraw", "zz", code=USAGE)


def test_a_batch_and_a_shared_token(shell: Shell) -> None:
    batch = shell.json("token", "--count", "5", "--expires", "2w")
    assert len({made["token"] for made in batch}) == 5
    (shared,) = shell.json("token", "--shared", "--quota", "40", "--label", "lobby")
    assert shared["shared"]
    assert len(shell.json("tokens")) == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--expires", "soon"), "expected a duration such as 30s"),
        (("--expires", "0h"), "expected a duration such as 30s"),
        (("--shared",), "give --quota"),
        (("--quota", "5"), "only a shared token has a quota"),
        (("--count", "0"), "1 to 100000 tokens"),
        (("--count", "3", "--shared", "--quota", "2"), "not both"),
    ],
)
def test_a_token_that_makes_no_sense_is_one_sentence(
    shell: Shell, words: "tuple[str, ...]", sentence: str
) -> None:
    assert sentence in shell.one_sentence("token", *words, code=USAGE)
    assert shell.json("tokens") == []


def test_a_claim_code_admits_a_device_before_it_comes(shell: Shell) -> None:
    shell.type("approve", claim(1), "--label", "cellar")
    (device,) = shell.json("devices", "--state", "admitted")
    assert device["thumbprint"] == world.credential(1).thumbprint.hex()
    assert device["label"] == "cellar"
    assert "cellar" in shell.type("devices")
    assert "no device is onboarded" in shell.type("devices", "--state", "onboarded")
    shell.type("refuse", device["thumbprint"][:6], "--reason", "not ours")
    sentence = shell.one_sentence("approve", claim(1), code=USAGE)
    assert "was refused (not ours); approve it with --again" in sentence
    shell.type("approve", claim(1), "--again")
    shell.type("revoke", device["device_id"], "--reason", "lost")
    assert [event["kind"] for event in shell.json("events")] == [
        "admitted",
        "refused",
        "admitted",
        "revoked",
    ]


def test_a_device_is_called_by_any_unique_beginning(shell: Shell) -> None:
    from handfast.core.base32 import b32encode

    for number in range(1, 4):
        shell.type("approve", claim(number))
    names = [device["thumbprint"] for device in shell.json("devices")]
    for digits in (4, 5, 63, 64):
        shell.type("revoke", names[0][:digits].upper())
    shell.type("revoke", b32encode(bytes.fromhex(shell.json("devices")[1]["device_id"])))
    assert [device["state"] for device in shell.json("devices")] == ["revoked", "revoked", "admitted"]


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("abcd", "no device is called abcd"),
        ("7f3", "expected a claim code, or 4 to 64 hex digits"),
        ("sensor-7", "expected a claim code, or 4 to 64 hex digits"),
        (claim(1)[:-1] + ("A" if claim(1)[-1] != "A" else "B"), "compare it with the original"),
    ],
)
def test_a_device_that_nobody_knows_is_one_sentence(shell: Shell, reference: str, sentence: str) -> None:
    for command in ("approve", "refuse", "revoke"):
        assert sentence in shell.one_sentence(command, reference, code=USAGE)
    assert shell.json("devices") == []


def test_a_state_that_does_not_exist_is_one_sentence(shell: Shell) -> None:
    assert "expected one of waiting, admitted" in shell.one_sentence("devices", "--state", "x", code=USAGE)


def test_a_reason_that_no_record_can_carry_is_one_sentence(shell: Shell) -> None:
    assert "1 to 128 characters" in shell.one_sentence("revoke", claim(1), "--reason", "x" * 129, code=USAGE)
