"""The errors: whose fault, which code on the wire, what may be tried again."""

from handfast.core import errors


def classes() -> "list[type[errors.Error]]":
    found = [getattr(errors, name) for name in dir(errors)]
    return [item for item in found if isinstance(item, type) and issubclass(item, errors.Error)]


def test_every_error_is_one_of_ours_and_carries_its_sentence() -> None:
    for error in classes():
        raised = error("what came")
        assert isinstance(raised, errors.Error)
        assert raised.detail == "what came"
        assert str(raised) == "what came"
    assert len(classes()) >= 15


def test_an_error_has_one_builtin_ancestor_so_that_micropython_can_make_it() -> None:
    for error in classes():
        assert issubclass(error, Exception)
        assert not issubclass(error, (ValueError, OSError, KeyError, TypeError, RuntimeError))


def test_what_the_peer_did_is_told_from_what_we_did() -> None:
    peers = (
        errors.DecodeError,
        errors.UnexpectedMessageError,
        errors.UnsupportedSuiteError,
        errors.UnknownCredentialError,
        errors.AuthenticationError,
        errors.ReplayError,
    )
    for error in classes():
        assert issubclass(error, errors.PeerError) == (error in peers or error is errors.PeerError)


def test_the_codes_are_those_of_rfc_9528_section_6() -> None:
    assert errors.DecodeError().code == 1
    assert errors.RefusedError().code == 1
    assert errors.UnsupportedSuiteError().code == 2
    assert errors.UnknownCredentialError().code == 3


def test_only_the_network_may_be_tried_again_without_a_person() -> None:
    for error in classes():
        assert error().retryable == issubclass(error, errors.LinkError)


def test_every_failed_authentication_reads_the_same() -> None:
    assert str(errors.AuthenticationError()) == "authentication failed"
    assert errors.AuthenticationError().detail == "authentication failed"


def test_an_unsupported_suite_names_the_suites_for_the_answer() -> None:
    error = errors.UnsupportedSuiteError("no suite in common", (-21, -22))
    assert error.suites == (-21, -22)
    assert errors.UnsupportedSuiteError().suites == ()
