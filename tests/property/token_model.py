"""R6: two devices that race for one token, as a graph of states; each of them is a device of recovery_model.

The hub has a ring for each thumbprint and one row for the token. Nothing but the token admits anybody: not
that a device was admitted before, and no operator. A device presents the token until it has heard the hub
under a key, and stops for good when the hub refuses it, as `Device` does.
"""

from collections import namedtuple
from collections.abc import Hashable
from typing import Any

from property import recovery_model as model
from property.recovery_model import Device, Down, Hub, Message3, Message4, Up
from property.state_graph import OPENERS, Budgets, Graph, Interned

# Whether a STATUS has stopped it.
Racer = namedtuple("Racer", ("device", "refused"))
# bound: which racer it belongs to, or None. consumed: whether a key that it admitted was promoted.
Token = namedtuple("Token", ("bound", "consumed"))
# hubs: what the hub has of each racer.
Registry = namedtuple("Registry", ("hubs", "token"))
# A message on the topics of racer `who`.
Sent = namedtuple("Sent", ("who", "message"))
# message_4 with STATUS 2.
Status = namedtuple("Status", ("number", "born"))

RACERS = (0, 1)


class TokenRules(model.Rules):
    """R6 by the design; a test drops one of its clauses by overriding it."""

    def admits(self, token: Token, who: int) -> bool:
        """Still accepted from the thumbprint that it is bound to."""
        return token.bound in (None, who)

    def pend(self, token: Token, who: int) -> Token:
        """In the pending transaction: bound."""
        return token._replace(bound=who)

    def promote(self, token: Token, who: int) -> "Token | None":
        """In the promotion: consumed; None keeps the record out."""
        return token._replace(consumed=True)

    def crash(self, before: Registry, after: Registry) -> Registry:
        """Power goes after the commit, which holds the ring and the token."""
        return restarted(after)


# The hub


def hub_receives(registry: Registry, sent: Sent, rules: TokenRules) -> "tuple[Registry, list[Sent]] | None":
    """The hub after it committed, and what it then publishes; None when nothing happens."""
    who, message = sent
    hub, token = registry.hubs[who], registry.token
    if isinstance(message, Message3) and not answered(hub, message, rules):
        if (message.number, message.born) not in hub.waiting:
            return None
        if not rules.admits(token, who):
            waiting = hub.waiting - {(message.number, message.born)}
            status = Status(message.number, message.born)
            return changed(registry, who, hub._replace(waiting=waiting), token), [Sent(who, status)]
    result = model.hub_receives(hub, message, rules)
    if result is None:
        return None
    after = result[0]
    if len(after.grants) > len(hub.grants):
        token = rules.pend(token, who)
    if active(after) != active(hub):
        consumed = rules.promote(token, who)
        if consumed is None:
            return None
        token = consumed
    return changed(registry, who, after, token), [Sent(who, answer) for answer in result[1]]


def answered(hub: Hub, message: Message3, rules: TokenRules) -> bool:
    return any(rules.is_duplicate(answer, message) for answer in hub.answers)


def active(hub: Hub) -> "bytes | None":
    return None if hub.ring.active is None else hub.ring.active.attempt


def changed(registry: Registry, who: int, hub: Hub, token: Token) -> Registry:
    return Registry(tuple(hub if each == who else registry.hubs[each] for each in RACERS), token)


def restarted(registry: Registry) -> Registry:
    return Registry(tuple(model.hub_restarts(hub) for hub in registry.hubs), registry.token)


# The devices


def racer_receives(racer: Racer, message: object) -> "Racer | None":
    """The racer after `message`, saved; None when it means nothing to it."""
    if racer.refused:
        return None
    if isinstance(message, Status):
        trying = racer.device.trying
        if trying is None or tuple(message) != (trying.number, trying.born):
            return None
        return Racer(racer.device._replace(trying=None), True)
    device = model.device_receives(racer.device, message)
    return None if device is None else Racer(device, False)


def holds_token(racer: Racer) -> bool:
    """It forgets it when it has heard the hub under a key."""
    session = racer.device.session
    return not racer.refused and (session is None or session.state != model.device_session.ACTIVE)


# What must hold


def violated(racers: "tuple[Racer, ...]", registry: Registry) -> "str | None":
    """The first invariant that does not hold, in words."""
    if sum(hub.ring.active is not None for hub in registry.hubs) > 1:
        return "one token has onboarded two thumbprints"
    for racer, hub in zip(racers, registry.hubs, strict=True):
        wrong = model.violated(racer.device, hub)
        if wrong is not None:
            return wrong
    return None


def over(racers: "tuple[Racer, ...]", registry: Registry) -> bool:
    """One racer has its key and knows, and the other holds none."""
    agreed = [model.agree(racer.device, hub) for racer, hub in zip(racers, registry.hubs, strict=True)]
    keyless = [racer.device.session is None for racer in racers]
    return sum(agreed) == 1 and all(a or b for a, b in zip(agreed, keyless, strict=True))


def recovers(racers: "tuple[Racer, ...]", registry: Registry, rules: TokenRules) -> bool:
    """Whether nobody is lost after everything under way was: who holds a key agrees without a new
    attempt; who holds none gets one, unless the token is the other's.
    """
    return all(_recovers(racers[who], registry, who, rules) for who in RACERS)


def _recovers(racer: Racer, registry: Registry, who: int, rules: TokenRules) -> bool:
    keyless = racer.device.session is None
    if keyless and registry.token.bound not in (None, who):
        return True
    if racer.refused:
        return False
    if keyless:
        hub = registry.hubs[who]
        born = hub.born + 1
        message = Message3(100 + born, born, None)
        racer = Racer(Device(None, message, 0), False)
        waiting = hub.waiting | {(message.number, born)}
        registry = changed(registry, who, hub._replace(born=born, waiting=waiting), registry.token)
        racer, registry = _exchange(racer, registry, Sent(who, message), rules)
    for _ in range(4):
        if model.agree(racer.device, registry.hubs[who]):
            return True
        if racer.refused or racer.device.session is None or racer.device.session.timer() is None:
            return False
        device, frames = model.device_opens(racer.device)
        racer = Racer(device, False)
        for frame in frames:
            racer, registry = _exchange(racer, registry, Sent(who, frame), rules)
    return False


def _exchange(racer: Racer, registry: Registry, sent: Sent, rules: TokenRules) -> "tuple[Racer, Registry]":
    """One message of a racer, and what the hub answers."""
    result = hub_receives(registry, sent, rules)
    if result is None:
        return racer, registry
    for answer in result[1]:
        racer = racer_receives(racer, answer.message) or racer
    return racer, result[0]


class TokenGraph(Graph):
    """All worlds of two racers that `budgets` allow: attempts of each, device_cuts of both together."""

    def __init__(self, budgets: Budgets, rules: TokenRules) -> None:
        super().__init__(budgets, rules)
        self._token_rules = rules
        self._devices = Interned(_name)
        self._messages = Interned(lambda sent: (sent.who, type(sent.message).__name__, sent.message))

    def _start(self) -> tuple[int, int]:
        racers = tuple(Racer(model.new_device(), False) for _ in RACERS)
        registry = Registry(tuple(model.new_hub() for _ in RACERS), Token(None, False))
        return self._devices.number(racers), self._hubs.number(registry)

    def _holds_key(self, device: int) -> bool:
        return any(racer.device.session is not None for racer in self._devices.values[device])

    def _judge(self, device: int, hub: int) -> tuple[str | None, bool, bool]:
        both = self._devices.values[device], self._hubs.values[hub]
        return violated(*both), over(*both), recovers(*both, self._token_rules)

    def _record(self, message: Any) -> bytes | None:
        return super()._record(message.message)

    def _alone(self, device_number: int, hub_number: int, left: Budgets) -> list[Any]:
        racers, registry = self._devices.values[device_number], self._hubs.values[hub_number]
        found: list[Any] = []
        for who in RACERS:
            self._racer_alone(who, racers, registry, left, found)
        if left.hub_cuts:
            fewer = left._replace(hub_cuts=left.hub_cuts - 1)
            found.append(("cut", (device_number, self._hubs.number(restarted(registry))), 0, fewer))
        return found

    def _racer_alone(
        self, who: int, racers: Any, registry: Registry, left: Budgets, found: list[Any]
    ) -> None:
        racer, hub = racers[who], registry.hubs[who]
        device = racer.device

        def add(kind: str, after: Device, messages: list[Any], left: Budgets, after_hub: Hub = hub) -> None:
            changed_racers = tuple(Racer(after, False) if each == who else racers[each] for each in RACERS)
            changed_registry = changed(registry, who, after_hub, registry.token)
            both = self._devices.number(changed_racers), self._hubs.number(changed_registry)
            found.append((kind, both, self._mask([Sent(who, each) for each in messages]), left))

        if racer.refused:
            return
        if left.attempts[who] and holds_token(racer):
            born = hub.born + 1
            message = Message3(10 * who + born, born, model.held(device))
            waiting = hub._replace(born=born, waiting=hub.waiting | {(message.number, born)})
            attempts = tuple(count - (each == who) for each, count in enumerate(left.attempts))
            trying = device._replace(trying=message)
            add("attempt", trying, [message], left._replace(attempts=attempts), waiting)
        openers = OPENERS + self._budgets.hub_cuts - left.hub_cuts
        if device.session is not None and device.opened < openers and device.session.timer() is not None:
            after, frames = model.device_opens(device)
            add("timer", after, frames, left)
        if left.device_cuts and (device.session is not None or device.trying is not None):
            add("cut", model.device_restarts(device), [], left._replace(device_cuts=left.device_cuts - 1))

    def _device_receives(self, device: int, message: int) -> int | None:
        racers = self._devices.values[device]
        who, received = self._messages.values[message]
        if not isinstance(received, (Message4, Down, Status)):
            return None
        after = racer_receives(racers[who], received)
        if after is None:
            return None
        return self._devices.number(tuple(after if each == who else racers[each] for each in RACERS))

    def _hub_receives(self, hub: int, message: int) -> list[tuple[str, int, int]]:
        received = self._messages.values[message]
        if not isinstance(received.message, (Message3, Up)):
            return []
        result = hub_receives(self._hubs.values[hub], received, self._token_rules)
        if result is None:
            return []
        after, sent = result
        found = [("message", self._hubs.number(after), self._mask(sent))]
        if sent:
            crashed = self._token_rules.crash(self._hubs.values[hub], after)
            found.append(("cut", self._hubs.number(crashed), 0))
        return found


def _name(racers: "tuple[Racer, ...]") -> Hashable:
    return tuple(
        (model.image(racer.device.session), racer.device.trying, racer.device.opened, racer.refused)
        for racer in racers
    )
