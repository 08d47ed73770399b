"""Cascade: Bob's string becomes Alice's, by parities that Alice discloses (Brassard, Salvail 1993).

Sizes are powers of two as in Martinez-Mateo, Pacher, Peev, Ciurana, Martin (2015), so every block is a
tree and a parity, once known, serves all later passes. All odd blocks of a pass are bisected at once: one
question a level. An error that is found turns blocks of the other passes odd; they are bisected from the
smallest known node on, until no pass has an odd block.

Bob's side is a generator that yields `Question` and is sent the answers, so it runs over any channel. The
orders of the passes are public, as is the seed they come from, which is drawn after the light was measured.
"""

import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]

PASSES = 10
# Below this many bits a pass with its few blocks says nothing new.
_LAST_BLOCKS = 8


class Question(NamedTuple):
    """The parities of blocks `nodes` of `size` bits in the order of pass `number`."""

    number: int
    size: int
    nodes: Ints


class Corrected(NamedTuple):
    """Bob's string after correction, and what it cost."""

    bits: Bits
    errors: int
    leaked: int
    """Parities that were disclosed."""
    questions: int


def block_sizes(length: int, error_rate: float) -> list[int]:
    """Bits of a block in each pass."""
    first = 2 ** max(1, math.floor(math.log2(1 / max(error_rate, 0.0005)) + 0.15))
    largest = 2 ** max(2, math.floor(math.log2(max(4, length / _LAST_BLOCKS))))
    second = first * 8
    sizes = [first, second] + [max(4096, second * 2)] * 2 + [2**16] * (PASSES - 4)
    return [min(size, largest) for size in sizes]


class Order:
    """The public order of pass `number` of a string: place k holds bit (step k + start) mod length.

    The first is that of the string, whose errors are independent. In the others any two bits meet in a block
    as often as in a random order, which is all that Cascade asks for; and a place is found by arithmetic: no
    table of a million numbers is shuffled and inverted for each pass.
    """

    def __init__(self, seed: int, number: int, length: int) -> None:
        self.length = length
        self.step, self.start = 1, 0
        if number and length > 3:
            drawn = np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
            self.start = int(drawn.integers(length))
            while self.step == 1 or math.gcd(self.step, length) > 1:
                self.step = int(drawn.integers(1, length))
        self._inverse = pow(self.step, -1, length) if length else 1

    def applied(self, bits: Bits) -> Bits:
        """`bits` in this order."""
        if self.step == 1:
            return bits.copy()
        # Rows of one length, each its first place on; wrapping below zero makes a minimum of a modulus.
        width = math.isqrt(self.length) + 1
        length = np.uint32(self.length)
        first = (np.arange(-(-self.length // width)) * width * self.step + self.start) % self.length
        along = np.arange(width) * self.step % self.length
        sums = first.astype(np.uint32)[:, None] + along.astype(np.uint32)
        result: Bits = bits[np.minimum(sums, sums - length).ravel()[: self.length]]
        return result

    def bits_at(self, places: Ints) -> Ints:
        """Which bits of the string stand at `places`."""
        return (places * self.step + self.start) % self.length

    def places_of(self, bits: Ints) -> Ints:
        """The places of these bits."""
        return (bits - self.start) * self._inverse % self.length


class Parities:
    """Alice's side: answers questions about her string."""

    def __init__(self, bits: Bits, seed: int, error_rate: float) -> None:
        self._bits, self._seed = bits, seed
        self._sizes = block_sizes(len(bits), error_rate)
        self._passes: dict[int, Bits] = {}
        self.leaked = 0

    def answer(self, question: Question) -> Bits:
        """One parity a node; ValueError for a question that is none."""
        number, size, nodes = question
        if not 0 <= number < len(self._sizes) or size < 1 or size & (size - 1) or size > self._sizes[number]:
            raise ValueError(f"expected a block of Cascade, got pass {number}, {size} bits")
        if number not in self._passes:
            ordered = Order(self._seed, number, len(self._bits)).applied(self._bits)
            self._passes[number] = _padded(ordered, self._sizes[number])
        rows = self._passes[number].reshape(-1, size)
        if len(nodes) and not (nodes.min() >= 0 and nodes.max() < len(rows)):
            raise ValueError(f"expected blocks below {len(rows)}, got one beyond")
        self.leaked += len(nodes)
        return _parity(rows, nodes)


def correct(bits: Bits, seed: int, error_rate: float) -> Generator[Question, Bits, Corrected]:
    """Bob's side: yields questions, is sent parities, returns the corrected string."""
    work = _Bob(bits, seed, error_rate)
    for number in range(len(work.sizes)):
        yield from work.open_pass(number)
        while (odd := work.odd_pass()) is not None:
            yield from work.bisect(odd)
    return Corrected(work.bits, work.errors, work.leaked, work.questions)


class _Pass:
    """One order of the string as a forest: Alice's known parities, level by level from single bits up."""

    def __init__(self, bits: Bits, order: Order, size: int) -> None:
        self.size = size
        self.order = order
        self.bits = _padded(order.applied(bits), size)
        total = len(self.bits)
        self.known = {level: np.zeros(total // level, bool) for level in _levels(size)}
        self.alice = {level: np.zeros(total // level, np.uint8) for level in _levels(size)}
        self.odd = np.zeros(total // size, bool)


class _Bob:
    def __init__(self, bits: Bits, seed: int, error_rate: float) -> None:
        self.bits = bits.copy()
        self.seed = seed
        self.sizes = block_sizes(len(bits), error_rate)
        self.passes: list[_Pass] = []
        self.errors = self.leaked = self.questions = 0

    def open_pass(self, number: int) -> Generator[Question, Bits, None]:
        """Ask for all blocks of a new pass."""
        size = self.sizes[number]
        tree = _Pass(self.bits, Order(self.seed, number, len(self.bits)), size)
        self.passes.append(tree)
        nodes = np.arange(len(tree.odd))
        yield from self._ask(number, size, nodes)
        tree.odd = tree.alice[size] != _parity(tree.bits.reshape(-1, size), nodes)

    def odd_pass(self) -> int | None:
        """The pass to go on with: of those with odd blocks, the one of the smallest blocks."""
        odd = [number for number, tree in enumerate(self.passes) if tree.odd.any()]
        return min(odd, key=lambda number: self.passes[number].size, default=None)

    def bisect(self, number: int) -> Generator[Question, Bits, None]:
        """Find one error in each odd block of a pass, and correct them all."""
        tree = self.passes[number]
        nodes, size = np.flatnonzero(tree.odd), tree.size
        while size > 1:
            size //= 2
            left = nodes * 2
            unknown = left[~tree.known[size][left]]
            if len(unknown):
                yield from self._ask(number, size, unknown)
                # The parity of the block is known: that of the right half follows.
                tree.known[size][unknown + 1] = True
                tree.alice[size][unknown + 1] = tree.alice[size * 2][unknown // 2] ^ tree.alice[size][unknown]
            mine = _parity(tree.bits.reshape(-1, size), left)
            nodes = left + (mine == tree.alice[size][left])
        self._flip(tree.order.bits_at(nodes))

    def _ask(self, number: int, size: int, nodes: Ints) -> Generator[Question, Bits, None]:
        tree = self.passes[number]
        answers = yield Question(number, size, nodes)
        if len(answers) != len(nodes):
            raise ValueError(f"expected {len(nodes)} parities, got {len(answers)}")
        tree.known[size][nodes] = True
        tree.alice[size][nodes] = answers
        self.leaked += len(nodes)
        self.questions += 1

    def _flip(self, wrong: Ints) -> None:
        self.bits[wrong] ^= 1
        self.errors += len(wrong)
        for tree in self.passes:
            at = tree.order.places_of(wrong)
            tree.bits[at] ^= 1
            np.logical_xor.at(tree.odd, at // tree.size, True)


def efficiency(leaked: int, length: int, errors: int) -> float:
    """f_EC: disclosed parities over the Shannon limit n h(Q)."""
    q = errors / length
    return leaked / (length * (-q * math.log2(q) - (1 - q) * math.log2(1 - q)))


def _levels(size: int) -> list[int]:
    return [2**power for power in range(size.bit_length())]


def _padded(bits: Bits, size: int) -> Bits:
    """`bits` with zeros up to a whole number of blocks: both sides know them, so they cost nothing."""
    return np.concatenate([bits, np.zeros(-len(bits) % size, np.uint8)])


def _parity(rows: Bits, nodes: Ints) -> Bits:
    """The parity of some rows of a matrix of bits."""
    chosen = rows if len(nodes) == len(rows) else rows[nodes]
    result: Bits = np.bitwise_xor.reduce(chosen, axis=1)
    return result
