"""What an error message of anybody does to an attempt of the device (RFC 9528 section 6)."""

from handfast.core import errors, states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.messages import ErrorMessage


def believed(state: str, number: int, by_kid: bool, error: "ErrorMessage") -> "tuple[str, errors.PeerError]":
    """(the event of `states`, our error) that ends the attempt with suite `number` in `state`.

    UnexpectedMessageError when it does nothing. Anybody could have written it. It may end this attempt,
    which costs what dropping our messages costs; the next attempt is as strong as this one (section 6.3:
    the hub sees in SUITES_I when a better suite was passed over, and refuses).
    """
    situation = state, error.code
    if situation == (states.WAIT_MESSAGE_2, errors.ERR_WRONG_SUITE):
        text = "the hub does not take suite %d; it offers %s" % (number, list(error.info))
        return "wrong_suite", errors.UnsupportedSuiteError(text, error.info)
    if situation == (states.WAIT_MESSAGE_4, errors.ERR_UNKNOWN_CREDENTIAL) and by_kid:
        text = "the hub does not know our credential by its kid"
        return "unknown_credential", errors.UnknownCredentialError(text)
    raise errors.UnexpectedMessageError("an error message of code %d is not acted upon" % error.code)
