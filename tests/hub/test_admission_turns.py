"""Two handshakes of one device at once: decided about one after the other, whatever becomes of one."""

import os
import time
from typing import Any

import pytest

from handfast.core import events, topics
from handfast.core.credentials import Identity, make_ccs
from handfast.core.initiator import Initiator
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.tokens import NewTokens


class Twins:
    """One identity and one token in two handshakes, and all that the hub answers on their chans."""

    def __init__(self, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch) -> None:
        self._hub = hub
        self.answers: dict[str, list[bytes]] = {}
        self.acknowledged = 0
        monkeypatch.setattr(
            hub._sessions, "_publish", lambda reply, frame: self.answers.setdefault(reply, []).append(frame)
        )

    async def present_themselves(self) -> list[Initiator]:
        """Both give their message_3 in one round of the event loop; returns when all is decided."""
        hub = self._hub
        (token,) = await hub.operator.mint(NewTokens("", 1, False, 1, time.time() + 3600, time.time()))
        await hub._registry._group.submit(hub._registry._stock, None)
        seed = os.urandom(32)
        credential = make_ccs(hub.crypto, "twin", -49, hub.crypto.signature_public_key(-49, seed))
        machines = []
        for number in range(2):
            machine = Initiator(hub.crypto, os.urandom, Identity(seed, credential), hub.hub_id, token=token)
            machine.start(0.0)
            self._give(number, machine)
            machines.append(machine)
        await hub._sessions.settle()
        for number, machine in enumerate(machines):
            machine.receive(self.answer(number), 0.0)
            presented: Any = machine.next_event()
            machine.accept(presented.credential, 0.0)
        for number, machine in enumerate(machines):
            self._give(number, machine)
        await hub._sessions.settle()
        return machines

    def answer(self, number: int) -> bytes:
        """The only answer on the chan of one of them since the last look."""
        (frame,) = self.answers.pop(self._reply(number))
        return frame

    def _give(self, number: int, machine: Initiator) -> None:
        (payload,) = machine.frames_to_send(0.0)
        self._hub._sessions.receive(self._reply(number), payload, self._acknowledge)

    def _reply(self, number: int) -> str:
        endpoint = topics.onboarding(self._hub.hub_id[:8], number.to_bytes(topics.CHAN_LENGTH, "big"))
        return topics.reply_topic(endpoint.up)

    def _acknowledge(self) -> None:
        self.acknowledged += 1


async def test_the_second_of_two_is_judged_by_what_the_first_has_changed(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = Twins(hub, monkeypatch)
    machines = await twins.present_themselves()
    epochs = []
    for number, machine in enumerate(machines):
        machine.receive(twins.answer(number), 0.0)
        established = machine.next_event()
        assert isinstance(established, events.Established)
        epochs.append(established.epoch)
    # Had it been judged by the first look-up it would have asked for the same epoch and been overtaken.
    assert epochs == [0, 1]
    assert twins.acknowledged == 4
    assert not hub._sessions._admission._waiting


async def test_a_decision_that_meets_a_fault_holds_up_nobody(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, calls = Registry.begin_pend, []

    def once(self: Registry, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise ZeroDivisionError
        begin(self, *arguments)

    monkeypatch.setattr(Registry, "begin_pend", once)
    twins = Twins(hub, monkeypatch)
    _, second = await twins.present_themselves()
    second.receive(twins.answer(1), 0.0)
    assert isinstance(second.next_event(), events.Established)
    assert twins.answers == {}
    assert twins.acknowledged == 4
    assert hub._sessions.half_open == 0
