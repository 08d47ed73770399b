"""The handshake as one table: everything that can change the state of a machine.

A machine calls `step(table, state, event)` before it acts; an event without a row is refused.
The machines, the tests and the diagrams in docs/states.md read the same table.

Events are messages of the peer, calls of the shell (CALLS), or what became of a message: `broken`
must not be forgiven, `expired` is the end of the session's life. A message that merely fails to
verify while a good one may still come has a row that leads back (RFC 9528 section 5.1 allows an
endpoint to go on; an attacker on the broker must not be able to end a session).
"""

from handfast.core.errors import LocalError, UnexpectedMessageError

START = "START"
WAIT_MESSAGE_2 = "WAIT_MESSAGE_2"
CREDENTIAL_R = "CREDENTIAL_R"
WAIT_MESSAGE_4 = "WAIT_MESSAGE_4"
GATE = "GATE"
OPEN = "OPEN"
WAIT_MESSAGE_3 = "WAIT_MESSAGE_3"
CREDENTIAL_I = "CREDENTIAL_I"
AUTHENTICATED = "AUTHENTICATED"
ESTABLISHED = "ESTABLISHED"
REFUSED = "REFUSED"
FAILED = "FAILED"

FINAL = (ESTABLISHED, REFUSED, FAILED)

# What the shell asks for; in the wrong state that is its mistake, not the peer's.
CALLS = ("start", "accept", "refuse", "pass_gate", "answer", "grant", "deny")

INITIATOR = {
    (START, "start"): WAIT_MESSAGE_2,
    (WAIT_MESSAGE_2, "message_2"): CREDENTIAL_R,
    (WAIT_MESSAGE_2, "unverified"): WAIT_MESSAGE_2,
    (WAIT_MESSAGE_2, "wrong_suite"): FAILED,
    (WAIT_MESSAGE_2, "broken"): FAILED,
    (WAIT_MESSAGE_2, "expired"): FAILED,
    (CREDENTIAL_R, "accept"): WAIT_MESSAGE_4,
    (CREDENTIAL_R, "unverified"): WAIT_MESSAGE_2,
    (CREDENTIAL_R, "refuse"): WAIT_MESSAGE_2,
    (CREDENTIAL_R, "broken"): FAILED,
    (CREDENTIAL_R, "expired"): FAILED,
    (WAIT_MESSAGE_4, "unverified"): WAIT_MESSAGE_4,
    (WAIT_MESSAGE_4, "unknown_credential"): FAILED,
    (WAIT_MESSAGE_4, "root_r"): ESTABLISHED,
    (WAIT_MESSAGE_4, "status"): REFUSED,
    (WAIT_MESSAGE_4, "broken"): FAILED,
    (WAIT_MESSAGE_4, "expired"): FAILED,
}

RESPONDER = {
    (START, "message_1"): GATE,
    (START, "broken"): FAILED,
    (GATE, "pass_gate"): OPEN,
    (GATE, "broken"): FAILED,
    (GATE, "expired"): FAILED,
    (OPEN, "answer"): WAIT_MESSAGE_3,
    (OPEN, "broken"): FAILED,
    (OPEN, "expired"): FAILED,
    (WAIT_MESSAGE_3, "message_3"): CREDENTIAL_I,
    (WAIT_MESSAGE_3, "unverified"): WAIT_MESSAGE_3,
    (WAIT_MESSAGE_3, "broken"): FAILED,
    (WAIT_MESSAGE_3, "expired"): FAILED,
    (CREDENTIAL_I, "accept"): AUTHENTICATED,
    (CREDENTIAL_I, "refuse"): FAILED,
    (CREDENTIAL_I, "broken"): FAILED,
    (CREDENTIAL_I, "expired"): FAILED,
    (AUTHENTICATED, "grant"): ESTABLISHED,
    (AUTHENTICATED, "deny"): REFUSED,
    (AUTHENTICATED, "expired"): FAILED,
}


def step(table: "dict[tuple[str, str], str]", state: str, event: str) -> str:
    """The state after `event`. Without a row: LocalError for a call, UnexpectedMessageError else."""
    after = table.get((state, event))
    if after is not None:
        return after
    if event in CALLS:
        raise LocalError("%s is not to be called in state %s" % (event, state))
    raise UnexpectedMessageError("%s is not expected in state %s" % (event, state))
