"""What an application may choose is checked when it chooses."""

from refusal import refused

from handfast.core.errors import LocalError
from handfast.core.suites import DEFAULT_SUITES, ML_DSA_44, ML_DSA_65, ML_DSA_87
from handfast.settings import Settings


async def test_the_defaults_are_the_strongest_and_fit_together() -> None:
    settings = Settings()
    assert settings.suites == DEFAULT_SUITES == (-21, -22)
    assert settings.signature == ML_DSA_65
    assert (settings.firmware, settings.hardware, settings.queue, settings.packet_limit) == ("", "", 64, 0)


async def test_each_suite_brings_its_signature() -> None:
    for suites, signature in (
        ((-21,), ML_DSA_65),
        ((-22, -21), ML_DSA_65),
        ((-23,), ML_DSA_87),
        ((-24,), ML_DSA_44),
    ):
        assert Settings(suites=suites).signature == signature


async def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    for wrong in (
        {"suites": ()},
        {"suites": (0,)},
        {"suites": (2,)},
        {"suites": (-25,)},
        {"suites": (-21, -23)},
        {"suites": (-24, -21)},
        {"firmware": "x" * 65},
        {"hardware": "x" * 65},
        # 64 characters, and more bytes than DEVINFO has room for.
        {"firmware": "\u2603" * 64},
        {"queue": 0},
        {"queue": -1},
        {"retry": (0.0, 1.0)},
        {"retry": (2.0, 1.0)},
        {"retry": (-1.0, 1.0)},
        {"packet_limit": 1023},
        {"packet_limit": -1},
    ):
        error = refused(LocalError, lambda wrong=wrong: Settings(**wrong))
        assert len(error.detail) > 20
    assert (
        Settings(firmware="x" * 64, hardware="\u2603" * 21, packet_limit=1024, retry=(1.0, 1.0)).queue == 64
    )


async def test_nothing_weakens_the_protocol() -> None:
    """Every field is named here; one more is a decision, not an accident."""
    names = sorted(name for name in Settings().__dict__ if not name.startswith("_"))
    assert names == ["firmware", "hardware", "packet_limit", "queue", "retry", "suites"]
