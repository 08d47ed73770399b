"""BFD sessions in any state, what a peer says, and two of them joined over a carrier as bad as you like."""

import random
from collections.abc import Callable

from handfast.core.errors import UnexpectedMessageError
from handfast_hub.trunk.bfd import INTERVAL, Changed, Session, draw_discriminator
from handfast_hub.trunk.bfd_packet import ControlPacket, State, decode_packet

ADMIN_DOWN, DOWN, INIT, UP = State
OURS, THEIRS = 0x01020304, 0x0A0B0C0D


def said(**values: object) -> ControlPacket:
    """A control packet of the peer."""
    packet = ControlPacket(0, DOWN, False, False, False, 3, THEIRS, OURS, INTERVAL, INTERVAL)
    return packet._replace(**values)  # type: ignore[arg-type]


def session(**values: object) -> Session:
    return Session(OURS, random.Random(1).randbytes, 0.0, **values)  # type: ignore[arg-type]


def asked(one: Session, now: float) -> list[ControlPacket]:
    """All that a session has to send now."""
    packets = []
    while (packet := one.packet_to_send(now)) is not None:
        packets.append(decode_packet(packet))
        assert len(packets) < 5
    return packets


def brought(state: State, **values: object) -> Session:
    """A session in `state`, by what the peer said, with nothing left to send."""
    one = session(**values)
    if state is ADMIN_DOWN:
        one.disable()
    if state in (INIT, UP):
        one.receive(said(state=DOWN).encode(), 0.0)
    if state is UP:
        one.receive(said(state=INIT).encode(), 0.0)
    asked(one, 0.0)
    while one.next_event() is not None:
        pass
    assert one.state is state
    return one


Carry = Callable[[random.Random, int], bool]


class Ends:
    """Two sessions, a clock, and a carrier with a delay of 20 ms that loses what `carry` says."""

    def __init__(self, seed: int = 1, carry: Carry = lambda rng, to: True, **values: object) -> None:
        self.rng = random.Random(seed)
        self.carry = carry
        self.now = 0.0
        self.values = values
        self.sessions = [self.fresh(), self.fresh()]
        self.on_their_way: list[tuple[float, int, bytes]] = []
        self.events: list[list[Changed]] = [[], []]
        self.refused = 0
        self.packets = 0

    def fresh(self) -> Session:
        draw = random.Random(self.rng.random()).randbytes
        return Session(draw_discriminator(draw), draw, self.now, **self.values)  # type: ignore[arg-type]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + 0.01, 2)
            arrived = [item for item in self.on_their_way if item[0] <= self.now]
            self.on_their_way = [item for item in self.on_their_way if item[0] > self.now]
            for _, to, packet in arrived:
                try:
                    self.sessions[to].receive(packet, self.now)
                except UnexpectedMessageError:
                    self.refused += 1
            for number, one in enumerate(self.sessions):
                if self.now >= one.timer():
                    one.handle_timer(self.now)
                while (packet := one.packet_to_send(self.now)) is not None:
                    self.packets += 1
                    if self.carry(self.rng, 1 - number):
                        self.on_their_way.append((self.now + 0.02, 1 - number, packet))
                while (event := one.next_event()) is not None:
                    self.events[number].append(event)

    def states(self) -> list[State]:
        return [one.state for one in self.sessions]
