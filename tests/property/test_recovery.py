"""Loss, duplication, reordering, power cuts and a failing keystore, at any step, with the real machines.

Whatever happened: when the network works again, both sides hold the same key, or neither does and a retry
succeeds. On the way no nonce comes twice, no attempt gets a second r_H, and the hub never deletes the key
that the device holds.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from property.machines import Device, Hub, Payload, WatchedCrypto, agree

from handfast.core import constants
from handfast.core.errors import Error
from handfast.core.plaintexts import encode_control, encode_request
from handfast.core.records import decode_header
from handfast.core.topics import COMMAND, CONTROL, TELEMETRY

places = st.integers(0, 7)


class Onboarding(RuleBasedStateMachine):
    """A device, a hub, and a broker that does what it likes."""

    @initialize()
    def begin(self) -> None:
        self.crypto = WatchedCrypto()
        self.hub = Hub(self.crypto)
        self.device = Device(self.crypto, self.hub.identity.credential)
        self.now = 0.0
        self.up: list[Payload] = []
        self.down: list[Payload] = []
        self.published: dict[tuple[bytes, bytes], bytes] = {}
        self.commands = self.readings = 0
        self.publish(self.up, self.device.start(self.now))

    def publish(self, queue: list[Payload], payloads: list[Payload]) -> None:
        """Hand payloads to the broker, which keeps the newest few."""
        for channel, payload in payloads:
            if channel is not None:
                ciphertext = payload[decode_header(payload).start :]
                used = self.crypto.sealed[ciphertext]
                assert self.published.setdefault(used, ciphertext) == ciphertext, "a nonce came twice"
        queue.extend(payloads)
        del queue[:-8]

    def to_hub(self, payload: Payload) -> None:
        self.publish(self.down, self.hub.receive(payload, self.now))

    def to_device(self, payload: Payload) -> None:
        self.publish(self.up, self.device.receive(payload, self.now))

    @rule(count=st.integers(1, 8))
    def carry(self, count: int) -> None:
        """The broker does its duty for a while."""
        for _ in range(count):
            if self.up:
                self.to_hub(self.up.pop(0))
            if self.down:
                self.to_device(self.down.pop(0))

    @rule(down=st.booleans(), place=places, lose=st.booleans(), deliver=st.booleans())
    def misbehave(self, down: bool, place: int, lose: bool, deliver: bool) -> None:
        """Out of order; delivered and kept is a duplicate, lost and not delivered is a loss."""
        queue = self.down if down else self.up
        if queue:
            payload = queue[place % len(queue)]
            if lose:
                queue.remove(payload)
            if deliver:
                (self.to_device if down else self.to_hub)(payload)

    @rule(seconds=st.sampled_from([2.0, 5.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.publish(self.up, self.device.step(self.now))

    @rule(trouble=st.sampled_from(["device", "hub", "commit", "save", "second save", "attempt"]))
    def break_something(self, trouble: str) -> None:
        """A power cut now, after the hub's next commit or at the device's next save; or another attempt."""
        if trouble == "device":
            self.device.cut(self.now)
        elif trouble == "hub":
            self.hub.cut(self.now)
        elif trouble == "commit":
            self.hub.cut_before_publish = True
        elif trouble == "attempt":
            self.publish(self.up, self.device.start(self.now))
        else:
            self.device.saves_that_work = 0 if trouble == "save" else 1

    @rule(count=st.sampled_from([1, 1, 1, 1100]))
    def send(self, count: int) -> None:
        """Readings, now and then more than a block of numbers."""
        session = self.device.session
        if session is not None:
            for _ in range(count):
                self.readings += 1
                session.send(TELEMETRY, b"reading %d" % self.readings, self.now)
            self.publish(self.up, self.device.step(self.now))

    @rule(step=st.booleans())
    def say(self, step: bool) -> None:
        """A command, or a request to step, for a device that was heard."""
        if self.hub.ring.active is None:
            return
        self.commands += 1
        if step:
            self.publish(self.down, self.hub.say(CONTROL, encode_control(constants.CONTROL_STEP)))
        else:
            self.publish(self.down, self.hub.say(COMMAND, encode_request(b"command %d" % self.commands)))

    @invariant()
    def the_hub_has_the_key_that_the_device_holds(self) -> None:
        if self.device.disk is not None and self.device.session is not None:
            assert self.device.session.attempt in self.hub.attempts()

    @invariant()
    def one_attempt_has_one_r_h(self) -> None:
        assert len(set(self.hub.grants)) == len(self.hub.grants)

    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        for delivered in (self.hub.delivered, self.device.delivered):
            assert len(set(delivered)) == len(delivered)

    def teardown(self) -> None:
        """The network works again: a device with a key needs no new attempt."""
        self.up.clear()
        self.down.clear()
        held = None if self.device.session is None else self.device.session.attempt
        for _ in range(40):
            if agree(self.device, self.hub) and not self.up and not self.down:
                break
            self.now += 10.0
            if self.device.session is None and self.device.initiator is None:
                self.publish(self.up, self.device.start(self.now))
            self.publish(self.up, self.device.step(self.now))
            while self.up or self.down:
                if self.up:
                    self.to_hub(self.up.pop(0))
                if self.down:
                    self.to_device(self.down.pop(0))
        assert agree(self.device, self.hub)
        session = self.device.session
        assert session is not None
        assert held is None or session.attempt == held or self.hub.grants[-1] == session.attempt
        try:
            session.send(TELEMETRY, b"the last word", self.now)
        except Error as error:
            raise AssertionError("an agreed key cannot be used") from error
        for payload in self.device.step(self.now):
            self.hub.receive(payload, self.now)
        assert self.hub.delivered[-1] == b"the last word"


Onboarding.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestOnboarding = Onboarding.TestCase
