"""What a board needs for a while only: modules that are let go when the next thing begins.

A module holds memory as long as it is loaded: also a frozen one its functions, classes and names, one from
the file system its code too. An enrolment runs through phases that have no need of each other: the KEM, then
the signatures, then the session that lives with the key. What is needed again later is loaded again by the
import that asks for it.
"""

import gc
import sys

_BOARD = "handfast_micropython."
_CORE = "handfast.core."
_KERNELS = ("", "_viper", "_native", "_bytecode")

KEM = "kem"
SIGNATURE = "signature"
POLYNOMIALS = "polynomials"
ENROLMENT = "enrolment"
SOURCE = "source"
HEALTH = "health"
# What is over when a step of Host.passed is.
OF_STEP = {
    "drawn": (SOURCE, HEALTH),
    "enrolled": (KEM, SIGNATURE, POLYNOMIALS, ENROLMENT),
}

# Which modules belong to a phase and to nothing else; the first one is loaded whenever the phase is.
_PHASES = {
    KEM: (_BOARD, ("mlkem", "xwing", "x25519", "x25519_field", "x25519_product")),
    SIGNATURE: (_BOARD, ("mldsa", "mldsa_sampling", "mldsa_rounding")),
    # What KEM and signatures share, with the memory that they compute in.
    POLYNOMIALS: (_BOARD, ("scratch", "xof", "coefficients")),
    SOURCE: (_BOARD, ("entropy", "qrng", "qrng_serial", "qrng_system", "qrng_second")),
    HEALTH: (_CORE, ("entropy", "health_tests")),
    ENROLMENT: (
        _CORE,
        ("initiator", "messages", "ead", "offer", "methods", "states", "events", "resend", "sealed_messages"),
    ),
}


def end(phase: str) -> None:
    """Let go of the modules of `phase`, and put the heap in order for what is loaded next."""
    package, names = _PHASES[phase]
    if package + names[0] not in sys.modules:
        return
    for name in names:
        for kernel in _KERNELS if package == _BOARD else _KERNELS[:1]:
            _forget(package + name + kernel)
    if phase == ENROLMENT:
        _forget("handfast.enrolment")
    # What is loaded now stays for long, and should lie in the lowest gap and not above what is dead.
    gc.collect()


def _forget(name: str) -> None:
    module = sys.modules.pop(name, None)
    package, _, last = name.rpartition(".")
    if module is not None and hasattr(sys.modules[package], last):
        delattr(sys.modules[package], last)
