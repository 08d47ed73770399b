"""Design 2.8 and 2.9, every state of it: two attempts, one power cut on each side, any order of delivery.

With the rules of the design no state is dead; without any one of R1 to R6, or when the hub publishes
before it commits, one is. R6 is explored with two devices that race for one token. docs/recovery.md has the
numbers.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from property import recovery_model as model
from property.recovery_model import Hub, Message3, Rules
from property.state_graph import Budgets, Graph, Report
from property.token_model import Registry, Token, TokenGraph, TokenRules, restarted

from handfast.core import constants, hub_session
from handfast.core.hub_session import Key, Ring

DOCUMENT = (Path(__file__).parents[2] / "docs" / "recovery.md").read_text()
#                          attempts, device_cuts, hub_cuts, telemetry, steps
WHOLE = Budgets(2, 1, 1, 0, 0)


def explored(budgets: Budgets, rules: Rules | None = None) -> Report:
    return Graph(budgets, rules or Rules()).explore()


def documented(*cells: object) -> None:
    """Fails unless docs/recovery.md has a table row that begins with these cells."""
    row = "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"
    assert f"\n{row}" in DOCUMENT, f"docs/recovery.md lacks the row: {row}"


def good(report: Report) -> bool:
    return not report.violations and not report.dead and not report.stuck and report.agreed > 0


@pytest.mark.parametrize(
    "budgets",
    [
        WHOLE,
        Budgets(2, 1, 0, 1, 1),
        Budgets(2, 0, 1, 1, 0),
        Budgets(2, 0, 1, 0, 1),
        Budgets(3, 1, 0, 0, 0),
        Budgets(3, 0, 1, 0, 0),
        Budgets(1, 2, 1, 0, 0),
    ],
    ids=str,
)
def test_no_state_is_dead(budgets: Budgets) -> None:
    report = explored(budgets)
    assert good(report), report
    documented(*budgets, report.worlds, report.transitions, report.agreed, report.dead, report.stuck)


def without_r1(ring: Ring, born: int) -> bool:
    return True


def without_r2(ring: Ring, key: Key, have: bytes | None) -> Ring:
    """Deletes the pending that the device holds as well."""
    return ring._replace(pendings=(key,), highest_epoch=key.epoch)


def without_r2_limit(ring: Ring, key: Key, have: bytes | None) -> Ring:
    """Deletes none."""
    return ring._replace(pendings=(*ring.pendings, key), highest_epoch=key.epoch)


def without_r3(ring: Ring, attempt: bytes) -> Ring:
    """Deletes what was born later as well."""
    (key,) = (key for key in ring.pendings if key.attempt == attempt)
    return ring._replace(active=key, pendings=())


def without_r3_deletion(ring: Ring, attempt: bytes) -> Ring:
    """Deletes nothing: the active key becomes a pending again."""
    (key,) = (key for key in ring.pendings if key.attempt == attempt)
    others = [other for other in ring.pendings if other is not key]
    others += [] if ring.active is None else [ring.active]
    return ring._replace(active=key, pendings=tuple(sorted(others, key=lambda other: other.born)))


class WithoutR4(Rules):
    """A timer deletes pendings."""

    def timers(self, hub: Hub) -> Iterator[Hub]:
        if hub.ring.pendings:
            yield model.committed(hub, hub.ring._replace(pendings=()))


class WithoutR5(Rules):
    """A duplicate message_3 is answered anew, with another r_H."""

    def message_3(self, hub: Hub, message: Message3) -> tuple[Hub, list[object]] | None:
        again = [answer for answer in hub.answers if answer.number == message.number]
        stale = not hub_session.accepts_message_3(hub.ring, message.born)
        if stale or not again or hub.grants.count(message.number) > 1:
            return super().message_3(hub, message)
        attempt = model.attempt_of(message.number)
        pendings = tuple(key for key in hub.ring.pendings if key.attempt != attempt)
        if len(pendings) == len(hub.ring.pendings):
            return super().message_3(hub, message)
        return self.grant(hub._replace(ring=hub.ring._replace(pendings=pendings)), message, hub.waiting)


class PublishesFirst(Rules):
    """Power may go after the publish and before the commit."""

    def cut(self, before: Hub, after: Hub, answers: list[object]) -> tuple[Hub, list[object]]:
        return model.hub_restarts(before), answers


DELETED = "the device holds a key that the hub has deleted"
TWO_ACTIVE = "two different keys are active"
SECOND_R_H = "a second r_H for one attempt"


@pytest.mark.parametrize(
    ("rule", "name", "function", "expected"),
    [
        ("R1", "accepts_message_3", without_r1, DELETED),
        ("R2", "add_pending", without_r2, DELETED),
        ("R3, deleting later ones too", "promote", without_r3, DELETED),
        ("R3, deleting nothing", "promote", without_r3_deletion, TWO_ACTIVE),
    ],
)
def test_dropping_a_rule_of_the_ring_makes_a_dead_state(
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    name: str,
    function: Callable[..., object],
    expected: str,
) -> None:
    monkeypatch.setattr(hub_session, name, function)
    report = explored(WHOLE)
    assert expected in report.violations and report.dead and report.stuck
    documented(rule, report.worlds, report.dead, report.stuck, expected)


def test_without_the_second_half_of_r2_pendings_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_session, "add_pending", without_r2_limit)
    assert "more than two pendings" in explored(Budgets(3, 1, 0, 0, 0)).violations


@pytest.mark.parametrize(
    ("rule", "rules", "budgets", "expected"),
    [
        ("R4", WithoutR4(), WHOLE, DELETED),
        ("R5, without hub cuts", WithoutR5(), Budgets(2, 1, 0, 0, 0), SECOND_R_H),
        ("commit before publish", PublishesFirst(), WHOLE, DELETED),
    ],
)
def test_dropping_a_rule_of_the_hub_makes_a_dead_state(
    rule: str, rules: Rules, budgets: Budgets, expected: str
) -> None:
    report = explored(budgets, rules)
    assert expected in report.violations and report.dead and report.stuck
    documented(rule, report.worlds, report.dead, report.stuck, expected)


# Attempts are of each of the two devices; either may be the one that is cut.
RACE = Budgets((1, 1), 1, 1, 0, 0)
TWO_ONBOARDED = "one token has onboarded two thumbprints"


def race(budgets: Budgets) -> str:
    """How docs/recovery.md names a race: the attempts of both devices, their power cuts, those of the hub."""
    (first, second), device_cuts, hub_cuts = budgets[:3]
    return f"{first} + {second} | {device_cuts} | {hub_cuts}"


@pytest.mark.parametrize(
    "budgets",
    [
        RACE,
        Budgets((2, 2), 0, 0, 0, 0),
        Budgets((2, 1), 1, 0, 0, 0),
        Budgets((2, 1), 0, 1, 0, 0),
        Budgets((2, 1), 1, 1, 0, 0),
    ],
    ids=str,
)
def test_a_race_for_one_token_has_one_winner_and_no_dead_state(budgets: Budgets) -> None:
    report = TokenGraph(budgets, TokenRules()).explore()
    assert good(report), report
    documented(race(budgets), report.worlds, report.transitions, report.agreed, report.dead, report.stuck)


class BoundAtPromotion(TokenRules):
    """The token is anybody's until a key was promoted."""

    def admits(self, token: Token, who: int) -> bool:
        return not token.consumed or token.bound == who

    def pend(self, token: Token, who: int) -> Token:
        return token

    def promote(self, token: Token, who: int) -> Token | None:
        return None if token.consumed and token.bound != who else Token(who, True)


class BoundAfterTheCommit(TokenRules):
    """In a transaction of its own, after the one with the key."""

    def crash(self, before: Registry, after: Registry) -> Registry:
        return restarted(after._replace(token=before.token))


class NeverConsumed(TokenRules):
    """It belongs to the key that waits, and is free again when there is none."""

    def promote(self, token: Token, who: int) -> Token | None:
        return Token(None, False)


class GoodForOneAnswer(TokenRules):
    """Not accepted again, not from the same thumbprint either."""

    def admits(self, token: Token, who: int) -> bool:
        return token.bound is None


class GoodUntilPromotion(TokenRules):
    """Not accepted from a device that was promoted, which it only knows from the ack."""

    def admits(self, token: Token, who: int) -> bool:
        return token.bound is None or (token.bound == who and not token.consumed)


@pytest.mark.parametrize(
    ("clause", "rules", "budgets", "expected"),
    [
        ("bound at promotion only", BoundAtPromotion(), RACE, ""),
        ("bound in a transaction of its own", BoundAfterTheCommit(), RACE, TWO_ONBOARDED),
        ("bound but never consumed", NeverConsumed(), RACE, TWO_ONBOARDED),
        ("not accepted again", GoodForOneAnswer(), RACE, ""),
        ("not accepted after promotion", GoodUntilPromotion(), Budgets((2, 1), 1, 0, 0, 0), ""),
    ],
)
def test_dropping_a_clause_of_r6_loses_a_device_or_onboards_two(
    clause: str, rules: TokenRules, budgets: Budgets, expected: str
) -> None:
    report = TokenGraph(budgets, rules).explore()
    assert set(report.violations) == ({expected} if expected else set())
    assert report.dead
    documented(f"R6: {clause}", race(budgets), report.worlds, report.dead, report.stuck)


def test_the_numbers_of_the_document_are_those_of_the_code() -> None:
    rows = [line.split("|") for line in DOCUMENT.splitlines() if line.startswith("| ")]
    numbers = {row[1].strip(): row[2].strip() for row in rows if "_" in row[1] and row[1].strip().isupper()}
    assert len(numbers) >= 12
    for name, value in numbers.items():
        assert str(getattr(constants, name)) == value, name
