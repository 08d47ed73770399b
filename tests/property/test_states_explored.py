"""Design 2.8 and 2.9, every state of it: two attempts, one power cut on each side, any order of delivery.

With the rules of the design no state is dead; without any one of R1 to R5, or when the hub publishes
before it commits, one is. docs/recovery.md has the numbers.
"""

from collections.abc import Callable, Iterator

import pytest
from property import recovery_model as model
from property.recovery_model import Hub, Message3, Rules
from property.state_graph import Budgets, Graph, Report

from handfast.core import hub_session
from handfast.core.hub_session import Key, Ring

#                          attempts, device_cuts, hub_cuts, telemetry, steps
WHOLE = Budgets(2, 1, 1, 0, 0)


def explored(budgets: Budgets, rules: Rules | None = None) -> Report:
    return Graph(budgets, rules or Rules()).explore()


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
    print(report)
    assert good(report), report


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


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("accepts_message_3", without_r1, DELETED),
        ("add_pending", without_r2, DELETED),
        ("promote", without_r3, DELETED),
        ("promote", without_r3_deletion, TWO_ACTIVE),
    ],
    ids=["R1", "R2", "R3", "R3 deletes nothing"],
)
def test_dropping_a_rule_of_the_ring_makes_a_dead_state(
    monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., object], expected: str
) -> None:
    monkeypatch.setattr(hub_session, name, function)
    report = explored(WHOLE)
    print(report)
    assert expected in report.violations and report.dead and report.stuck


def test_without_the_second_half_of_r2_pendings_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_session, "add_pending", without_r2_limit)
    assert "more than two pendings" in explored(Budgets(3, 1, 0, 0, 0)).violations


@pytest.mark.parametrize(
    ("rules", "budgets", "expected"),
    [
        (WithoutR4(), WHOLE, DELETED),
        (WithoutR5(), Budgets(2, 1, 0, 0, 0), "a second r_H for one attempt"),
        (PublishesFirst(), WHOLE, DELETED),
    ],
    ids=["R4", "R5", "publish first"],
)
def test_dropping_a_rule_of_the_hub_makes_a_dead_state(rules: Rules, budgets: Budgets, expected: str) -> None:
    report = explored(budgets, rules)
    print(report)
    assert expected in report.violations and report.dead and report.stuck
