"""ML-KEM (FIPS 203) from seeds of 64 bytes, d || z: no expanded key is ever stored.

Computes in `scratch`; the matrix is made one entry at a time. Sizes of every argument are the caller's duty
(handfast.core.suites.KEMS has them).
"""

from array import array

from handfast.core.errors import DecodeError
from handfast_micropython import scratch, tier
from handfast_micropython.buffers import equal
from handfast_micropython.coefficients import add, clear, pack, unpack
from handfast_micropython.keccak import (
    RATE_SHAKE256,
    SUFFIX_SHAKE,
    Sponge,
    sha3_256,
    sha3_512,
)
from handfast_micropython.xof import Xof

kernels = tier.kernels("mlkem")
_Q = 3329
_ETA_2 = 2


def _zetas() -> "array[int]":
    """FIPS 203 appendix A: 17^BitRev7(k) in the low half of word k, and its 2^16 / q-fold above."""
    table = array("I", bytes(4 * 128))
    table[0] = 1
    # BitRev7(k + half) is BitRev7(k) + 64 / half for k below half, a power of 2.
    half = 1
    while half < 128:
        factor = 17 ** (64 // half) % _Q
        for index in range(half):
            table[half + index] = table[index] * factor % _Q
        half *= 2
    for index in range(128):
        table[index] |= (table[index] << 16) // _Q << 16
    return table


_ZETAS = _zetas()


class MlKem:
    """One parameter set of FIPS 203 table 2."""

    def __init__(self, k: int, eta_1: int, d_u: int, d_v: int) -> None:
        self._k = k
        self._eta_1 = eta_1
        self._d_u = d_u
        self._d_v = d_v
        # The last public key, for the decapsulation that follows; it is found by the hash of its seed.
        self._made: "tuple[bytes, bytes | bytearray]" = (b"", b"")

    def public_key(self, seed: bytes) -> bytes:
        """The encapsulation key of d || z (FIPS 203 algorithms 16 and 13), 384 k + 32 bytes."""
        try:
            made = self._generate(seed)
        finally:
            scratch.wipe()
        out = bytes(made)
        self._made = (sha3_256(seed), out)
        return out

    def encapsulate(self, public_key: bytes, message: bytes) -> "tuple[bytes, bytes]":
        """(ciphertext, shared secret of 32 bytes) with m = `message` (FIPS 203 algorithms 20 and 17).

        DecodeError when the key fails the modulus check of section 7.2.
        """
        keys = sha3_512(bytes(message) + sha3_256(public_key))
        try:
            self._check_modulus(public_key)
            ciphertext = self._encrypt(public_key, message, keys[32:])
        finally:
            scratch.wipe()
        return bytes(ciphertext), keys[:32]

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        """The shared secret, 32 bytes (FIPS 203 algorithms 21 and 18); a wrong one for a wrong ciphertext.

        The hash check of section 7.3 has nothing to check: the key was made from `seed` here.
        """
        public_key: "bytes | bytearray"
        hashed, public_key = self._made
        self._made = (b"", b"")
        try:
            if not equal(hashed, sha3_256(seed)):
                public_key = self._generate(seed)
            message = self._decrypt(seed, ciphertext)
            keys = sha3_512(message + sha3_256(public_key))
            rejection = Sponge(RATE_SHAKE256, SUFFIX_SHAKE)
            rejection.absorb(seed[32:])
            rejection.absorb(ciphertext)
            again = self._encrypt(public_key, message, keys[32:])
        finally:
            scratch.wipe()
        secret = bytearray(keys[:32])
        # Algorithm 18 lines 9 to 11, without a branch.
        kernels.replace_unless_equal(0, secret, rejection.squeeze(32), again, ciphertext, len(ciphertext))
        return bytes(secret)

    def _generate(self, seed: bytes) -> bytearray:
        # Algorithm 13: (rho, sigma) = G(d || k).
        k = self._k
        seeds = sha3_512(bytes(seed[:32]) + bytes((k,)))
        total, term, secrets, twists = self._memory()
        xof = Xof()
        self._sample_vector(xof, seeds[32:], secrets, twists)
        matrix_seed = bytearray(seeds[:32] + b"\0\0")
        out = bytearray(384 * k + 32)
        for row in range(k):
            clear(0, total)
            for column in range(k):
                self._sample_matrix(xof, matrix_seed, column, row, term)
                kernels.multiply_add(0, 0, total, term, secrets[column], twists[column])
            self._sample_noise(xof, seeds[32:], k + row, self._eta_1, term)
            kernels.ntt(0, 0, term, _ZETAS)
            add(0, total, term)
            kernels.reduce(0, total)
            pack(0, 384 * row, total, out, 12)
        out[384 * k :] = seeds[:32]
        xof.wipe()
        return out

    def _encrypt(self, public_key: "bytes | bytearray", message: bytes, coins: bytes) -> bytearray:
        # Algorithm 14.
        k, d_u, d_v = self._k, self._d_u, self._d_v
        total, term, noise, twists = self._memory()
        xof = Xof()
        self._sample_vector(xof, coins, noise, twists)
        matrix_seed = bytearray(public_key[384 * k :] + b"\0\0")
        out = bytearray(32 * (k * d_u + d_v))
        for row in range(k):
            clear(0, total)
            for column in range(k):
                # The transposed matrix, line 19.
                self._sample_matrix(xof, matrix_seed, row, column, term)
                kernels.multiply_add(0, 0, total, term, noise[column], twists[column])
            self._leave_ntt(total)
            self._sample_noise(xof, coins, k + row, _ETA_2, term)
            add(0, total, term)
            kernels.compress(0, total, d_u)
            pack(0, 32 * d_u * row, total, out, d_u)
        clear(0, total)
        for column in range(k):
            unpack(0, 384 * column, term, public_key, 12)
            kernels.multiply_add(0, 0, total, term, noise[column], twists[column])
        self._leave_ntt(total)
        self._sample_noise(xof, coins, 2 * k, _ETA_2, term)
        add(0, total, term)
        kernels.add_message(0, total, message)
        kernels.reduce(0, total)
        kernels.compress(0, total, d_v)
        pack(0, 32 * d_u * k, total, out, d_v)
        xof.wipe()
        return out

    def _decrypt(self, seed: bytes, ciphertext: bytes) -> bytes:
        # Algorithm 15, with the secret vector sampled once more.
        k, d_u, d_v = self._k, self._d_u, self._d_v
        total, term, secrets, twists = self._memory()
        xof = Xof()
        self._sample_vector(xof, sha3_512(bytes(seed[:32]) + bytes((k,)))[32:], secrets, twists)
        xof.wipe()
        clear(0, total)
        for column in range(k):
            unpack(0, 32 * d_u * column, term, ciphertext, d_u)
            kernels.decompress(0, term, d_u)
            kernels.ntt(0, 0, term, _ZETAS)
            kernels.reduce(0, term)
            kernels.multiply_add(0, 0, total, term, secrets[column], twists[column])
        self._leave_ntt(total)
        unpack(0, 32 * d_u * k, term, ciphertext, d_v)
        kernels.decompress(0, term, d_v)
        kernels.subtract(0, term, total)
        kernels.compress(0, term, 1)
        message = bytearray(32)
        pack(0, 0, term, message, 1)
        return bytes(message)

    def _memory(self) -> "tuple[memoryview, memoryview, list[memoryview], list[memoryview]]":
        """Two polynomials, a vector, and what `twist` makes of a vector."""
        k = self._k
        words = scratch.words(384 * k + 512)
        vector = [words[256 * index : 256 * index + 256] for index in range(2, k + 2)]
        start = 256 * (k + 2)
        return (
            words[:256],
            words[256:512],
            vector,
            [words[start + 128 * index : start + 128 * index + 128] for index in range(k)],
        )

    def _check_modulus(self, public_key: bytes) -> None:
        term = self._memory()[1]
        for index in range(self._k):
            unpack(0, 384 * index, term, public_key, 12)
            if kernels.not_below_q(0, term):
                raise DecodeError("the encapsulation key fails the modulus check of FIPS 203")

    def _sample_vector(
        self, xof: Xof, seed: bytes, vector: "list[memoryview]", twists: "list[memoryview]"
    ) -> None:
        """Algorithm 13 lines 8 to 11 and 16: the small vector in the NTT domain, and its twists."""
        for index in range(self._k):
            self._sample_noise(xof, seed, index, self._eta_1, vector[index])
            kernels.ntt(0, 0, vector[index], _ZETAS)
            kernels.reduce(0, vector[index])
            kernels.twist(0, 0, vector[index], _ZETAS, twists[index])

    def _sample_noise(self, xof: Xof, seed: bytes, number: int, eta: int, out: "memoryview") -> None:
        # PRF_eta(s, b), section 4.1 (4.3).
        xof.start_shake256(seed + bytes((number,)))
        if eta == _ETA_2:
            kernels.sample_binomial_2(0, 0, out, xof.state)
            return
        data = bytearray(192)
        data[:RATE_SHAKE256] = xof.state[:RATE_SHAKE256]
        xof.next_block()
        data[RATE_SHAKE256:] = xof.state[: 192 - RATE_SHAKE256]
        kernels.sample_binomial_3(0, 0, out, data)

    def _sample_matrix(self, xof: Xof, seed: bytearray, first: int, second: int, out: "memoryview") -> None:
        # Algorithm 13 line 5: the column comes first.
        seed[32] = first
        seed[33] = second
        if tier.TIER == "native":
            kernels.sample_matrix(xof.state, seed, out)
            return
        xof.start_shake128(seed)
        done = kernels.sample_ntt(0, 0, out, xof.state)
        while done < 256:
            xof.next_block()
            done = kernels.sample_ntt(done, 0, out, xof.state)

    def _leave_ntt(self, polynomial: "memoryview") -> None:
        kernels.reduce(0, polynomial)
        kernels.inverse_ntt(0, 0, polynomial, _ZETAS)


# FIPS 203 table 2, by the names of handfast.core.suites.
ML_KEM = {
    "ML-KEM-512": MlKem(2, 3, 10, 4),
    "ML-KEM-768": MlKem(3, 2, 10, 4),
    "ML-KEM-1024": MlKem(4, 2, 11, 5),
}
