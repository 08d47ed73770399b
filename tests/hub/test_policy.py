"""Who may join: the whole table, because it is small."""

import itertools
from typing import Any

import pytest

from handfast_hub import policy
from handfast_hub.config import Policy
from handfast_hub.registry.schema import (
    ADMITTED,
    DEVICE_STATES,
    JOINING,
    ONBOARDED,
    REFUSED,
    REVOKED,
    WAITING,
)

QUANTUM = [1, "card", 950, 0, 0, 4096, ["os"]]
STANDINGS = (
    policy.NONE,
    policy.LIVE,
    policy.BOUND,
    policy.USED,
    policy.ELSEWHERE,
    policy.EXHAUSTED,
    policy.EXPIRED,
    policy.WITHDRAWN,
    policy.UNKNOWN,
)


def verdict(section: "Policy | None" = None, **facts: Any) -> policy.Verdict:
    values: dict[str, Any] = {"state": None, "token": policy.NONE, "token_valid": False, "source": QUANTUM}
    return policy.admit(section or Policy(), **{**values, **facts})


def test_the_shut_out_are_refused_whatever_they_bring() -> None:
    for state, token in itertools.product((REVOKED, REFUSED), STANDINGS):
        assert verdict(state=state, token=token, token_valid=True).status == policy.STATUS_REFUSED


def test_a_wrong_proof_of_a_token_is_refused_whoever_it_is() -> None:
    for state, token in itertools.product((None, *DEVICE_STATES), STANDINGS[1:]):
        assert verdict(state=state, token=token, token_valid=False).status == policy.STATUS_REFUSED


def test_who_is_taken_and_who_has_to_wait() -> None:
    taken = [
        (state, token)
        for state, token in itertools.product((None, *DEVICE_STATES), STANDINGS)
        if verdict(state=state, token=token, token_valid=token != policy.NONE).status is None
    ]
    by_themselves = [(state, token) for state in (ADMITTED, ONBOARDED) for token in STANDINGS]
    by_token = [(state, token) for state in (None, WAITING, JOINING) for token in (policy.LIVE, policy.BOUND)]
    assert sorted(taken, key=str) == sorted(by_themselves + by_token, key=str)
    for state in (None, WAITING, JOINING):
        assert verdict(state=state).status == policy.STATUS_WAITING


@pytest.mark.parametrize("token", STANDINGS[3:])
def test_a_token_that_is_worth_nothing_is_refused_with_its_reason(token: str) -> None:
    found = verdict(token=token, token_valid=True)
    assert found == policy.Verdict(policy.STATUS_REFUSED, policy.TOKEN_REASONS[token])


def test_each_way_in_can_be_closed() -> None:
    only_thumbprint = Policy(admit=frozenset(("thumbprint",)))
    assert verdict(only_thumbprint, token=policy.LIVE, token_valid=True).status == policy.STATUS_REFUSED
    assert verdict(only_thumbprint).status == policy.STATUS_REFUSED
    assert verdict(only_thumbprint, state=ADMITTED).status is None
    only_token = Policy(admit=frozenset(("token",)))
    assert verdict(only_token, state=ADMITTED).status == policy.STATUS_REFUSED
    assert verdict(only_token, token=policy.LIVE, token_valid=True).status is None
    assert verdict(Policy(reenrol=False), state=ONBOARDED).status == policy.STATUS_WAITING


@pytest.mark.parametrize(
    "source",
    [
        None,
        [],
        [1, "card", 950],
        [0, "", 0, 2, 0, 0, []],
        [2, "os", 1000, 0, 0, 0, []],
        [3, "simulated photonic source", 1000, 0, 0, 0, []],
        [1, "card", 950, 1, 1, 0, []],
        [1, "card", 950, 2, 0, 0, []],
        [True, "card", 950, 0, 0, 0, []],
        [1, "card", 950, False, 0, 0, []],
        ["1", "card", 950, 0, 0, 0, []],
        [9, "card", 950, 0, 0, 0, []],
    ],
)
def test_only_a_healthy_quantum_source_satisfies_a_policy_that_wants_one(source: "list[Any] | None") -> None:
    strict = Policy(entropy="quantum")
    found = verdict(strict, state=ADMITTED, source=source)
    assert found.status == policy.STATUS_REFUSED
    assert found.reason.startswith("policy demands a ")
    assert verdict(state=ADMITTED, source=source).status is None
    assert verdict(strict, state=ADMITTED).status is None
