"""The class of a reading on every trunk, fixed when the reading is recorded and kept in one number.

`readings.classes` has two bits for each trunk: the number of the class (`trunk.policy`), 0 for one that is
not bridged. Which two is the trunk's slot. Later rules, tables of channels and labels change nothing of what
is recorded: what was `secret` stays `secret`.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.errors import LocalError
from handfast.core.topics import CHANNEL_NAMES
from handfast_hub.registry.schema import readings, trunk_sent, trunk_slots
from handfast_hub.trunk.policy import NUMBERS, SECRET
from handfast_hub.trunk.topic_rules import COMMAND, NONE, TopicPolicy, topic_of

_BITS, _MASK = 2, 0b11
# 62 bits: the sign of a BIGINT and one bit are left over.
SLOTS = 31


class TrunkClasses:
    """The policies of all trunks of the configuration, by name."""

    def __init__(self, policies: Mapping[str, TopicPolicy]) -> None:
        self._policies = dict(policies)

    def slots(self, connection: Connection) -> dict[str, int]:
        """The slot of every trunk of the configuration; a new one is given the next free slot."""
        if not self._policies:
            return {}
        known = {row.trunk: row.slot for row in connection.execute(sa.select(trunk_slots))}
        for name in sorted(set(self._policies) - set(known)):
            known[name] = self._new_slot(connection, name, known)
        return {name: known[name] for name in self._policies}

    def classes(self, slots: Mapping[str, int], label: str, device_id: bytes, channel: int) -> int:
        """What `readings.classes` says of a reading that is recorded now."""
        found = 0
        for name, slot in slots.items():
            topic = topic_of(label, device_id, CHANNEL_NAMES[channel])
            found |= NUMBERS.get(self._policies[name].find(topic).name, 0) << _BITS * slot
        return found

    def check_command(self, trunk: str, kind: int, label: str, device_id: bytes) -> None:
        """LocalError for a command that came as class `kind` and may not come so to this device."""
        policy = self._policies.get(trunk)
        needed = "normal" if policy is None else policy.find(topic_of(label, device_id, COMMAND)).name
        if needed == NONE:
            raise LocalError("the policy of that hub lets no command through to this device")
        if NUMBERS[needed] == SECRET and kind != SECRET:
            raise LocalError(
                'that hub takes commands to this device as secret only; set command_class = "secret" here'
            )

    def _new_slot(self, connection: Connection, name: str, known: dict[str, int]) -> int:
        free = [slot for slot in range(SLOTS) if slot not in known.values()]
        if not free:
            # A trunk that is no more leaves its slot; neither may find the readings of the other then.
            gone = next(other for other in known if other not in self._policies)
            free = [known.pop(gone)]
            connection.execute(sa.delete(trunk_slots).where(trunk_slots.c.trunk == gone))
            connection.execute(sa.delete(trunk_sent).where(trunk_sent.c.trunk.in_((gone, name))))
        connection.execute(sa.insert(trunk_slots).values(trunk=name, slot=free[0]))
        return free[0]


def of_class(
    connection: Connection, trunk: str, kind: int, channels: tuple[int, ...]
) -> "sa.ColumnElement[bool]":
    """Which readings go over `trunk` as `kind`. Those that an older version recorded go by `channels`."""
    older = sa.and_(readings.c.classes.is_(None), readings.c.channel.in_(channels))
    slot = connection.scalar(sa.select(trunk_slots.c.slot).where(trunk_slots.c.trunk == trunk))
    if slot is None:
        return older
    shift = _BITS * slot
    return sa.or_(readings.c.classes.bitwise_and(_MASK << shift) == kind << shift, older)
