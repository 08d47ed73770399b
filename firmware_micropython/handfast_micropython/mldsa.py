"""ML-DSA (FIPS 204) from seeds of 32 bytes, pure and with the empty context: no expanded key is ever stored.

Computes in `scratch`; the matrix is made one entry at a time and again in each attempt to sign. Sizes of the
caller's own arguments are the caller's duty (handfast.core.suites.SIGNATURES has them).
"""

from array import array

from handfast_micropython import scratch, tier
from handfast_micropython.buffers import equal
from handfast_micropython.coefficients import add, clear, pack, unpack
from handfast_micropython.keccak import RATE_SHAKE256, SUFFIX_SHAKE, Sponge, shake256
from handfast_micropython.mldsa_sampling import (
    MASK_BUFFER,
    Q,
    kernels,
    sample_bounded,
    sample_in_ball,
    sample_mask,
    sample_matrix,
)
from handfast_micropython.xof import Xof

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Pieces = bytes | tuple[bytes, ...]

rounding = tier.kernels("mldsa_rounding")
_ZEROS = bytes(32)


def _zetas() -> "array[int]":
    """FIPS 204 appendix B: 1753^BitRev8(k) modulo q."""
    table = array("I", bytes(4 * 256))
    table[0] = 1
    factors, products = scratch.polynomials(2)
    # BitRev8(k + half) is BitRev8(k) + 128 / half for k below half, a power of 2.
    half = 1
    while half < 256:
        factor = 1753 ** (128 // half) % Q
        for index in range(half):
            factors[index] = factor
        # Outside a kernel a chip multiplies 23 bits on the heap.
        clear(0, products)
        kernels.multiply_add(0, 0, products, factors, table)
        kernels.reduce(0, products)
        for index in range(half):
            table[half + index] = products[index]
        half *= 2
    return table


_ZETAS = _zetas()


class MlDsa:
    """One parameter set of FIPS 204 table 1, with k `rows` and l `columns`.

    `highs` is (q - 1) / (2 gamma_2), and `challenge` is lambda / 4 bytes.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        eta: int,
        tau: int,
        gamma_1: int,
        highs: int,
        omega: int,
        challenge: int,
    ) -> None:
        self._rows = rows
        self._columns = columns
        self._eta = eta
        self._tau = tau
        self._beta = tau * eta
        self._gamma_1 = gamma_1
        self._z_bits = 18 if gamma_1 == 1 << 17 else 20
        self._highs = highs
        self._high_bits = 6 if highs == 44 else 4
        self._gamma_2 = (Q - 1) // (2 * highs)
        self._omega = omega
        self._challenge = challenge
        self._hints_at = challenge + 32 * self._z_bits * columns

    def public_key(self, seed: bytes) -> bytes:
        """The public key of xi = `seed` (FIPS 204 algorithm 6), 32 + 320 k bytes."""
        out = bytearray(32 + 320 * self._rows)
        seeds = self._seeds(seed)
        out[:32] = seeds[:32]
        view = memoryview(out)[32:]
        secret_seed = bytearray(seeds[32:96] + b"\0\0")
        try:
            for row, part in enumerate(self._expand(Xof(), seeds[:32], secret_seed, None)):
                view[320 * row : 320 * row + 320] = part
        finally:
            scratch.wipe()
            secret_seed[:32] = secret_seed[32:64] = _ZEROS
        return bytes(out)

    def sign(
        self, seed: bytes, message: "Pieces", randomness: bytes, into: "memoryview | None" = None
    ) -> "Any":
        """The signature with xi = `seed` and rnd = `randomness`, 32 bytes each (FIPS 204 algorithms 2 and 7).

        `into` is where it shall stand, of its length; it is what comes back then.
        How many attempts it takes shows in the time: the rejection loop is FIPS 204's own, and whether an
        attempt fails says nothing about the key.
        """
        rows, columns = self._rows, self._columns
        xof = Xof()
        seeds = self._seeds(seed)
        rho = seeds[:32]
        # t0, 13 bits each, a piece for each row.
        kept = scratch.pieces(rows)
        buffer = bytearray(MASK_BUFFER)
        signature = bytearray(self._hints_at + self._omega + rows) if into is None else into
        secret_seed = bytearray(seeds[32:96] + b"\0\0")
        try:
            # tr, the hash of the public key, which itself need not be there.
            sponge = Sponge(RATE_SHAKE256, SUFFIX_SHAKE)
            sponge.absorb(rho)
            for part in self._expand(xof, rho, secret_seed, kept):
                sponge.absorb(part)
            mu = self._message_hash(sponge.squeeze(64), message)
            mask_seed = bytearray(shake256(seeds[96:] + bytes(randomness) + mu, 64) + b"\0\0")
            kappa = 0
            while not self._attempt(xof, rho, secret_seed, kept, mask_seed, buffer, kappa, mu, signature):
                kappa += columns
        finally:
            scratch.wipe()
            xof.wipe()
            buffer[:] = bytes(MASK_BUFFER)
            secret_seed[:32] = secret_seed[32:64] = _ZEROS
        # As it is: bytes of it would be a second one.
        return signature

    def verify(self, public_key: bytes, message: "Pieces", signature: bytes) -> bool:
        """FIPS 204 algorithms 3 and 8; False for anything but a valid signature, whatever its length."""
        rows, columns, at = self._rows, self._columns, self._challenge
        if len(public_key) != 32 + 320 * rows or len(signature) != self._hints_at + self._omega + rows:
            return False
        hints = signature[self._hints_at :]
        if not self._hints_in_order(hints):
            return False
        polynomials = scratch.polynomials(columns + 3)
        total, term, challenge = polynomials[:3]
        z = polynomials[3:]
        for column in range(columns):
            unpack(0, at + 32 * self._z_bits * column, z[column], signature, self._z_bits)
            kernels.subtract_from(0, 0, z[column], self._gamma_1)
            if rounding.not_below(0, 0, z[column], self._gamma_1 - self._beta):
                return False
            kernels.ntt(0, 0, z[column], _ZETAS)
        xof = Xof()
        sample_in_ball(xof, signature[:at], challenge, self._tau)
        kernels.subtract_from(0, 0, challenge, 0)
        kernels.ntt(0, 0, challenge, _ZETAS)
        sponge = Sponge(RATE_SHAKE256, SUFFIX_SHAKE)
        sponge.absorb(self._message_hash(shake256(public_key, 64), message))
        packed = bytearray(32 * self._high_bits)
        matrix_seed = bytearray(bytes(public_key[:32]) + b"\0\0")
        first = 0
        for row in range(rows):
            # A z - c t1 2^13, line 9.
            unpack(0, 32 + 320 * row, term, public_key, 10)
            rounding.shift_13(0, term)
            kernels.ntt(0, 0, term, _ZETAS)
            clear(0, total)
            kernels.multiply_add(0, 0, total, challenge, term)
            self._add_row(xof, matrix_seed, row, z, term, total)
            rounding.high_bits(0, 0, total, term, self._highs)
            last = hints[self._omega + row]
            rounding.use_hints(first, last, term, total, hints, self._highs)
            first = last
            pack(0, 0, term, packed, self._high_bits)
            sponge.absorb(packed)
        return equal(sponge.squeeze(at), signature[:at])

    def _seeds(self, seed: bytes) -> bytes:
        # Algorithm 6 line 1: rho (32 bytes), rho' (64) and K (32).
        return shake256(bytes(seed) + bytes((self._rows, self._columns)), 128)

    def _expand(
        self, xof: Xof, rho: bytes, secret_seed: bytearray, kept: "list[bytearray] | None"
    ) -> "Iterator[bytearray]":
        """t1, packed, row by row, each until the next one; t0 goes into `kept`.

        Algorithm 6 lines 3 to 10. `secret_seed` is rho' with room for two bytes; who made it wipes it,
        because a generator that is abandoned does not end.
        """
        rows, columns = self._rows, self._columns
        polynomials = scratch.polynomials(columns + 2)
        total, term = polynomials[:2]
        s1 = polynomials[2:]
        part = bytearray(320)
        matrix_seed = bytearray(rho + b"\0\0")
        for column in range(columns):
            sample_bounded(xof, secret_seed, column, s1[column], self._eta)
            kernels.ntt(0, 0, s1[column], _ZETAS)
        for row in range(rows):
            clear(0, total)
            self._add_row(xof, matrix_seed, row, s1, term, total)
            sample_bounded(xof, secret_seed, columns + row, term, self._eta)
            add(0, total, term)
            kernels.reduce(0, total)
            rounding.power_2_round(0, 0, total, term)
            pack(0, 0, total, part, 10)
            if kept is not None:
                pack(0, 0, term, kept[row], 13)
            yield part

    def _attempt(
        self,
        xof: Xof,
        rho: bytes,
        secret_seed: bytearray,
        kept: "list[bytearray]",
        mask_seed: bytearray,
        buffer: bytearray,
        kappa: int,
        mu: bytes,
        signature: "bytearray | memoryview",
    ) -> bool:
        """One turn of the loop of algorithm 7: whether `signature` holds one now."""
        rows, columns, at, highs = self._rows, self._columns, self._challenge, self._highs
        polynomials = scratch.polynomials(rows + 3)
        term, product, challenge = polynomials[:3]
        w = polynomials[3:]
        matrix_seed = bytearray(rho + b"\0\0")
        for row in range(rows):
            clear(0, w[row])
        # Column by column, with one polynomial of y at a time: it is made again for z, which costs a tenth
        # of an attempt and not 5 KB.
        for column in range(columns):
            y = product
            sample_mask(xof, mask_seed, kappa + column, y, self._gamma_1, buffer)
            kernels.ntt(0, 0, y, _ZETAS)
            for row in range(rows):
                sample_matrix(xof, matrix_seed, row, column, term)
                kernels.multiply_add(0, 0, w[row], term, y)
        sponge = Sponge(RATE_SHAKE256, SUFFIX_SHAKE)
        sponge.absorb(mu)
        packed = bytearray(32 * self._high_bits)
        for row in range(rows):
            kernels.reduce(0, w[row])
            kernels.inverse_ntt(0, 0, w[row], _ZETAS)
            rounding.high_bits(0, 0, w[row], term, highs)
            pack(0, 0, term, packed, self._high_bits)
            sponge.absorb(packed)
        signature[:at] = sponge.squeeze(at)
        sample_in_ball(xof, signature[:at], challenge, self._tau)
        kernels.ntt(0, 0, challenge, _ZETAS)
        for column in range(columns):
            # z = y + c s1 in one inverse transform, so that y itself need not stay (line 20).
            # s1 and s2 are made again too, which costs two Keccaks for each polynomial.
            sample_bounded(xof, secret_seed, column, term, self._eta)
            kernels.ntt(0, 0, term, _ZETAS)
            z = product
            sample_mask(xof, mask_seed, kappa + column, z, self._gamma_1, buffer)
            kernels.ntt(0, 0, z, _ZETAS)
            kernels.multiply_add(0, 0, z, challenge, term)
            kernels.reduce(0, z)
            kernels.inverse_ntt(0, 0, z, _ZETAS)
            if rounding.not_below(0, 0, z, self._gamma_1 - self._beta):
                return False
            kernels.subtract_from(0, 0, z, self._gamma_1)
            pack(0, at + 32 * self._z_bits * column, z, signature, self._z_bits)
        for row in range(rows):
            sample_bounded(xof, secret_seed, columns + row, term, self._eta)
            self._multiply_challenge(challenge, term, product)
            rounding.subtract(0, 0, w[row], product)
            rounding.high_bits(0, 0, w[row], term, highs)
            rounding.low_bits(0, 0, w[row], term, self._gamma_2)
            if rounding.not_below(0, 0, term, self._gamma_2 - self._beta):
                return False
        return self._pack_hints(kept, challenge, term, product, w, signature)

    def _pack_hints(
        self,
        kept: "list[bytearray]",
        challenge: "memoryview",
        term: "memoryview",
        product: "memoryview",
        w: "list[memoryview]",
        signature: "bytearray | memoryview",
    ) -> bool:
        """Lines 25 to 30 of algorithm 7, and algorithm 20: w holds w - c s2."""
        rows = self._rows
        positions = bytearray(257)
        count = 0
        at = self._hints_at
        signature[at:] = bytes(self._omega + rows)
        for row in range(rows):
            unpack(0, 0, term, kept[row], 13)
            kernels.subtract_from(0, 0, term, 1 << 12)
            self._multiply_challenge(challenge, term, product)
            if rounding.not_below(0, 0, product, self._gamma_2):
                return False
            add(0, product, w[row])
            kernels.reduce(0, product)
            rounding.high_bits(0, 0, product, term, self._highs)
            rounding.high_bits(0, 0, w[row], product, self._highs)
            more = rounding.make_hints(0, 0, term, product, positions)
            if count + more > self._omega:
                return False
            signature[at + count : at + count + more] = positions[:more]
            count += more
            signature[at + self._omega + row] = count
        return True

    def _multiply_challenge(self, challenge: "memoryview", term: "memoryview", product: "memoryview") -> None:
        """c times `term`, which goes into the NTT domain, into `product`."""
        kernels.ntt(0, 0, term, _ZETAS)
        clear(0, product)
        kernels.multiply_add(0, 0, product, challenge, term)
        kernels.reduce(0, product)
        kernels.inverse_ntt(0, 0, product, _ZETAS)

    def _message_hash(self, tr: bytes, message: "Pieces") -> bytes:
        # mu = H(tr || M', 64) with M' = 0 || 0 || M: pure, and no context (algorithm 2 line 10).
        sponge = Sponge(RATE_SHAKE256, SUFFIX_SHAKE)
        sponge.absorb(tr + b"\0\0")
        sponge.absorb(message)
        return sponge.squeeze(64)

    def _add_row(
        self,
        xof: Xof,
        seed: bytearray,
        row: int,
        vector: "list[memoryview]",
        term: "memoryview",
        total: "memoryview",
    ) -> None:
        """Add one row of the matrix times `vector` to `total`, and leave the NTT domain."""
        for column in range(self._columns):
            sample_matrix(xof, seed, row, column, term)
            kernels.multiply_add(0, 0, total, term, vector[column])
        kernels.reduce(0, total)
        kernels.inverse_ntt(0, 0, total, _ZETAS)

    def _hints_in_order(self, hints: bytes) -> bool:
        # Algorithm 21: counts that never fall, positions that rise within a row, zeros after the last.
        first = 0
        for row in range(self._rows):
            last = hints[self._omega + row]
            if last < first or last > self._omega:
                return False
            for index in range(first + 1, last):
                if hints[index] <= hints[index - 1]:
                    return False
            first = last
        return not any(hints[first : self._omega])


# FIPS 204 table 1, by the COSE numbers of handfast.core.suites.
ML_DSA = {
    -48: MlDsa(4, 4, 2, 39, 1 << 17, 44, 80, 32),
    -49: MlDsa(6, 5, 4, 49, 1 << 19, 16, 55, 48),
    -50: MlDsa(8, 7, 2, 60, 1 << 19, 16, 75, 64),
}
