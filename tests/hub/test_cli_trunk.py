"""`handfast-hub trunk policy` and `trunk status`, and what is said of rules that are wrong."""

import asyncio
import json

import pytest
import registry_world as world
from operator_shell import Shell

from handfast_cpython.terminal import USAGE
from handfast_hub.config import load_config
from handfast_hub.registry.registry import Registry

TRUNK = '\n[trunk.vienna]\nhub = "x"\nsecret_file = "x"\ncommands = true\n'


def configured(shell: Shell, *rules: tuple[str, str], more: str = "") -> Shell:
    lines = [f'[[trunk.vienna.policy]]\ntopic = "{topic}"\nclass = "{kind}"\n' for topic, kind in rules]
    shell.config.write_text(shell.config.read_text() + TRUNK + more + "".join(lines))
    return shell


def test_the_policy_of_a_label_names_the_rule_that_says_so(shell: Shell) -> None:
    configured(shell, ("meters/+/telemetry", "bulk"), ("meters/#", "secret"))
    assert shell.json("trunk", "policy", "vienna", "meters/7", "telemetry") == [
        {
            "trunk": "vienna", "topic": "meters/7/telemetry", "class": "bulk",
            "by": "rule meters/+/telemetry",
        }
    ]  # fmt: skip
    text = shell.type("trunk", "policy", "vienna", "meters/7")
    assert [line.split()[1] for line in text.splitlines()[1:]] == ["bulk", "secret", "secret", "secret"]
    found = shell.json("trunk", "policy", "vienna", "valve")
    assert [(row["class"], row["by"]) for row in found] == [
        ("normal", "classes"),
        ("bulk", "classes"),
        ("secret", "classes"),
        ("normal", "no rule"),
    ]


def test_no_rule_lets_a_command_in_where_none_are_taken(shell: Shell) -> None:
    configured(shell, ("#", "secret"))
    shell.config.write_text(shell.config.read_text().replace("commands = true", "commands = false"))
    [row] = shell.json("trunk", "policy", "vienna", "valve", "command")
    assert (row["class"], row["by"]) == ("none", "commands = false")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("viena", "x"), "there is no trunk 'viena'; did you mean 'vienna'?"),
        (("paris", "x"), "there is no trunk 'paris'; there are: vienna"),
        (("vienna", "x", "alrm"), "there is no channel 'alrm'; did you mean 'alarm'?"),
        (("vienna", "x" * 129), "a label has 1 to 128 characters, this has 129"),
        (("vienna", ""), "a label has 1 to 128 characters, this has 0"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest_right_one(
    shell: Shell, words: tuple[str, ...], sentence: str
) -> None:
    configured(shell)
    assert shell.one_sentence("trunk", "policy", *words, code=USAGE) == sentence


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([("pumps/3", "secret")], "'trunk.vienna.policy.0.topic' is 'pumps/3': it can never match"),
        ([("pumps#", "secret")], "'#' stands alone and last"),
        ([("#", "secret"), ("pumps/#", "bulk")], "the rule for 'pumps/#' is never reached"),
        ([("#", "secrt")], "it should be 'secret', 'normal', 'bulk' or 'none'"),
    ],
)
def test_a_wrong_rule_is_told_in_one_sentence(shell: Shell, rules: list[tuple[str, str]], said: str) -> None:
    assert said in configured(shell, *rules).one_sentence("config", "check", code=USAGE)


def test_a_wrong_key_of_a_rule_names_the_nearest_right_one(shell: Shell) -> None:
    configured(shell, ("#", "secret"))
    shell.config.write_text(shell.config.read_text().replace('class = "secret"', 'clas = "secret"'))
    text = shell.type("config", "check", code=USAGE)
    assert "[trunk.policy] has no key 'clas'; did you mean 'class'?" in text


@pytest.mark.parametrize(
    ("ways", "wanted", "said"),
    [
        (2, 2, "7, QKD over 2 of 2 ways"),
        (1, 2, "7, QKD over 1 of 2 ways"),
        (1, 1, "7, QKD "),
        (0, 2, "7, ML-KEM alone"),
    ],
)
def test_the_status_says_over_how_many_ways_the_key_in_use_came(
    shell: Shell, ways: int, wanted: int, said: str
) -> None:
    configured(shell)
    status = {
        "up": True,
        "epochs": {"hybrid": {"number": 7, "qkd": ways > 0, "ways": ways}, "bulk": None},
        "secret_open": ways == wanted,
        "secret_ways": wanted,
        "readings": {"secret": {"acknowledged": 3, "sent": 5}},
        "qkd_keys": None,
    }

    async def say() -> None:
        registry = await Registry.open(load_config(shell.config), world.crypto)
        await registry.bridging.say("vienna", json.dumps(status))
        await registry.close()

    asyncio.run(say())
    text = shell.type("trunk", "status")
    assert said in text
    assert ("open" if ways == wanted else "closed") in text
    [found] = shell.json("trunk", "status")
    assert {name: found[name] for name in status} == status
