"""What happens in a load run, and when: one table for the short run of `make test`, one for the whole one."""

from typing import NamedTuple


class Event(NamedTuple):
    """`what` is done to `target` at second `at` of the load. The verbs are the keys of load_trunk.ACTIONS."""

    at: float
    what: str
    target: str = ""


class Plan(NamedTuple):
    """One load run. `rate` is readings a second of all classes together, `loss` the share of frames of the
    carrier that are dropped in each direction, `size` the bytes of a reading, `carrier` "tcp" or "quic"."""

    seconds: float
    rate: float
    loss: float
    rekey: float
    size: int
    events: tuple[Event, ...]
    carrier: str = "tcp"


# Of how many readings in ten each class gets its share: the channel, its class of traffic, the share.
SHARES = (("telemetry", "normal", 7), ("alarm", "secret", 2), ("bulk", "bulk", 1))
DEVICES = 8
REPLAYS = 300

WHOLE = Plan(
    seconds=600.0,
    rate=2000.0,
    loss=0.05,
    rekey=5.0,
    size=64,
    events=(
        Event(30, "restart kme", "berlin"),
        Event(60, "restart kme", "vienna"),
        Event(90, "replay"),
        Event(120, "stop kme", "berlin"),
        Event(120, "stop kme", "vienna"),
        Event(180, "start kme", "berlin"),
        Event(180, "start kme", "vienna"),
        Event(240, "restart hub", "vienna"),
        Event(300, "restart hub", "berlin"),
        Event(350, "cut the carrier"),
        # A peer that comes back while there is no key: what it opens is an epoch of ML-KEM alone.
        Event(400, "stop kme", "vienna"),
        Event(420, "restart hub", "vienna"),
        Event(420, "wait for an epoch of ML-KEM alone"),
        Event(460, "start kme", "vienna"),
        Event(500, "restart kme", "berlin"),
        Event(540, "replay"),
        Event(570, "restart hub", "berlin"),
    ),
)

SHORT = Plan(
    seconds=20.0,
    rate=300.0,
    loss=0.05,
    rekey=5.0,
    size=64,
    events=(
        Event(1, "restart kme", "berlin"),
        Event(3, "stop kme", "berlin"),
        Event(3, "stop kme", "vienna"),
        Event(4, "restart hub", "vienna"),
        Event(4, "wait for an epoch of ML-KEM alone"),
        Event(12, "start kme", "berlin"),
        Event(12, "start kme", "vienna"),
        Event(13, "replay"),
        Event(15, "restart hub", "berlin"),
        Event(18, "cut the carrier"),
    ),
)
