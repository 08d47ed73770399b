"""What a board needs for a while only: modules that are let go when the next thing begins.

A module holds memory as long as it is loaded: also a frozen one its functions, classes and names, one from
the file system its code too. An enrolment runs through phases that have no need of each other: the quantum
source, the KEM, the signatures, then the session that lives with the key. What is needed again later is
loaded again by the import that asks for it. What is asked for again and again while a signature is made, or
by a device that lives with its hub, must not be in a list here.
"""

import gc
import sys

# Names are written out in whole: such tables stay in the flash, and only their outermost one is made.
_BOARD = "handfast_micropython."
_KERNELS = ("", "_viper", "_native", "_bytecode")

# Whoever needs a constant has it among its own names; the table of all of them is a kilobyte.
_CONSTANTS = "handfast.core.constants"

NAMES = "names"
CREDENTIALS = "credentials"
SOURCE = "source"
KEM = "kem"
SIGNATURE = "signature"
POLYNOMIALS = "polynomials"
MESSAGES = "messages"
ENROLMENT = "enrolment"

# Which modules belong to a phase and to nothing else: those of a board without their package.
_PHASES = {
    # Who the device is and what it was told: read when it is made, and when an enrolment begins and ends.
    "names": (
        ("configuration", "provisioning"),
        ("handfast.identity", "handfast.core.codes", "handfast.core.token"),
    ),
    # What keys are made with: once in each epoch. Records need an AEAD alone.
    "keys": (
        ("kmac", "keccak", "keccak_loop", "keccak_round", "sha384"),
        ("handfast.core.root_key", "handfast.core.kdf"),
    ),
    "credentials": ((), ("handfast.core.credentials", "handfast.core.cose", "handfast.core.identifiers")),
    "source": (
        ("entropy", "qrng", "qrng_serial", "qrng_system", "qrng_second"),
        ("handfast.core.entropy", "handfast.core.health_tests"),
    ),
    "kem": (("mlkem", "xwing", "x25519", "x25519_field", "x25519_product"), ()),
    "signature": (("mldsa", "mldsa_sampling", "mldsa_rounding"), ()),
    # What KEM and signatures share, with the memory that they compute in.
    "polynomials": (("scratch", "xof", "coefficients"), ()),
    # What a message is made and read with. No signature needs it.
    "messages": (
        (),
        (
            "handfast.core.messages",
            "handfast.core.ead",
            "handfast.core.token",
            "handfast.core.offer",
            "handfast.core.states",
            "handfast.core.frames",
            "handfast.core.root_key",
            "handfast.core.initiator_error",
            "handfast.core.initiator_message_1",
            "handfast.core.initiator_message_2",
            "handfast.core.initiator_message_3",
            "handfast.core.initiator_message_4",
        ),
    ),
    "enrolment": (
        (),
        (
            "handfast.enrolment",
            "handfast.stored_identity",
            "handfast.core.initiator",
            "handfast.core.initiator_accept",
            "handfast.core.methods",
            "handfast.core.events",
            "handfast.core.resend",
            "handfast.core.sealed_messages",
            "handfast.core.drawn",
            "handfast.core.key_schedule",
        ),
    ),
}
# What is over when a step of Host.passed is.
OF_STEP = {
    "identity": ("names", "credentials", "keys"),
    "drawn": ("source", "names", "messages"),
    "message_1": ("kem", "messages"),
    "message_2": ("kem", "signature", "messages"),
    "message_3": ("kem", "signature", "polynomials", "messages"),
    "enrolled": ("kem", "signature", "polynomials", "messages", "enrolment", "names", "credentials"),
}


def end(phase: str) -> None:
    """Let go of the modules of `phase`, and put the heap in order for what is loaded next."""
    loaded = _forget(_CONSTANTS)
    board, others = _PHASES[phase]
    for name in board:
        for kernel in _KERNELS:
            loaded = _forget(_BOARD + name + kernel) or loaded
    for name in others:
        loaded = _forget(name) or loaded
    if loaded:
        # What is loaded now stays for long, and should lie in the lowest gap and not above what is dead.
        gc.collect()


def _forget(name: str) -> bool:
    module = sys.modules.pop(name, None)
    if module is None:
        return False
    package, _, last = name.rpartition(".")
    if hasattr(sys.modules[package], last):
        delattr(sys.modules[package], last)
    return True
