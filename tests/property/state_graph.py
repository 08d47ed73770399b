"""Breadth-first search over the worlds of recovery_model: every reachable state, and the dead ones.

A world is (device, hub, network, budgets), all of them small integers: each device, hub and message is
kept once, and what one of them does with a message is computed once. The network is a bit mask.
"""

from array import array
from collections import namedtuple
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from property import recovery_model as model
from property.recovery_model import Device, Down, Hub, Message3, Message4, Rules, Up

# How often each of these may happen: attempts, power cuts of the device and of the hub, telemetry records of
# the device, requests of the hub to step.
Budgets = namedtuple("Budgets", ("attempts", "device_cuts", "hub_cuts", "telemetry", "steps"))
# worlds, transitions: how many. devices, hubs, messages: distinct ones. violations: by text, how many worlds.
# dead: worlds from which no agreement can be reached; stuck: (device, hub) pairs that do not recover.
Report = namedtuple(
    "Report",
    ("worlds", "transitions", "devices", "hubs", "messages", "agreed", "violations", "dead", "stuck"),
)


# How often fin or hello goes out in one epoch between two starts; once more after a power cut of the hub,
# which may have swallowed the answer. More would only repeat, as the network keeps what was sent.
OPENERS = 1


class Interned:
    """Values by number; `name` says when two are the same."""

    def __init__(self, name: Callable[[Any], Hashable]) -> None:
        self.values: list[Any] = []
        self._name = name
        self._numbers: dict[Hashable, int] = {}

    def number(self, value: object) -> int:
        name = self._name(value)
        if name not in self._numbers:
            self._numbers[name] = len(self.values)
            self.values.append(value)
        return self._numbers[name]


class Graph:
    """All worlds that `budgets` allow under `rules`."""

    def __init__(self, budgets: Budgets, rules: Rules) -> None:
        self._rules = rules
        self._budgets = budgets
        self._devices = Interned(lambda device: (model.image(device.session), device.trying, device.opened))
        self._hubs = Interned(lambda hub: hub)
        self._messages = Interned(lambda message: (type(message).__name__, message))
        self._nonces: dict[bytes, list[int]] = {}
        self._rivals: list[int] = []
        self._named = 0
        self._memory: dict[tuple[object, ...], Any] = {}

    def explore(self) -> Report:
        """Visit every world."""
        start = (*self._start(), 0, self._budgets)
        numbers, worlds = {start: 0}, [start]
        sources, targets = array("l"), array("l")
        transitions, violations, ends, agreed, stuck = 0, {}, [], 0, set()
        for at, world in enumerate(worlds):
            if at > 3_000_000:
                raise AssertionError("too many worlds")
            wrong, good, alive = self._once(self._judge, world[0], world[1])
            if self._repeats(world[2]):
                wrong = "a nonce came twice"
            if wrong:
                violations[wrong] = violations.get(wrong, 0) + 1
            agreed += good
            if not alive:
                stuck.add(world[:2])
            if good or (alive and not self._holds_key(world[0])):
                ends.append(at)
            for kind, after in self._after(world):
                transitions += 1
                number = numbers.get(after)
                if number is None:
                    number = numbers[after] = len(worlds)
                    worlds.append(after)
                # A new attempt or a power cut is no way out for a device that holds a key.
                if number != at and kind not in ("attempt", "cut"):
                    sources.append(at)
                    targets.append(number)
        dead = len(worlds) - len(_reaching(len(worlds), sources, targets, ends))
        counts = (len(self._devices.values), len(self._hubs.values), len(self._messages.values))
        return Report(len(worlds), transitions, *counts, agreed, violations, dead, len(stuck))

    def _start(self) -> tuple[int, int]:
        return self._devices.number(model.new_device()), self._hubs.number(model.new_hub())

    def _holds_key(self, device: int) -> bool:
        return self._devices.values[device].session is not None

    def _judge(self, device: int, hub: int) -> tuple[str | None, bool, bool]:
        both = self._devices.values[device], self._hubs.values[hub]
        return model.violated(*both), model.agree(*both), model.recovers(*both, self._rules)

    def _once(self, function: Callable[..., Any], *arguments: object) -> Any:
        name = (function, *arguments)
        if name not in self._memory:
            self._memory[name] = function(*arguments)
        return self._memory[name]

    def _after(
        self, world: tuple[int, int, int, Budgets]
    ) -> Iterator[tuple[str, tuple[int, int, int, Budgets]]]:
        device, hub, network, left = world
        for kind, after, sent, cost in self._once(self._alone, device, hub, left):
            yield kind, (after[0], after[1], network | sent, cost)
        waiting = network
        while waiting:
            lowest = waiting & -waiting
            waiting ^= lowest
            number = lowest.bit_length() - 1
            after_device = self._once(self._device_receives, device, number)
            if after_device is not None:
                yield "message", (after_device, hub, network, left)
            for kind, after_hub, sent in self._once(self._hub_receives, hub, number):
                if kind == "message":
                    yield kind, (device, after_hub, network | sent, left)
                elif left.hub_cuts:
                    yield kind, (device, after_hub, network | sent, left._replace(hub_cuts=left.hub_cuts - 1))

    def _alone(self, device_number: int, hub_number: int, left: Budgets) -> list[Any]:
        """What happens without a message: (kind, (device, hub), sent, budgets)."""
        device, hub = self._devices.values[device_number], self._hubs.values[hub_number]
        found = []

        def add(kind: str, device: Device, hub: Hub, messages: list[Any], left: Budgets) -> None:
            both = self._devices.number(device), self._hubs.number(hub)
            found.append((kind, both, self._mask(messages), left))

        if left.attempts:
            born = hub.born + 1
            message = Message3(self._budgets.attempts - left.attempts + 1, born, model.held(device))
            waiting = hub.waiting | {(message.number, born)}
            add(
                "attempt",
                device._replace(trying=message),
                hub._replace(born=born, waiting=waiting),
                [message],
                left._replace(attempts=left.attempts - 1),
            )
        openers = OPENERS + self._budgets.hub_cuts - left.hub_cuts
        if device.session is not None and device.opened < openers and device.session.timer() is not None:
            after, frames = model.device_opens(device)
            add("timer", after, hub, frames, left)
        if left.telemetry and device.session is not None:
            after, frames = model.device_sends(device)
            add("send", after, hub, frames, left._replace(telemetry=left.telemetry - 1))
        if left.steps and hub.ring.active is not None:
            after_hub, records = model.hub_says(hub, model.STEP)
            add("ask", device, after_hub, records, left._replace(steps=left.steps - 1))
        if left.device_cuts and (device.session is not None or device.trying is not None):
            fewer = left._replace(device_cuts=left.device_cuts - 1)
            add("cut", model.device_restarts(device), hub, [], fewer)
        if left.hub_cuts:
            add("cut", device, model.hub_restarts(hub), [], left._replace(hub_cuts=left.hub_cuts - 1))
        for after_hub in self._rules.timers(hub):
            add("timer", device, after_hub, [], left)
        return found

    def _device_receives(self, device: int, message: int) -> int | None:
        received = self._messages.values[message]
        if not isinstance(received, (Message4, Down)):
            return None
        after = model.device_receives(self._devices.values[device], received)
        return None if after is None else self._devices.number(after)

    def _hub_receives(self, hub: int, message: int) -> list[tuple[str, int, int]]:
        """The hub goes on, or its power is cut between the commit and the publish."""
        received = self._messages.values[message]
        if not isinstance(received, (Message3, Up)):
            return []
        result = model.hub_receives(self._hubs.values[hub], received, self._rules)
        if result is None:
            return []
        after, sent = result
        found = [("message", self._hubs.number(after), self._mask(sent))]
        if sent:
            cut_hub, said = self._rules.cut(self._hubs.values[hub], after, sent)
            found.append(("cut", self._hubs.number(cut_hub), self._mask(said)))
        return found

    def _mask(self, messages: list[Any]) -> int:
        mask = 0
        for message in messages:
            number = self._messages.number(message)
            if number == self._named:
                self._named += 1
                record = self._record(message)
                if record is not None:
                    same = self._nonces.setdefault(model.nonce_of(record), [])
                    self._rivals.extend(1 << number | 1 << other for other in same)
                    same.append(number)
            mask |= 1 << number
        return mask

    def _record(self, message: Any) -> bytes | None:
        return message.record if isinstance(message, (Up, Down)) else None

    def _repeats(self, network: int) -> bool:
        """Whether two different records under one key and nonce are in the network."""
        return any(network & both == both for both in self._rivals)


def _reaching(count: int, sources: "array[int]", targets: "array[int]", ends: list[int]) -> set[int]:
    """The worlds from which one of `ends` can be reached."""
    before: list[list[int]] = [[] for _ in range(count)]
    for source, target in zip(sources, targets, strict=True):
        before[target].append(source)
    seen, todo = set(ends), list(ends)
    while todo:
        for source in before[todo.pop()]:
            if source not in seen:
                seen.add(source)
                todo.append(source)
    return seen
