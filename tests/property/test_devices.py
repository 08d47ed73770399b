"""Any life: devices onboard, report and obey while power, network, hub and operator do their worst.

The real Device and the real hub with its registry (town.py). Whatever happened, in the end a device and
its hub hold the same key, or neither does and a retry succeeds. On the way no nonce comes twice, no attempt
gets a second r_H, a token for one device onboards one, what was acknowledged is there once, and nothing of
a revoked device is taken.
"""

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from property.lives import Life
from property.town import Town

from handfast.core.errors import LocalError

SHARING, OTHERS = 2, 1
# Rounds of ten seconds in which everything has to be well again; an hour of silence is the longest wait.
ROUNDS = 450

lives = st.integers(0, SHARING + OTHERS - 1)
places = st.integers(0, 15)


class Lives(RuleBasedStateMachine):
    """Two devices with one token, one that waits for the operator, a hub, and everybody's worst."""

    @initialize(settled=st.booleans())
    def begin(self, settled: bool) -> None:
        """From the first boot on, or when everybody who may is onboard."""
        self.town = Town()
        self.town.run(self.town.start(SHARING, OTHERS))
        # What the operator said of whom, and how many readings of a revoked device there were then.
        self.revoked: dict[int, int] = {}
        self.approved: set[int] = set()
        self.by_token: set[int] = set()
        if settled:
            self.town.run(self.town.carry(4))
            self.town.run(self.approve(self.town.lives[SHARING]))
            self.wait(20.0)
            self.town.run(self.town.carry(12))

    # What happens -----------------------------------------------------------------------------

    @rule(count=st.integers(1, 8))
    def carry(self, count: int) -> None:
        """The broker does its duty for a while."""
        self.town.run(self.town.carry(count))

    @rule(down=st.booleans(), place=places, lose=st.booleans(), deliver=st.booleans())
    def misbehave(self, down: bool, place: int, lose: bool, deliver: bool) -> None:
        """Out of order; delivered and kept is a duplicate, lost and not delivered is a loss."""
        queue = self.town.post.down if down else self.town.post.up
        if not queue:
            return
        letter = queue[place % len(queue)]
        if deliver:
            self.town.run((self.town.bring_down if down else self.town.bring_up)(letter, not lose))
        elif lose:
            queue.remove(letter)

    @rule(down=st.booleans())
    def replay(self, down: bool) -> None:
        """What passed before passes again, latest first."""
        passed = self.town.post.passed_down if down else self.town.post.passed_up
        for letter in reversed(passed):
            self.town.run((self.town.bring_down if down else self.town.bring_up)(letter, True))

    @rule(seconds=st.sampled_from([2.0, 5.0, 20.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.town.run(self.town.clock.advance(seconds))

    @rule(number=lives, writes=st.integers(1, 4), after=st.booleans())
    def power_goes_at_a_write(self, number: int, writes: int, after: bool) -> None:
        """At one of the next writes to its flash, before or after the bytes are down."""
        self.town.lives[number].flash.arm(writes, after)

    @rule(number=lives)
    def power_goes_now(self, number: int) -> None:
        self.town.run(self.town.lives[number].boot())

    @rule(how=st.sampled_from(["stop", "kill", "kill after the commit", "an hour away"]))
    def hub_restarts(self, how: str) -> None:
        """Killed after the commit: what waits at the broker is committed, and nothing of it said."""
        town = self.town
        if how == "kill after the commit":
            town.post.mute = True
            for letter in list(town.post.up):
                town.run(town.bring_up(letter))
        town.run(town.stop_hub(how.startswith("kill")))
        if how == "an hour away":
            town.run(town.clock.advance(3700.0))
        town.run(town.start_hub())

    @rule(number=lives)
    def operator_revokes(self, number: int) -> None:
        life = self.town.lives[number]
        if life.thumbprint is None or self.town.hub is None:
            return
        self.town.run(self.town.hub.revoke(life.thumbprint, "lost"))
        self.revoked[number] = self.taken(life)
        self.approved.discard(number)

    @rule(number=lives)
    def operator_approves(self, number: int) -> None:
        """Who waits for it, and who was revoked."""
        life = self.town.lives[number]
        if number in self.revoked or (number >= SHARING and life.thumbprint is not None):
            self.town.run(self.approve(life))

    @rule(number=lives)
    def somebody_asks_again(self, number: int) -> None:
        """`handfast onboard --retry`, where the hub had refused."""
        if self.town.lives[number].stopped:
            self.town.run(self.town.lives[number].boot(retry=True))

    @rule()
    def devices_send(self) -> None:
        """Each that can."""
        for life in self.town.lives:
            self.town.run(life.send())

    @rule()
    def hub_commands(self) -> None:
        """Each that is onboard."""
        for life in self.town.lives:
            self.town.run(self.town.command(life))

    async def approve(self, life: Life) -> None:
        if self.town.hub is None or life.thumbprint is None:
            return
        await self.town.hub.operator.approve(life.thumbprint, again=True)
        self.revoked.pop(life.number, None)
        self.approved.add(life.number)

    # What holds -------------------------------------------------------------------------------

    def taken(self, life: Life) -> int:
        """How many readings of this device the hub has."""
        return sum(1 for data in self.town.readings() if data.startswith(b"%d:" % life.number))

    @invariant()
    def no_nonce_comes_twice(self) -> None:
        assert self.town.crypto.reused == []

    @invariant()
    def one_attempt_has_one_answer(self) -> None:
        """A second r_H would be a second message_4."""
        assert all(len(answers) == 1 for answers in self.town.post.answers.values())

    @invariant()
    def nothing_is_taken_twice(self) -> None:
        assert all(count == 1 for count in self.town.readings().values())
        for life in self.town.lives:
            assert len(set(life.heard)) == len(life.heard)

    @invariant()
    def nothing_of_a_revoked_device_is_taken(self) -> None:
        for number, count in self.revoked.items():
            assert self.taken(self.town.lives[number]) == count
        assert all(self.town.state(self.town.lives[number]) == "revoked" for number in self.revoked)

    @invariant()
    def a_token_for_one_device_is_used_by_one(self) -> None:
        statement = "SELECT thumbprint FROM devices JOIN keys ON keys.device = devices.id"
        keys = {thumbprint for (thumbprint,) in self.town.rows(statement)}
        for life in self.town.lives[:SHARING]:
            if life.thumbprint in keys and life.number not in self.approved:
                self.by_token.add(life.number)
        assert len(self.by_token) <= 1

    # How it ends ------------------------------------------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "town"):
            try:
                self.end()
            finally:
                self.town.close()

    def end(self) -> None:
        """Everything works again, and whoever may join does."""
        town = self.town
        for life in town.lives:
            life.flash.disarm()
        for life in town.lives[SHARING:]:
            if life.number not in self.revoked:
                town.run(self.approve(life))
        for _ in range(ROUNDS):
            while town.post.up or town.post.down:
                town.run(town.carry(4))
            if all([self.well(life) for life in town.lives]):  # noqa: C419  # each of them, every round
                break
            town.run(town.clock.advance(10.0))
        for life in town.lives:
            assert self.well(life), (life.number, life.device and (life.device.state, life.device.trouble))
        self.last_words()
        self.no_nonce_comes_twice()
        self.one_attempt_has_one_answer()
        self.nothing_is_taken_twice()
        self.nothing_of_a_revoked_device_is_taken()
        self.a_token_for_one_device_is_used_by_one()

    def well(self, life: Life) -> bool:
        """Both hold the same key; or it was shut out, knows, and holds none that the hub would take."""
        town = self.town
        if self.welcome(life):
            if life.stopped:
                town.run(life.boot(retry=True))
            device = life.device
            if town.hub is None or device is None or device.device_id is None or device.state != "active":
                return False
            if device._session is None or not device._session.confirmed:
                return False  # it has not heard the hub since its last boot
            try:
                theirs = town.run(town.hub.key(device.device_id, "any"))
            except LocalError:
                # It was revoked and admitted again, and hears of that when it speaks.
                town.run(life.send())
                return False
            return bool(theirs == device.key("any"))
        # Who has nothing to say is not told: the hub answers what it hears.
        town.run(life.send())
        return life.stopped and life.device is not None and life.device.state == "refused"

    def welcome(self, life: Life) -> bool:
        if life.number in self.revoked:
            return False
        if life.number in self.approved or self.town.state(life) in ("joining", "onboarded"):
            return True
        ((bound,),) = self.town.rows("SELECT thumbprint FROM tokens")
        return life.number < SHARING and bound in (None, life.thumbprint)

    def last_words(self) -> None:
        """An agreed key can be used, both ways."""
        town = self.town
        welcome = [life for life in town.lives if self.welcome(life)]
        words = [town.run(life.send()) for life in welcome]
        commands = [town.commands + 1 + number for number in range(len(welcome))]
        for life in welcome:
            town.run(town.command(life))
        for _ in range(10):
            while town.post.up or town.post.down:
                town.run(town.carry(4))
            town.run(town.clock.advance(10.0))
            for life, command in zip(welcome, commands):
                if b"command %d" % command not in life.heard:
                    # The post keeps a few letters and no more; what it lost is sent again to who speaks.
                    town.run(life.send())
        readings = town.readings()
        assert [readings[word] for word in words] == [1] * len(words)
        for life, command in zip(welcome, commands):
            assert b"command %d" % command in life.heard


# A life takes about half a second, and to shrink one takes hundreds; what failed is printed as it was.
Lives.TestCase.settings = settings(max_examples=25, stateful_step_count=35, phases=[Phase.generate])
TestLives = Lives.TestCase
