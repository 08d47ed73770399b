"""May this device join? One pure function that answers with a reason.

It decides from what the registry knows and what the device claims. The registry looks again
inside the transaction that writes the key, so an answer that has grown old does no harm.
"""

from collections.abc import Sequence
from typing import NamedTuple

from handfast.core import constants
from handfast_hub.config import Policy
from handfast_hub.registry.schema import ADMITTED, ONBOARDED, REFUSED, REVOKED

# Codes of STATUS (EAD label 65287).
STATUS_WAITING = 1
STATUS_REFUSED = 2

_KINDS = {
    constants.SOURCE_NONE: "no quantum source",
    constants.SOURCE_OPERATING_SYSTEM: "the operating system's generator",
    constants.SOURCE_SIMULATED: "a simulated source",
}

# Standings of a token towards one thumbprint.
NONE = "none"
LIVE = "live"
BOUND = "bound"
USED = "used"
ELSEWHERE = "elsewhere"
EXHAUSTED = "exhausted"
EXPIRED = "expired"
EARLY = "early"
WITHDRAWN = "withdrawn"
UNKNOWN = "unknown"

TOKEN_REASONS = {
    ELSEWHERE: "its token belongs to another device",
    USED: "its token was used",
    EXHAUSTED: "the quota of its token is used up",
    EXPIRED: "its token has expired",
    EARLY: "its token was made later than the clock of the hub shows; set the clock",
    WITHDRAWN: "its token was withdrawn",
    UNKNOWN: "its token is unknown",
}


class Verdict(NamedTuple):
    """`status` is None for yes, else the code of STATUS; `reason` is for the log and the operator."""

    status: int | None
    reason: str


def admit(
    policy: Policy,
    *,
    state: str | None,
    token: str,
    token_valid: bool,
    source: Sequence[object] | None,
) -> Verdict:
    """Judge one device whose signature was verified.

    `state` is its state in the registry or None when it is unknown, `token` one of the standings
    above, `token_valid` whether its proof of possession was right, `source` entry 2 of its
    DEVINFO or None when it sent none.
    """
    if state == REVOKED:
        return Verdict(STATUS_REFUSED, "it was revoked")
    if state == REFUSED:
        return Verdict(STATUS_REFUSED, "an operator refused it")
    if token != NONE and not token_valid:
        return Verdict(STATUS_REFUSED, "it does not hold the token that it named")
    entropy = _entropy_fault(policy, source)
    if entropy:
        return Verdict(STATUS_REFUSED, entropy)
    if state == ADMITTED and "thumbprint" in policy.admit:
        return Verdict(None, "an operator admitted its thumbprint")
    if state == ONBOARDED and policy.reenrol:
        return Verdict(None, "it enrols again with the same identity")
    if token in (LIVE, BOUND) and "token" in policy.admit:
        return Verdict(None, "it holds a token")
    if token in TOKEN_REASONS:
        return Verdict(STATUS_REFUSED, TOKEN_REASONS[token])
    if "approval" in policy.admit:
        return Verdict(STATUS_WAITING, "an operator has to approve it")
    return Verdict(STATUS_REFUSED, "it is unknown and this hub takes nobody without a token or claim code")


def _entropy_fault(policy: Policy, source: Sequence[object] | None) -> str:
    """Why the entropy source does not satisfy the policy, or the empty string."""
    if policy.entropy == "any":
        return ""
    if source is None or len(source) < 4:
        return "policy demands a quantum source and it did not say what it has"
    kind, health = source[0], source[3]
    if kind != constants.SOURCE_QUANTUM or isinstance(kind, bool):
        name = _KINDS.get(kind, "an unknown kind of source") if isinstance(kind, int) else "no kind"
        return f"policy demands a quantum source and it has {name}"
    if health != constants.HEALTH_OK or isinstance(health, bool):
        return "policy demands a healthy quantum source and its tests did not pass"
    return ""
