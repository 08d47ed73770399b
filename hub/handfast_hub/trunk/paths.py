"""Which of a trunk's carriers is used, sans-IO.

    paths.add(carrier, rank, now)    a carrier is there
    paths.heard(path, frame, now)    an authentic record came over it
    paths.beat(path, packet, now)    a BFD control packet came over it
    paths.packets_to_send(now)       (path, control packet) that must leave now
    paths.timer(), handle_timer      sessions that expire, carriers that are well again or stale
    paths.current, paths.moved       the carrier in use; whether what is on its way has to go again

Each carrier has a BFD session (RFC 5880); its control packets travel over it in records of the live
epoch. The hub that dials lists its carriers by preference and uses the first that is Up. It leaves
one that goes Down at once, and returns to a better one when that has been Up for a while, the longer
the more often it fell. The hub that is dialled answers over the carrier that the other hub uses.
"""

from collections.abc import Callable, Iterator
from math import inf

from handfast_hub.trunk.bfd import Session, draw_discriminator
from handfast_hub.trunk.bfd_packet import State
from handfast_hub.trunk.carrier import Carrier

# A better carrier must have been Up for so long before it is used again, in seconds; it doubles with
# each fall up to the longest, and begins anew when the carrier has served for ten times as long.
RETURN_AFTER = 5.0
RETURN_LONGEST = 80.0
# A carrier that fell is closed after so long, in seconds; the hub that dials makes a new one then, and
# sooner while it has no other: the other hub may have been killed, and know nothing of this one.
STALE_ALONE = 3.0
STALE_DIALLED = 10.0
# One that never came Up has longer: the two hubs may have no epoch yet, or no longer the same.
STALE_NEW = 30.0


class Path:
    """One carrier, and what is known of it."""

    def __init__(self, carrier: Carrier, rank: int | None, now: float) -> None:
        """`rank` is the place in the list of the hub that dials, 0 the first; None at the other hub."""
        self.carrier = carrier
        self.rank = rank
        self.session: Session | None = None
        # When it went Up, or stopped to be; and whether it stopped.
        self.since = now
        self.fallen = False
        # When the peer last sent something else than control packets over it.
        self.led_at = -inf

    @property
    def preference(self) -> float:
        """The lower, the better; carriers that the peer dialled come behind our own."""
        return inf if self.rank is None else self.rank

    @property
    def up(self) -> bool:
        """Whether its BFD session is Up."""
        return self.session is not None and self.session.state is State.UP

    @property
    def state(self) -> str:
        """What its session says, for people."""
        return "not begun" if self.session is None else self.session.state.name.replace("_", " ").lower()


class Paths:
    """The carriers of one trunk."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._paths: list[Path] = []
        # The one in use, None while none is known to lead to the peer.
        self.current: Path | None = None
        # Set when the one in use failed and another, or it again, took its place; the shell resets it.
        self.moved = False
        self._lost = False
        # How long a carrier of a rank must be Up before it is used again; a new one at once.
        self._patience: dict[int | None, float] = {}

    def __iter__(self) -> Iterator[Path]:
        return iter(tuple(self._paths))

    def add(self, carrier: Carrier, rank: int | None, now: float) -> Path:
        """A carrier is there."""
        path = Path(carrier, rank, now)
        self._paths.append(path)
        return path

    def remove(self, path: Path, now: float) -> None:
        """A carrier ended."""
        self._paths.remove(path)
        if path.up:
            self._fall(path, now)
        self._choose(now)

    def heard(self, path: Path, leads: bool, now: float) -> None:
        """An authentic record came over `path`; one that `leads` is no control packet of BFD."""
        path.carrier.proven = True
        if path.session is not None:
            path.session.heard(now)
        if leads:
            path.led_at = now
        self._choose(now)

    def judge(self, now: float) -> None:
        """There is an epoch: begin a session on every carrier that leads to the peer, or that we dialled.

        Others could be anybody's, and cost nothing until they bring an authentic record.
        """
        for path in self._paths:
            if path.session is None and (path.rank is not None or path.carrier.proven):
                taken = {other.session.local_discriminator for other in self._paths if other.session}
                path.session = Session(draw_discriminator(self._random, taken), self._random, now)
                path.since = now

    def beat(self, path: Path, packet: bytes, now: float) -> None:
        """A control packet came over `path`; PeerError for one that is not lawful."""
        self.judge(now)
        if path.session is not None:
            path.session.receive(packet, now)
            self._note(path, now)
            self._choose(now)

    def packets_to_send(self, now: float) -> list[tuple[Path, bytes]]:
        """The control packets that must leave now, and over which path. Asking takes them."""
        found = []
        for path in self._paths:
            while path.session is not None and (packet := path.session.packet_to_send(now)) is not None:
                found.append((path, packet))
        return found

    def timer(self) -> float:
        """When to call `handle_timer`; infinity when nothing will be due."""
        times = [path.session.timer() for path in self._paths if path.session is not None]
        times += [self._stale_at(path) for path in self._paths]
        times += [path.since + self._patience.get(path.rank, 0.0) for path in self._better()]
        return min(times, default=inf)

    def handle_timer(self, now: float) -> list[Path]:
        """Do what is due at `now`; the stale carriers, which the shell closes."""
        for path in self._paths:
            if path.session is not None and now >= path.session.timer():
                path.session.handle_timer(now)
                self._note(path, now)
        self._choose(now)
        return [path for path in self._paths if now >= self._stale_at(path)]

    # Inside -----------------------------------------------------------------------------------

    def _note(self, path: Path, now: float) -> None:
        while path.session is not None and (change := path.session.next_event()) is not None:
            if change.state is State.UP:
                path.since, path.fallen = now, False
            elif change.before is State.UP:
                self._fall(path, now)

    def _fall(self, path: Path, now: float) -> None:
        served, before = now - path.since, self._patience.get(path.rank, 0.0)
        longer = RETURN_AFTER if served >= 10 * before else 2 * before
        self._patience[path.rank] = min(longer, RETURN_LONGEST)
        path.since, path.fallen = now, True

    def _stale_at(self, path: Path) -> float:
        """When a carrier is given up, unless it is Up by then."""
        if path.session is None or path.up:
            return inf
        if path.rank is None or not path.fallen:
            return path.since + STALE_NEW
        return path.since + (STALE_DIALLED if any(other.up for other in self._paths) else STALE_ALONE)

    def _better(self) -> list[Path]:
        """Carriers that are Up and preferred to the one in use."""
        current = self.current
        if current is None:
            return []
        return [path for path in self._paths if path.up and path.preference < current.preference]

    def _choose(self, now: float) -> None:
        before = self.current
        if before is not None and before.up and before in self._paths:
            well = [path for path in self._better() if now >= path.since + self._patience.get(path.rank, 0.0)]
            if well:
                self.current = min(well, key=_preference)
            elif before.rank is None:
                self.current = max((path for path in self._paths if path.up), key=_led_at)
            return
        if before is not None and (before.fallen or before not in self._paths):
            self._lost = True
        up = [path for path in self._paths if path.up]
        if up:
            self.current = min(up, key=lambda path: (path.preference, -path.led_at))
        else:
            # None is known to be well. Before the sessions are Up, the peer's last word is the best guess.
            led = [path for path in self._paths if path.led_at > -inf and not path.fallen]
            self.current = max(led, key=_led_at, default=None)
        if self.current is not None and self._lost:
            self._lost, self.moved = False, True


def _preference(path: Path) -> float:
    return path.preference


def _led_at(path: Path) -> float:
    return path.led_at
