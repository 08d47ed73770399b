"""Every error of handfast: whose fault it is, and its code on the wire.

The class says whose fault it is; `code` is the EDHOC error code (RFC 9528 section 6) that goes
into an error message; `retryable` says whether the same call may succeed later without a person
acting. `except Error` catches all of ours and nothing else. A text tells what was expected and
what came, never key material.
"""

# RFC 9528 section 6, table 3.
ERR_UNSPECIFIED = 1
ERR_WRONG_SUITE = 2
ERR_UNKNOWN_CREDENTIAL = 3


class Error(Exception):
    """The root of all errors of handfast.

    `detail` is one sentence for a person.
    """

    code = ERR_UNSPECIFIED
    retryable = False

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


class LocalError(Error):
    """Our own caller asked for something illegal now. Never sent to a peer."""


class PeerError(Error):
    """The peer broke the protocol; `code` goes into the error message, if one is sent."""


class DecodeError(PeerError):
    """Not the bytes that the specification demands."""


class UnexpectedMessageError(PeerError):
    """The right bytes in the wrong state."""


class UnsupportedSuiteError(PeerError):
    """The selected suite is not one of ours; `suites` are the peer's or ours, for the answer."""

    code = ERR_WRONG_SUITE

    def __init__(self, detail: str = "", suites: "tuple[int, ...]" = ()) -> None:
        super().__init__(detail)
        self.suites = suites


class UnknownCredentialError(PeerError):
    """The peer named a credential by reference that nobody here knows."""

    code = ERR_UNKNOWN_CREDENTIAL


class AuthenticationError(PeerError):
    """A MAC, signature, AEAD or decapsulation failed: one class and one text, so no oracle."""

    def __init__(self, detail: str = "authentication failed") -> None:
        super().__init__(detail)


class ReplayError(PeerError):
    """A record that was seen before, or that is older than the replay window."""


class RefusedError(Error):
    """Policy said no: unknown, revoked or not admitted. The reason is for the log."""


class EntropyError(Error):
    """The entropy source failed a health test or fell silent; no key is made from it."""


class LinkError(Error):
    """Shells only: the network did not carry what we asked it to."""

    retryable = True


class LinkClosed(LinkError):
    """The link is gone; connect again."""


class LinkTimeout(LinkError):
    """The peer did not answer in time."""


class KeystoreError(Error):
    """Shells only: the keystore could not be read, written or locked."""
