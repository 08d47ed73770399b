"""The option that names a quantum source."""

import pytest

from handfast.core.errors import LocalError
from handfast_cpython.qrng import open_source


@pytest.mark.parametrize(
    ("spec", "kind", "model", "claim"),
    [
        ("os", 2, "operating system", 1.0),
        ("  os  ", 2, "operating system", 1.0),
        ("os#min-entropy=0.75", 2, "operating system", 0.75),
        ("/dev/urandom", 2, "/dev/urandom", 0.8),
        ("/dev/qrandom0", 1, "/dev/qrandom0", 0.8),
        ("/dev/qrandom0#min-entropy=1", 1, "/dev/qrandom0", 1.0),
        ("serial:/dev/ttyUSB0", 1, "serial /dev/ttyUSB0", 0.8),
        ("serial:/dev/ttyUSB0#baud=9600,min-entropy=0.5", 1, "serial /dev/ttyUSB0", 0.5),
        ("https://qrng.example/api?key=secret&n={length}", 1, "https qrng.example", 0.8),
        ("simulated", 3, "simulated photonic source", 0.93),
        ("simulated:stuck-zero", 3, "simulated photonic source, stuck-zero", 0.93),
        ("simulated:slow-bias#after=100,seed=3", 3, "simulated photonic source, slow-bias", 0.93),
    ],
)
def test_the_option_names_a_source(spec: str, kind: int, model: str, claim: float) -> None:
    source = open_source(spec)
    assert (source.kind, source.model, source.min_entropy) == (kind, model, claim)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("", r"no quantum source ''; choose os, a character device such as /dev/hwrng, serial:"),
        ("quantis", r"no quantum source 'quantis'; choose os"),
        ("dev/hwrng", "choose os"),
        ("http://qrng.example/", "choose os"),
        ("https:", "needs an https:// URL with a host"),
        ("https:///path", "needs an https:// URL with a host"),
        ("https://[::1/path", "needs an https:// URL with a host"),
        ("serial:", "needs its port, such as serial:/dev/ttyUSB0"),
        ("os:1", "os takes nothing after it, not '1'"),
        ("simulated:sleepy", "no simulated fault 'sleepy'; there are stuck-zero, stuck-byte, slow-bias"),
        ("os#baud=1", "no setting 'baud' for the source 'os#baud=1'; there are min-entropy"),
        ("serial:/dev/x#speed=1", "no setting 'speed' .* there are min-entropy, baud"),
        ("simulated#seed=x", "seed of the source .* must be a whole number, not 'x'"),
        ("os#min-entropy=0.4", r"must be a number from 0\.5 to 1, not '0\.4'"),
        ("os#min-entropy=nan", r"must be a number from 0\.5 to 1, not 'nan'"),
        ("os#min-entropy", r"must be a number from 0\.5 to 1, not ''"),
        (
            "https://qrng.example/#ca=/does/not/exist.pem",
            "the certificates in /does/not/exist.pem cannot be read",
        ),
    ],
)
def test_an_option_that_names_none_is_refused_with_the_choices(spec: str, sentence: str) -> None:
    with pytest.raises(LocalError, match=sentence):
        open_source(spec)
