"""Patterns over topics, judged beside an oracle that is slow and plain; and what a rule may not be."""

import itertools
import random
import re

import pytest

from handfast_hub.trunk.topic_rules import (
    LAST_LEVELS,
    Found,
    Rule,
    TopicPolicy,
    check_pattern,
    check_rules,
    covers,
    matches,
    topic_of,
)

LEVELS = ("", "a", "b", "$sys", "ä")
# Every topic of up to four levels, one more than a pattern here has; letters that no pattern has are in some.
TOPICS = [
    "/".join([*label, last])
    for length in (1, 2, 3)
    for label in itertools.product(LEVELS, repeat=length)
    for last in LAST_LEVELS
]


def oracle(pattern: str, topic: str) -> bool:
    """MQTT 5.0 section 4.7.1 as a regular expression."""
    text = re.escape(pattern).replace(r"\+", "[^/]*").replace(r"\#", "#")
    if text == "#":
        text = ".*"
    elif text.endswith("/#"):
        text = text.removesuffix("/#") + "(/.*)?"
    return re.fullmatch(text, topic, re.DOTALL) is not None


def patterns(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        label = [rng.choice(("+", "+", "a", "b", "")) for _ in range(rng.randint(0, 2))]
        pattern = "/".join([*label, rng.choice(("#", "+", *LAST_LEVELS))])
        try:
            check_pattern(pattern)
        except ValueError:
            continue
        found.append(pattern)
    return found


def test_a_pattern_matches_what_the_standard_says() -> None:
    for pattern in patterns(1, 150):
        for topic in TOPICS:
            assert matches(pattern, topic) == oracle(pattern, topic), (pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        # The examples of MQTT 5.0 sections 4.7.1.2 and 4.7.1.3.
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        # A label that has wildcards in it is text like any other.
        ("pumps/+/alarm", "pumps/+/alarm", True),
        ("pumps/#", "pumps/#/alarm", True),
        # Section 4.7.2 is left out on purpose: "#" means everything.
        ("#", "$sys/alarm", True),
        ("Pumps/#", "pumps/3/alarm", False),
    ],
)
def test_the_examples_of_the_standard(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


def test_a_pattern_covers_another_exactly_when_it_matches_all_its_topics() -> None:
    found = patterns(2, 120)
    sets = [frozenset(topic for topic in TOPICS if oracle(pattern, topic)) for pattern in found]
    for one, topics in zip(found, sets, strict=True):
        # Each can match something, or it would have been refused.
        assert topics, one
        for other, fewer in zip(found, sets, strict=True):
            assert covers(one, other) == (fewer <= topics), (one, other)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("pumps#", "'#' stands alone and last"),
        ("pumps/#/alarm", "'#' stands alone and last"),
        ("#/alarm", "'#' stands alone and last"),
        ("pumps/p+/alarm", "'\\+' stands for a whole level"),
        ("pumps/3", "can never match.*did you mean 'pumps/3/#'"),
        ("pumps/+/telemetri", "did you mean 'pumps/\\+/telemetry'"),
        ("alarm", "write '\\+/alarm' or '#'"),
        ("+", "write '\\+/\\+' or '#'"),
        ("", "can never match"),
        ("x" * 129 + "/alarm", "at most 128 characters"),
        ("x" * 129 + "/#", "at most 128 characters"),
    ],
)
def test_a_pattern_that_is_none_or_never_matches_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["#", "+/#", "+/+", "/alarm", "a//+", "x" * 128 + "/alarm", "ä/command"])
def test_an_unusual_pattern_that_can_match_is_taken(pattern: str) -> None:
    check_pattern(pattern)


def test_a_rule_behind_one_that_takes_all_of_it_is_refused() -> None:
    check_rules([Rule("pumps/3/#", "normal"), Rule("pumps/#", "secret"), Rule("#", "bulk")])
    with pytest.raises(ValueError, match="'pumps/3/#' is never reached: that for 'pumps/#' comes first"):
        check_rules([Rule("pumps/#", "secret"), Rule("pumps/3/#", "normal")])
    with pytest.raises(ValueError, match="'\\+/alarm' is never reached: that for '#'"):
        check_rules([Rule("a/#", "secret"), Rule("#", "bulk"), Rule("+/alarm", "normal")])


def test_the_first_rule_that_matches_counts_and_then_the_channel() -> None:
    policy = TopicPolicy(
        [Rule("meters/7/+", "none"), Rule("meters/+/telemetry", "bulk"), Rule("pumps/#", "secret")],
        {"telemetry": "normal", "alarm": "secret"},
    )
    assert policy.find("meters/7/telemetry") == Found("none", 0)
    assert policy.find("meters/8/telemetry") == Found("bulk", 1)
    assert policy.find("pumps/hall 3/left/bulk") == Found("secret", 2)
    assert policy.find("pumps/1/command") == Found("secret", 2)
    assert policy.find("valve/alarm") == Found("secret", None)
    assert policy.find("valve/bulk") == Found("none", None)
    assert policy.find("valve/command") == Found("normal", None)
    assert topic_of("", bytes(8), "alarm") == "0000000000000000/alarm"
    assert topic_of("pumps/1", bytes(8), "alarm") == "pumps/1/alarm"
