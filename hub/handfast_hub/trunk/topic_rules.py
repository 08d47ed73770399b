"""Which class a reading of a device travels as: ordered rules over topics, then the table of channels.

The topic of a reading is `LABEL/CHANNEL`: the label is the operator's word for the device, slashes in
it make levels, and a device without one has its device id in 16 hex digits instead. So all that a device
itself chooses is the channel. A pattern is a topic filter of MQTT 5.0 section 4.7. The rule for topics
that begin with `$` (section 4.7.2) is left out: there are none of a server here, and a `#` that means
everything shall not miss one.
"""

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

# The channels of devices whose readings may be bridged.
CHANNELS = ("telemetry", "bulk", "alarm")
# The last level of the topic of a command that comes for a device; readings end with their channel.
COMMAND = "command"
LAST_LEVELS = (*CHANNELS, COMMAND)
# What a label may have, in characters (`devices.label`).
LONGEST_LABEL = 128
NONE = "none"
# Labels of which the class is remembered.
_REMEMBERED = 65_536


class Rule(NamedTuple):
    """A pattern and what it says: the name of a class, or "none"."""

    pattern: str
    name: str


class Found(NamedTuple):
    """What applies to a topic. `rule` is the place of the rule that says so, None when none does."""

    name: str
    rule: int | None


def topic_of(label: str, device_id: bytes, last: str) -> str:
    """The topic of a device and one of LAST_LEVELS."""
    return f"{label or device_id.hex()}/{last}"


def check_pattern(pattern: str) -> None:
    """ValueError, in one sentence, for a pattern that is none or that no topic can match."""
    levels = pattern.split("/")
    for place, level in enumerate(levels):
        if "#" in level and (level != "#" or place != len(levels) - 1):
            raise ValueError("'#' stands alone and last, as in 'pumps/#' (MQTT 5.0 section 4.7.1.2)")
        if "+" in level and level != "+":
            raise ValueError(
                "'+' stands for a whole level, as in 'meters/+/alarm' (MQTT 5.0 section 4.7.1.3)"
            )
    last = levels[-1]
    if last == "#":
        literal = levels[:-1]
    elif last == "+" or last in LAST_LEVELS:
        if len(levels) == 1:
            raise ValueError(f"it can never match: a topic is LABEL/CHANNEL; write '+/{last}' or '#'")
        literal = levels[:-1]
    else:
        near = difflib.get_close_matches(last, LAST_LEVELS, n=1, cutoff=0.6)
        wanted = "/".join([*levels[:-1], near[0]]) if near else f"{pattern}/#"
        raise ValueError(
            f"it can never match: a topic ends with {', '.join(LAST_LEVELS[:-1])} or {COMMAND};"
            f" did you mean '{wanted}'?"
        )
    if len("/".join("" if level == "+" else level for level in literal)) > LONGEST_LABEL:
        raise ValueError(f"it can never match: a label has at most {LONGEST_LABEL} characters")


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter matches a topic name, by MQTT 5.0 section 4.7.1."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        # Section 4.7.1.2: "#" matches the parent level too.
        del wanted[-1]
        if len(levels) < len(wanted):
            return False
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        want in ("+", level) for want, level in zip(wanted, levels, strict=True)
    )


def covers(first: str, second: str) -> bool:
    """Whether every topic that `second` matches is matched by `first` too; both passed `check_pattern`."""
    one, other = _shortest(first), _shortest(second)
    for place, level in enumerate(one):
        if level == "#":
            return True
        if place == len(other) or other[place] == "#" or level not in ("+", other[place]):
            return False
    return len(one) == len(other)


def _shortest(pattern: str) -> list[str]:
    """The levels of a pattern. Every topic has two levels or more, so a "+" among the first two before the
    "#" says nothing."""
    levels = pattern.split("/")
    while len(levels) in (2, 3) and levels[-2:] == ["+", "#"]:
        del levels[-2]
    return levels


def check_rules(rules: Sequence[Rule]) -> None:
    """ValueError, in one sentence, for a rule that is never reached: one before it takes all its topics."""
    for place, rule in enumerate(rules):
        for other in rules[:place]:
            if covers(other.pattern, rule.pattern):
                raise ValueError(
                    f"the rule for '{rule.pattern}' is never reached: that for '{other.pattern}' comes first"
                    " and takes all of it; put the narrower one first, or leave it out"
                )


class TopicPolicy:
    """The rules of one trunk and its table of channels; the first rule that matches counts."""

    def __init__(self, rules: Sequence[Rule], channels: Mapping[str, str]) -> None:
        """`channels`: the class of each channel that no rule speaks of; one that is missing stays here."""
        self._rules = tuple(rules)
        self._channels = dict(channels)
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._find)

    def find(self, topic: str) -> Found:
        """What applies to a topic: the name of a class or "none". A command that no rule speaks of is
        `normal`."""
        return self._remembered(topic)

    def _find(self, topic: str) -> Found:
        for place, rule in enumerate(self._rules):
            if matches(rule.pattern, topic):
                return Found(rule.name, place)
        last = topic.rpartition("/")[2]
        return Found("normal" if last == COMMAND else self._channels.get(last, NONE), None)
