"""Frames as the error correction sends them, and what comes out of a decoder."""

import random

from handfast_hub.trunk.fec import Decoder, Encoder


def frames_of(count: int, seed: int = 1, longest: int = 300) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(1, longest)) for _ in range(count)]


def coded(frames: list[bytes], sources: int = 8, repairs: int = 2) -> list[bytes]:
    """The datagrams of frames, the last group flushed."""
    encoder = Encoder(sources, repairs)
    datagrams = [datagram for frame in frames for datagram in encoder.add(frame, 0.0)]
    return datagrams + encoder.handle_timer(1.0)


def received(decoder: Decoder, datagrams: list[bytes], now: float = 0.0) -> list[bytes]:
    return [frame for datagram in datagrams for frame in decoder.receive(datagram, now)]


def header(kind: int, group: int, index: int) -> bytes:
    return bytes([kind]) + group.to_bytes(4, "big") + bytes([index])
