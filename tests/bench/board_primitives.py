"""Instructions of each primitive on the emulated board, written for MicroPython: main() prints a line each.

    instructions NAME COUNT

The emulator counts (-icount shift=5): 32 ns an instruction, 40 ns a tick, for its counter runs with 25 MHz:
a loop of 7 instructions takes 5.6 ticks a turn. What a collection of the heap takes belongs to it, as on a
chip; loading the modules of a primitive does not, and has a line of its own.
"""

import gc

import emulator

SEED = bytes(range(32))
MESSAGE = b"message"
# Attempts to sign are chance: these values of rnd are fixed, and the average over them is what counts.
SIGNATURES = 20
SHIFT = 5
TICK = 40


def count(call: "object", *arguments: "object") -> int:
    """The instructions of one call."""
    gc.collect()
    before = emulator.busy()
    call(*arguments)
    return (emulator.busy() - before) * TICK >> SHIFT


def tell(name: str, instructions: int) -> None:
    """Print one line."""
    print("instructions %s %d" % (name, instructions))


def keccak() -> None:
    """One permutation, the average of 16."""
    from handfast_micropython.keccak import permute

    state = bytearray(200)

    def sixteen() -> None:
        for _ in range(16):
            permute(state)

    tell("keccak", count(sixteen) // 16)


def kem(crypto: "object") -> None:
    """ML-KEM-768: key, encapsulation, and decapsulation with the key that was just made, as a device does."""
    name, seed = "ML-KEM-768", SEED + SEED
    tell("kem_first_key", count(crypto.kem_public_key, name, seed))
    tell("kem_key", count(crypto.kem_public_key, name, seed))
    key = crypto.kem_public_key(name, seed)
    tell("encapsulate", count(crypto.encapsulate, name, key, SEED))
    ciphertext = crypto.encapsulate(name, key, SEED)[0]
    crypto.kem_public_key(name, seed)
    tell("decapsulate", count(crypto.decapsulate, name, seed, ciphertext))


def signature(crypto: "object") -> None:
    """ML-DSA-65: key, signing from the seed (the average over fixed values of rnd), verification."""
    tell("signature_first_key", count(crypto.signature_public_key, -49, SEED))
    tell("signature_key", count(crypto.signature_public_key, -49, SEED))
    key = crypto.signature_public_key(-49, SEED)
    total = 0
    for number in range(SIGNATURES):
        total += count(crypto.sign, -49, SEED, MESSAGE, bytes([number]) * 32)
    tell("sign", total // SIGNATURES)
    made = crypto.sign(-49, SEED, MESSAGE, SEED)
    tell("verify", count(crypto.verify, -49, key, MESSAGE, made))


def others(crypto: "object") -> None:
    """X25519, and what a record takes."""
    from handfast_micropython.x25519 import scalar_multiplication

    tell("x25519", count(scalar_multiplication, SEED, b"\x09" + bytes(31)))
    tell("kmac256", count(crypto.kmac256, SEED, SEED, 32, b""))
    tell("seal_32", count(crypto.seal, 30, bytes(16), bytes(13), bytes(16), SEED))


class CountingCrypto:
    """The Crypto port, and what each of its operations took of the instructions of a handshake."""

    def __init__(self, crypto: "object") -> None:
        self.taken: "dict[str, int]" = {}
        self._crypto = crypto

    def __getattr__(self, name: str) -> "object":
        operation = getattr(self._crypto, name)

        def counted(*arguments: "object") -> "object":
            before = emulator.busy()
            result = operation(*arguments)
            self.taken[name] = self.taken.get(name, 0) + ((emulator.busy() - before) * TICK >> SHIFT)
            return result

        return counted if callable(operation) else operation


def handshake(crypto: "object") -> None:
    """The device's part of suite -21 with signatures, from message_1 to the root key, without the link.

    The hub is on the same board, and its part is not counted.
    """
    from pair import STEPS, Pair

    from handfast_micropython import phases

    end = phases.end
    counting = CountingCrypto(crypto)
    pair = Pair(counting)
    total, taken = 0, {}
    for who, _ in STEPS:
        counting.taken = {}
        # What the hub computes ends no phase of the device.
        phases.end = end if who == "initiator" else lambda phase: None
        step = count(pair.once)
        if who == "initiator":
            total += step
            for name, instructions in counting.taken.items():
                taken[name] = taken.get(name, 0) + instructions
    phases.end = end
    tell("handshake", total)
    for name, instructions in taken.items():
        tell("handshake_" + name, instructions)


def main() -> None:
    """Everything."""
    from handfast_micropython.crypto import Crypto

    crypto = Crypto()
    print("tier", crypto.name)
    keccak()
    kem(crypto)
    signature(crypto)
    others(crypto)
    handshake(crypto)
