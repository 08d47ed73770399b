"""`handfast-hub` that kills itself (SIGKILL) at a chosen point: hub_at_fault.py POINT[:COUNT] ARGUMENTS.

It dies when the point is reached for the COUNT-th time (1 when it is not said). The points:

    message_2   a message_2 has left                  deliver   a record is opened and not committed
    pend        a key is granted and not committed    delivered a record is committed, not acknowledged
    pended      it is committed, message_4 not sent   promote   a first record is opened, not committed
    message_4   a message_4 has left                  promoted  it is committed, the ack not sent
"""

import asyncio
import os
import signal
import sys
from typing import Any

from handfast.core import messages, topics
from handfast_hub.cli import main
from handfast_hub.mqtt.ingress import MqttIngress
from handfast_hub.registry.registry import Registry

# By then what was published has left the process, in seconds.
LEAVING = 0.02


class Fault:
    """Where to die, and how many more times to go past it."""

    def __init__(self, text: str) -> None:
        point, _, count = text.partition(":")
        self.point = point
        self.left = int(count or 1)

    def reached(self, point: str) -> bool:
        """Whether this is the time to die."""
        if point == self.point:
            self.left -= 1
        return point == self.point and self.left == 0

    def pass_by(self, point: str) -> None:
        """Die here, or go on."""
        if self.reached(point):
            die()


def die() -> None:
    """No goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def install(fault: Fault) -> None:
    """Put the fault into the hub's way to the broker and to the registry."""
    publish, pend, deliver = MqttIngress.publish, Registry.begin_pend, Registry.deliver

    def faulty_publish(self: MqttIngress, topic: str, payload: bytes) -> None:
        publish(self, topic, payload)
        if topics.parse(topic).chan is not None:
            message = messages.decode_frame(payload).message or b""
            if fault.reached("message_2" if len(message) > 2000 else "message_4"):
                asyncio.get_running_loop().call_later(LEAVING, die)

    def faulty_pend(self: Registry, pending: Any, done: Any) -> None:
        def written(*outcome: Any) -> None:
            fault.pass_by("pended")
            done(*outcome)

        fault.pass_by("pend")
        pend(self, pending, written)

    async def faulty_deliver(self: Registry, delivery: Any) -> Any:
        promoted = delivery.opened.promoted
        fault.pass_by("promote" if promoted else "deliver")
        outcome = await deliver(self, delivery)
        fault.pass_by("promoted" if promoted else "delivered")
        return outcome

    MqttIngress.publish = faulty_publish  # type: ignore[method-assign]
    Registry.begin_pend = faulty_pend  # type: ignore[method-assign]
    Registry.deliver = faulty_deliver  # type: ignore[method-assign]


if __name__ == "__main__":
    install(Fault(sys.argv.pop(1)))
    main()
