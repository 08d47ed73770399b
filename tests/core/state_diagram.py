"""Writes docs/states.md out of the table of the machines; the page itself says how to call this."""

from handfast.core import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# In the order of the handshake; what is left of a row is what the table says.
_ORDER = (
    states.START,
    states.WAIT_MESSAGE_2,
    states.CREDENTIAL_R,
    states.WAIT_MESSAGE_4,
    states.GATE,
    states.OPEN,
    states.WAIT_MESSAGE_3,
    states.CREDENTIAL_I,
    states.AUTHENTICATED,
) + states.FINAL

_PAGE = """# The states of a handshake

Written by `python tests/core/state_diagram.py > docs/states.md` from the table that both machines act by
(`sdk/handfast/core/states.py`); a test compares. An event without an arrow is refused and changes nothing.

- In the device a message_2 or message_4 that does not verify is somebody else's: the machine waits on, at
  most 8 times for each (`unverified`). One that verifies and then breaks the rules ends the session
  (`broken`).
- In the hub a message_3 that does not open is somebody else's too. The number of such messages is bounded
  by the hub's buckets, not by the machine.
- `expired`: 60 s after the first message of the session, on both sides.
- Calls of the shell: %s.

## The device

```mermaid
%s
```

## The hub

```mermaid
%s
```
"""


def mermaid(table: "dict[tuple[str, str], str]") -> str:
    """The table as a mermaid state diagram: one arrow between two states, with all its events."""
    lines = ["stateDiagram-v2", "    [*] --> START"]
    for before in _ORDER:
        for after in _ORDER:
            found = sorted(
                [event for state, event in table if (state, table[state, event]) == (before, after)]
            )
            if found:
                lines.append("    %s --> %s: %s" % (before, after, ", ".join(found)))
    lines.extend(["    %s --> [*]" % state for state in states.FINAL if state in _values(table)])
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/states.md."""
    calls = ", ".join(["`%s`" % call for call in states.CALLS])
    return _PAGE % (calls, mermaid(states.INITIATOR), mermaid(states.RESPONDER))


def _values(table: "dict[tuple[str, str], str]") -> "Iterable[str]":
    return table.values()


if __name__ == "__main__":
    print(page(), end="")
