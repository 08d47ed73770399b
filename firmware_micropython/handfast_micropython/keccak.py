"""SHA-3 and SHAKE (FIPS 202): one sponge over Keccak-f[1600]."""

from handfast_micropython.buffers import xor_into
from handfast_micropython.tier import kernels

_KERNELS = kernels("keccak")
permute = _KERNELS.permute
# start_shake(state, rate, seed): the first block of SHAKE of a seed that is shorter than a block.
start_shake = _KERNELS.start_shake

# Rates in bytes: 200 minus twice the security strength.
RATE_SHAKE128 = 168
RATE_SHAKE256 = 136
RATE_SHA3_512 = 72
# Domain separation with the first bit of the padding (FIPS 202 section 6, SP 800-185 section 3.3).
SUFFIX_SHA3 = 0x06
SUFFIX_SHAKE = 0x1F
SUFFIX_CSHAKE = 0x04


class Sponge:
    """Absorb any number of times, then squeeze any number of times; 200 bytes of state."""

    def __init__(self, rate: int, suffix: int) -> None:
        self._state = bytearray(200)
        self._rate = rate
        self._suffix = suffix
        self._at = 0
        self._squeezing = False

    def absorb(self, data: "bytes | bytearray | memoryview | tuple[bytes, ...]") -> None:
        """Take `data` in, after everything before it, a tuple piece by piece; ValueError after a squeeze."""
        if self._squeezing:
            raise ValueError("a sponge that was squeezed absorbs no more")
        if isinstance(data, tuple):
            for piece in data:
                self.absorb(piece)
            return
        self._at = _KERNELS.absorb(self._at, self._rate, self._state, data)

    def start(self, state: bytes) -> None:
        """Go on from the 200 bytes of a state that is known; first of all."""
        self._state[:] = state

    def fill(self) -> None:
        """Pad with zeros up to the next whole block, as bytepad does (SP 800-185 section 2.3.3)."""
        if self._at:
            permute(self._state)
            self._at = 0

    def squeeze(self, length: int) -> bytes:
        """The next `length` bytes; nothing can be absorbed afterwards."""
        if length <= self._rate and not self._squeezing:
            # What almost everybody wants: one copy, and no second one.
            self._finish()
            self._at = length
            return bytes(memoryview(self._state)[:length])
        out = bytearray(length)
        self.squeeze_into(out)
        return bytes(out)

    def squeeze_into(self, out: "bytearray | memoryview") -> None:
        """XOR the next bytes into all of `out`."""
        state, rate = self._state, self._rate
        if not self._squeezing:
            self._finish()
        done, length = 0, len(out)
        while done < length:
            if self._at == rate:
                permute(state)
                self._at = 0
            count = min(rate - self._at, length - done)
            xor_into(out, done, state, self._at, count)
            self._at += count
            done += count

    def _finish(self) -> None:
        state = self._state
        state[self._at] ^= self._suffix
        state[self._rate - 1] ^= 0x80
        permute(state)
        self._at = 0
        self._squeezing = True


def _digest(rate: int, suffix: int, data: "bytes | bytearray | tuple[bytes, ...]", length: int) -> bytes:
    sponge = Sponge(rate, suffix)
    sponge.absorb(data)
    return sponge.squeeze(length)


def sha3_256(data: "bytes | bytearray") -> bytes:
    """32 bytes, FIPS 202 section 6.1."""
    return _digest(RATE_SHAKE256, SUFFIX_SHA3, data, 32)


def sha3_512(data: bytes) -> bytes:
    """64 bytes, FIPS 202 section 6.1."""
    return _digest(RATE_SHA3_512, SUFFIX_SHA3, data, 64)


def shake128(data: bytes, length: int) -> bytes:
    """`length` bytes, FIPS 202 section 6.2."""
    return _digest(RATE_SHAKE128, SUFFIX_SHAKE, data, length)


def shake256(data: "bytes | bytearray | tuple[bytes, ...]", length: int) -> bytes:
    """`length` bytes, FIPS 202 section 6.2."""
    return _digest(RATE_SHAKE256, SUFFIX_SHAKE, data, length)
