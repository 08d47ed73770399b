"""One class over a carrier that loses, doubles and reorders: nothing lost, and little sent twice."""

import random

import pytest

from handfast.core.errors import DecodeError
from handfast_hub.registry.arriving import Arrival, Stream
from handfast_hub.trunk.bridge_messages import ACK, READING, decode_message, encode_message
from handfast_hub.trunk.flight import LONGEST_PAUSE, PACKET_THRESHOLD, WINDOW, WINDOW_BYTES, Ack, Flight
from handfast_hub.trunk.gathering import HELD, Gathering


def arrival(number: int, previous: int, floor: int = 0) -> Arrival:
    return Arrival(
        Stream("vienna", 2), 0, number, previous, floor, False, bytes(8), "", 1, b"%d" % number, 0.0
    )


class Road:
    """One class, both ends, and a network between them; time passes by hand."""

    def __init__(self, seed: int, loss: float, numbers: list[int]) -> None:
        self.rng = random.Random(seed)
        self.loss = loss
        self.numbers = numbers
        self.flight = Flight(0)
        self.names: dict[int, int] = {}
        self.committed: list[int] = []
        self.sent = 0
        self.now = 100.0
        self.restart()

    def restart(self) -> None:
        """The receiver dies; what it had not committed is gone."""
        self.gathering = Gathering(0)
        self.instance = self.rng.randbytes(8)
        self.serial = 0

    def send(self) -> list[int]:
        """What goes now: lost ones, and new ones while there is room."""
        self.flight.probe(self.now)
        going = [flying.number for flying in self.flight.lost()]
        for flying in self.flight.lost():
            self.flight.resent(flying, self.now)
        for number in self.numbers:
            if number > self.flight.sent and self.flight.room:
                self.names[number] = self.flight.sent
                self.flight.add(number, b"%d" % number, self.now)
                going.append(number)
        self.sent += len(going)
        return [number for number in going if self.rng.random() >= self.loss]

    def take(self, going: list[int]) -> None:
        """They arrive, are committed, and answered; the answer may be lost."""
        for number in going:
            self.gathering.put(arrival(number, self.names[number]))
        if not self.gathering.owed:
            return
        self.gathering.owed = False
        if self.gathering.committed is None:
            self.gathering.begin(self.committed[-1] if self.committed else 0)
        batch = self.gathering.take()
        self.committed += [each.number for each in batch]
        self.gathering.begin(self.committed[-1] if self.committed else 0)
        self.serial += 1
        assert self.gathering.committed is not None
        ack = Ack(self.gathering.committed, self.instance, self.serial, self.gathering.runs())
        if self.rng.random() >= self.loss:
            self.flight.hear(ack, self.now)

    def run(self, disturb: bool = False) -> int:
        """Until everything is acknowledged; after how many round trips."""
        for trip in range(2000):
            going = self.send()
            if disturb:
                going += self.rng.sample(going, len(going) // 4)
                self.rng.shuffle(going)
                if self.rng.random() < 0.1:
                    self.restart()
            self.take(going)
            self.now += 0.1 if going else self.flight.patience(self.now) + 0.01
            if self.flight.acked == self.numbers[-1]:
                return trip + 1
        raise AssertionError(f"stuck at {self.flight.acked}")


def gappy(seed: int, count: int) -> list[int]:
    rng = random.Random(seed)
    return sorted(rng.sample(range(1, 5 * count), count))


@pytest.mark.parametrize("seed", range(10))
def test_everything_is_committed_once_in_order_whatever_is_lost_doubled_or_restarted(seed: int) -> None:
    road = Road(seed, random.Random(seed).choice((0.0, 0.05, 0.3, 0.6)), gappy(seed, 400))
    road.run(disturb=True)
    assert road.committed == road.numbers


def test_a_loss_of_five_percent_costs_few_round_trips_and_few_repetitions() -> None:
    road = Road(1, 0.05, gappy(1, 8000))
    trips = road.run()
    assert road.committed == road.numbers
    # 8,000 readings are eight windows; what is lost goes again, and hardly anything else.
    assert trips < 60
    assert road.sent < 8000 * 1.12


def test_what_was_sent_three_later_and_arrived_makes_a_reading_lost_and_two_do_not() -> None:
    flight = Flight(0)
    for number in range(1, 10):
        flight.add(number, b"", 0.0)
    flight.hear(Ack(0, bytes(8), 1, [(1, PACKET_THRESHOLD)]), 0.1)
    assert flight.lost() == []
    flight.hear(Ack(0, bytes(8), 2, [(1, 1 + PACKET_THRESHOLD)]), 0.1)
    assert [flying.number for flying in flight.lost()] == [1]


def test_an_older_answer_changes_nothing_and_a_restored_hub_is_served_anew() -> None:
    flight = Flight(0)
    for number in range(1, 10):
        flight.add(number, b"", 0.0)
    flight.hear(Ack(7, bytes(8), 2, []), 0.1)
    assert not flight.hear(Ack(3, bytes(8), 1, []), 0.1)
    assert (flight.acked, flight.sent) == (7, 9)
    assert flight.hear(Ack(3, b"restored", 1, []), 0.1)
    assert (flight.acked, flight.sent, flight.lost()) == (3, 3, [])


def test_a_hub_that_was_restarted_before_it_noted_how_far_it_came_skips_what_is_there() -> None:
    flight = Flight(0)
    flight.add(1, b"", 0.0)
    flight.hear(Ack(8, bytes(8), 1, []), 0.1)
    assert (flight.acked, flight.sent) == (8, 8)


def test_what_was_held_goes_again_when_the_other_hub_holds_it_no_longer() -> None:
    flight = Flight(0)
    for number in range(1, 10):
        flight.add(number, b"", 0.0)
    flight.hear(Ack(0, bytes(8), 1, [(1, 9)]), 0.1)
    flight.resent(flight.lost()[0], 0.1)
    flight.hear(Ack(1, b"restart!", 1, []), 0.2)
    assert [flying.number for flying in flight.lost()] == list(range(2, 10))


def test_without_answers_probes_of_two_become_rarer_up_to_a_bound() -> None:
    flight = Flight(0)
    now = 0.0
    for number in range(1, 10):
        flight.add(number, b"", now)
    pauses = []
    for _ in range(8):
        pauses.append(round(flight.patience(now), 6))
        now += flight.patience(now)
        flight.probe(now)
        assert [flying.number for flying in flight.lost()] == [1, 2]
        for flying in flight.lost():
            flight.resent(flying, now)
    assert pauses == sorted(pauses)
    assert pauses[0] < 2.0 < pauses[-1] <= LONGEST_PAUSE
    flight.hurry()
    assert flight.patience(now) == 0.0


def test_windows_bound_what_is_on_its_way_and_what_is_held() -> None:
    flight = Flight(0)
    for number in range(1, WINDOW + 1):
        assert flight.room
        flight.add(number, b"", 0.0)
    assert not flight.room
    large = Flight(0)
    large.add(1, bytes(WINDOW_BYTES), 0.0)
    assert not large.room
    gathering = Gathering(0)
    gathering.begin(0)
    for number in range(2, 3 * HELD):
        gathering.put(arrival(number, number - 1))
    assert gathering.runs() == [(1, HELD + 1)]
    # What fills the gap is taken, however much is held.
    gathering.put(arrival(1, 0))
    assert len(gathering.take()) == HELD + 1


def test_a_reading_that_names_one_before_what_is_here_follows_it() -> None:
    gathering = Gathering(0)
    gathering.begin(5)
    # The other hub has forgotten 4 and 5 meanwhile: there is nothing between 3 and 7.
    gathering.put(arrival(7, 3))
    assert [each.number for each in gathering.take()] == [7]


def test_a_trunk_whose_first_reading_is_lost_does_not_begin_with_the_second() -> None:
    gathering = Gathering(arrival(12, 11, floor=10).floor)
    gathering.put(arrival(12, 11, floor=10))
    # The registry has nothing of this stream, so it begins where the other hub says that it began.
    gathering.begin(gathering.floor)
    assert gathering.take() == []
    assert gathering.runs() == [(11, 12)]
    gathering.put(arrival(11, 10, floor=10))
    assert [each.number for each in gathering.take()] == [11, 12]


def test_an_acknowledgement_that_is_not_lawful_is_refused() -> None:
    good = [2, 0, 5, bytes(8), 1, [6, 7, 9, 12]]
    assert decode_message(encode_message(ACK, *good))[1][5] == [(6, 7), (9, 12)]
    for runs in ([6], [6, 6], [4, 7], [6, 9, 8, 12], [6, "7"], [7, 8] * 65):
        with pytest.raises(DecodeError):
            decode_message(encode_message(ACK, *good[:5], runs))
    with pytest.raises(DecodeError):
        decode_message(encode_message(ACK, 2, 0, 5, bytes(7), 1, []))
    with pytest.raises(DecodeError):
        decode_message(encode_message(READING, 0, 7, 3, 4, bytes(8), "", 1, b"", 0))
