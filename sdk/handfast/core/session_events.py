"""What a DeviceSession tells its shell: the values that `next_event()` returns."""

from collections import namedtuple

from handfast.core.hidden import Hidden


class Store(Hidden, namedtuple("Store", ("state",))):
    """Save `state` atomically, then call stored(state). Given again until that happens."""

    __slots__ = ()


class Data(Hidden, namedtuple("Data", ("channel", "plaintext", "epoch", "piv"))):
    """A record of the hub, named (epoch, piv): for COMMAND the data of the request, else the plaintext."""

    __slots__ = ()


# The hub was heard for the first time in `epoch`. Under this `attempt` the hub has no use for the token.
Confirmed = namedtuple("Confirmed", ("attempt", "epoch"))
# For an hour nothing of the hub, or no epoch is left: method 0 may run again; this key stays until then.
EnrolAgain = namedtuple("EnrolAgain", ())
# The hub revoked this device; `reason` is a text for a person.
Revoked = namedtuple("Revoked", ("reason",))
