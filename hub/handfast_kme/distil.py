"""From one block of light to one secret string that both ends hold: the two roles of BB84 post-processing.

    Alice (a caller of nobody)                  Bob
                        <- bases               which basis each click was measured in; his monitors
    sift ->                                    bases, intensities, her bits of the X basis
                        <- errors              errors of the X basis by intensity
    (answers)           <- parity ...          Cascade on the Z basis
                        <- corrected           errors of the Z basis by intensity, parities used
    verify ->                                  hash of her string
                        <- verified
    amplify ->                                 length and seed of the Toeplitz matrix
    finish ->           <- finish              Wegman-Carter tags over all of it; proof of the same key

Whatever fails, the block is gone on both sides and the next one begins. Nothing is stored here.
"""

import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from handfast.core.errors import AuthenticationError, PeerError
from handfast_kme import cascade
from handfast_kme.channel import ONE_TIME_KEY, Channel, Transcript
from handfast_kme.decoy import Bounds, Counts, bounds
from handfast_kme.entangled import Pairs, pair_bounds
from handfast_kme.light import Bits
from handfast_kme.line import unpack
from handfast_kme.optics import Optics
from handfast_kme.privacy import VERIFICATION_SEED, amplify, seed_bytes, verification

Source = Optics | Pairs
Random = Callable[[int], bytes]
# Takes the one-time key of the block out of the reserve.
OneTime = Callable[[], Awaitable[bytes]]
Amplifier = Callable[[Bits, int, bytes], bytes]

# A string shorter than this says nothing about its error rate.
MIN_SIFTED = 2000


@dataclass(frozen=True)
class Monitors:
    """What Bob's receiver says of itself; QBER alone cannot see a blinded detector."""

    clicks: int
    doubles: int
    bias_current: float


@dataclass(frozen=True)
class Measured:
    """What both ends know of a block before they make a key of it."""

    pulses: int
    z_events: tuple[int, int, int]
    x: Counts
    monitors: Monitors


@dataclass(frozen=True)
class Distilled:
    """One block. `key` is secret and equal at both ends; empty when the bounds left nothing."""

    measured: Measured
    z: Counts
    bounds: Bounds
    leaked: int
    key: bytes
    authentication: float
    """Seconds from a key at this end to the peer's tag over the block, checked."""

    @property
    def error_rate(self) -> float:
        """QBER of both bases together."""
        errors = sum(self.z.errors) + sum(self.measured.x.errors)
        return errors / max(1, self.z.total + self.measured.x.total)

    @property
    def efficiency(self) -> float:
        """f_EC of Cascade in this block; 0 when there was no error."""
        errors = sum(self.z.errors)
        return cascade.efficiency(self.leaked, self.z.total, errors) if errors else 0.0


# Looks at what was measured and says why no key may be made of it, or None.
Judge = Callable[[Measured], str | None]


async def alice(
    peer: Channel, line: Channel, optics: Source, block: bytes, pulses: int, one_time: OneTime, judge: Judge,
    random: Random = os.urandom, amplifier: Amplifier = amplify,
) -> Distilled:  # fmt: skip
    """Alice's side of one block; PeerError, AuthenticationError or LinkError end it without a key."""
    peer.transcript = Transcript(caller=False)
    await line.send("light", block, pulses)
    (seen,) = await line.receive("sent")
    intensity = np.frombuffer(seen, np.uint8)
    count = len(intensity)
    bits, bases = unpack(random((count + 7) // 8), count), _bases(optics, count, random)
    await line.send("states", np.packbits(bits).tobytes(), np.packbits(bases).tobytes())
    await line.receive("results")

    bob_bases, doubles, bias = await peer.receive("bases")
    theirs = unpack(bob_bases, count)
    monitors = Monitors(count, _count(doubles), _count(bias) / 1000)
    in_z, in_x = (bases == 0) & (theirs == 0), (bases == 1) & (theirs == 1)
    seed = random(8)
    await peer.send(
        "sift", np.packbits(bases).tobytes(), _two_bits(intensity), np.packbits(bits[in_x]).tobytes(), seed
    )
    x = Counts(_by_intensity(intensity, in_x), _three(await peer.receive("errors")))
    measured = Measured(pulses, _by_intensity(intensity, in_z), x, monitors)
    await _judged(peer, measured, judge)

    string = bits[in_z]
    parities = cascade.Parities(string, int.from_bytes(seed, "big"), _estimate(x))
    z, leaked = Counts(measured.z_events, await _answer(peer, parities)), parities.leaked
    hash_seed = random(VERIFICATION_SEED)
    await peer.send("verify", hash_seed, verification(string, hash_seed))
    await peer.receive("verified")
    limits = _limits(optics, z, x)
    secret = limits.secret_bits(leaked)
    matrix = random(seed_bytes(len(string))) if secret else b""
    await peer.send("amplify", secret, matrix)
    key = amplifier(string, secret, matrix) if secret else b""
    seconds = await _finish(peer, await one_time(), key, block, first=True)
    return Distilled(measured, z, limits, leaked, key, seconds)


async def bob(
    peer: Channel, line: Channel, optics: Source, block: bytes, pulses: int, one_time: OneTime, judge: Judge,
    random: Random = os.urandom, amplifier: Amplifier = amplify,
) -> Distilled:  # fmt: skip
    """Bob's side of one block."""
    peer.transcript = Transcript(caller=True)
    await line.send("light", block, pulses)
    (count,) = await line.receive("clicks")
    bases = _bases(optics, _count(count), random)
    packed = np.packbits(bases).tobytes()
    await line.send("bases", packed)
    results, doubles, bias = await line.receive("results")
    bits = unpack(results, count)
    monitors = Monitors(count, _count(doubles), _count(bias) / 1000)

    await peer.send("bases", packed, doubles, bias)
    theirs, levels, x_bits, seed = await peer.receive("sift")
    alice_bases, intensity = unpack(theirs, count), _from_two_bits(levels, count)
    in_z, in_x = (bases == 0) & (alice_bases == 0), (bases == 1) & (alice_bases == 1)
    wrong = bits[in_x] ^ unpack(x_bits, int(in_x.sum()))
    x = Counts(_by_intensity(intensity, in_x), _by_intensity(intensity[in_x], wrong == 1))
    await peer.send("errors", *x.errors)
    measured = Measured(pulses, _by_intensity(intensity, in_z), x, monitors)
    await _judged(peer, measured, judge)

    raw = bits[in_z]
    corrected = await _ask(peer, raw, int.from_bytes(seed, "big"), _estimate(x))
    z = Counts(measured.z_events, _by_intensity(intensity[in_z], (raw ^ corrected.bits) == 1))
    await peer.send("corrected", *z.errors)
    hash_seed, theirs_hash = await peer.receive("verify")
    if not hmac.compare_digest(verification(corrected.bits, hash_seed), theirs_hash):
        await peer.stop("error correction left errors in the block")
        raise PeerError("error correction left errors in the block; its key is thrown away")
    await peer.send("verified")
    limits = _limits(optics, z, x)
    secret, matrix = await peer.receive("amplify")
    if secret != limits.secret_bits(corrected.leaked):
        raise PeerError(f"the peer makes {secret} bits of a block that holds another number")
    key = amplifier(corrected.bits, secret, matrix) if secret else b""
    seconds = await _finish(peer, await one_time(), key, block, first=False)
    return Distilled(measured, z, limits, corrected.leaked, key, seconds)


async def _finish(peer: Channel, one_time: bytes, key: bytes, block: bytes, first: bool) -> float:
    """Exchange tags over everything said, and a proof that both made the same key; the seconds it took.

    The proof is an HMAC under the first bytes of the key, which go into the reserve of one-time keys and are
    used there once more: for this a computational proof is enough, as it guards against our own faults.
    """
    started = time.monotonic()
    transcript, peer.transcript = peer.transcript, None
    if transcript is None:
        raise RuntimeError("a block has a transcript from its beginning")
    own, expected = transcript.tags(one_time)
    proofs = [hmac.digest(key[:ONE_TIME_KEY], side + block, hashlib.sha256) for side in (b"alice", b"bob")]
    mine, theirs = proofs if first else reversed(proofs)
    if first:
        await peer.send("finish", own, mine)
    tag, proof = await peer.receive("finish")
    if not hmac.compare_digest(expected, tag):
        raise AuthenticationError("the Wegman-Carter tag of the block does not hold; its key is thrown away")
    if not hmac.compare_digest(proof, theirs):
        raise KeysDiffer("the two ends made different keys of one block; both are thrown away")
    if not first:
        await peer.send("finish", own, mine)
    return time.monotonic() - started


async def _answer(peer: Channel, parities: cascade.Parities) -> tuple[int, int, int]:
    """Answer Bob's questions until he is content; the errors that he found, by intensity."""
    while True:
        kind, *values = await peer.receive()
        if kind == "corrected":
            return _three(values)
        if kind != "parity":
            raise PeerError(f"expected parity or corrected, got {kind[:32]}")
        number, size, nodes = values
        if not (isinstance(number, int) and isinstance(size, int) and isinstance(nodes, bytes)):
            raise PeerError("expected numbers and a byte string in a parity question")
        try:
            places = np.frombuffer(nodes, ">u4").astype(np.int64)
            answer = parities.answer(cascade.Question(number, size, places))
        except ValueError as error:
            raise PeerError(str(error)) from None
        await peer.send("parities", np.packbits(answer).tobytes())


async def _ask(peer: Channel, bits: Bits, seed: int, error_rate: float) -> cascade.Corrected:
    work = cascade.correct(bits, seed, error_rate)
    question = next(work)
    while True:
        await peer.send("parity", question.number, question.size, question.nodes.astype(">u4").tobytes())
        (answer,) = await peer.receive("parities")
        try:
            question = work.send(unpack(answer, len(question.nodes)))
        except StopIteration as done:
            corrected: cascade.Corrected = done.value
            return corrected


async def _judged(peer: Channel, measured: Measured, judge: Judge) -> None:
    refusal = judge(measured)
    if refusal is None and sum(measured.z_events) < MIN_SIFTED:
        refusal = f"a block of {sum(measured.z_events)} sifted bits says too little; {MIN_SIFTED} are needed"
    if refusal is not None:
        await peer.stop(refusal)
        raise BlockRefused(refusal)


class KeysDiffer(AuthenticationError):
    """The tags hold, and yet the keys are different: one end works wrongly (F6)."""


class BlockRefused(PeerError):
    """No key may be made of this block: too few counts, or an alarm."""


def _limits(source: Optics | Pairs, z: Counts, x: Counts) -> Bounds:
    return pair_bounds(z, x) if isinstance(source, Pairs) else bounds(source, z, x)


def _bases(optics: Optics | Pairs, count: int, random: Random) -> Bits:
    """A basis a click, 1 for X: one random byte each against the probability in 256ths."""
    return (np.frombuffer(random(count), np.uint8) >= round(optics.z_probability * 256)).astype(np.uint8)


def _estimate(x: Counts) -> float:
    """The error rate that Cascade's first blocks are cut for; it changes the cost, never the result."""
    return min(0.25, max(0.001, x.error_rate))


def _by_intensity(intensity: Bits, chosen: Any) -> tuple[int, int, int]:
    one, two, three = np.bincount(intensity[chosen], minlength=3)[:3].tolist()
    return one, two, three


def _two_bits(intensity: Bits) -> bytes:
    return np.packbits(np.stack([intensity >> 1, intensity & 1]), axis=None).tobytes()


def _from_two_bits(data: object, count: int) -> Bits:
    high, low = unpack(data, 2 * count).reshape(2, count)
    levels: Bits = high * 2 + low
    if count and levels.max() > 2:
        raise PeerError("there are three intensities, got a fourth")
    return levels


def _three(values: list[Any]) -> tuple[int, int, int]:
    one, two, three = (_count(value) for value in values)
    return one, two, three


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise PeerError("expected a count")
    return value
