"""Quantum sources by name: what the `qrng` option of a program may say.

    os                                  the operating system's generator
    /dev/qrandom0, /dev/hwrng           a character device
    serial:/dev/ttyUSB0                 a serial module
    https://qrng.example/raw?n={length} a service
    simulated, simulated:stuck-zero     the simulated photonic source, whole or with a fault

Settings follow a "#": `serial:/dev/ttyUSB0#baud=9600,min-entropy=0.9`. Every source knows
`min-entropy`, the claim in bits per bit, 0.5 to 1; a serial one `baud`, a service `ca` (a PEM file),
the simulated one `seed` and `after` (bytes before the fault).
"""

from collections.abc import Callable
from typing import Any

from handfast.core.errors import LocalError
from handfast.ports import QuantumSource

CHOICES = (
    "choose os, a character device such as /dev/hwrng, serial:/dev/ttyUSB0, https://host/path, simulated "
    "or simulated:FAULT"
)


def _system(rest: str, **settings: Any) -> QuantumSource:
    from handfast_cpython.qrng_device import SystemSource

    if rest:
        raise LocalError(f"os takes nothing after it, not {rest!r}")
    return SystemSource(**settings)


def _device(path: str, **settings: Any) -> QuantumSource:
    from handfast_cpython.qrng_device import DeviceSource

    return DeviceSource(path, **settings)


def _serial(port: str, **settings: Any) -> QuantumSource:
    from handfast_cpython.qrng_serial import SerialSource

    if not port:
        raise LocalError("a serial source needs its port, such as serial:/dev/ttyUSB0")
    return SerialSource(port, **settings)


def _https(url: str, **settings: Any) -> QuantumSource:
    from handfast_cpython.qrng_https import HttpsSource

    return HttpsSource(url, **settings)


def _simulated(fault: str, **settings: Any) -> QuantumSource:
    from handfast_cpython.qrng_simulated import SimulatedSource

    return SimulatedSource(fault or None, **settings)


def _claim(text: str) -> float:
    claim = float(text)
    if not 0.5 <= claim <= 1:
        raise ValueError
    return claim


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError
    return int(text)


# How each setting is written in the option, how the source calls it, and how it is read.
_SETTINGS: dict[str, tuple[str, Callable[[str], object], str]] = {
    "min-entropy": ("min_entropy", _claim, "a number from 0.5 to 1"),
    "baud": ("baud", _count, "a whole number"),
    "ca": ("ca", str, "a PEM file"),
    "seed": ("seed", _count, "a whole number"),
    "after": ("after", _count, "a whole number of bytes"),
}

_Maker = Callable[..., QuantumSource]
_SOURCES: tuple[tuple[str, _Maker, tuple[str, ...]], ...] = (
    ("os", _system, ("min-entropy",)),
    ("serial", _serial, ("min-entropy", "baud")),
    ("https", _https, ("min-entropy", "ca")),
    ("simulated", _simulated, ("min-entropy", "seed", "after")),
)


def open_source(spec: str) -> QuantumSource:
    """The source that `spec` names; it is reached for by its first read. LocalError names the choices."""
    place, _, tail = spec.strip().partition("#")
    word, _, rest = place.partition(":")
    if place.startswith("/"):
        return _device(place, **_settings(spec, tail, ("min-entropy",)))
    for name, make, allowed in _SOURCES:
        if word == name:
            return make(place if name == "https" else rest, **_settings(spec, tail, allowed))
    raise LocalError(f"no quantum source {place!r}; {CHOICES}")


def _settings(spec: str, tail: str, allowed: tuple[str, ...]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for part in tail.split(",") if tail else ():
        name, _, text = part.partition("=")
        if name not in allowed:
            raise LocalError(f"no setting {name!r} for the source {spec!r}; there are {', '.join(allowed)}")
        argument, read, form = _SETTINGS[name]
        try:
            settings[argument] = read(text)
        except ValueError:
            raise LocalError(f"{name} of the source {spec!r} must be {form}, not {text!r}") from None
    return settings
