"""One piece of memory that ML-KEM and ML-DSA both compute in, one after the other.

It is taken once and kept, for a long-lived heap in pieces would not have so much in a row later.
Nothing here is reentrant: an operation begins with `words`, and with `wipe` it ends, if it knew a secret.
"""

from array import array

from handfast_micropython.buffers import zero_words

# What is taken at the first time: enough to sign with ML-DSA-65, which comes last in a handshake, when the
# heap is in pieces. 9 KB.
FIRST = 9 * 256

# Read through a list, so that no function needs `global`.
_memory = [array("I")]
# t0 in its packed form while ML-DSA signs, in pieces that small gaps of a heap have room for.
PIECE = 416
FIRST_PIECES = 6
_pieces: "list[bytearray]" = []
_ZEROS = bytes(32)


def words(count: int) -> "memoryview[int]":
    """`count` words of 32 bits, whatever is in them; they are the same ones at every call."""
    if len(_memory[0]) < count:
        # Let go of the old ones first: both together might not fit, nor would a copy of the new ones.
        _memory[0] = array("I")
        _memory[0] = array("I", range(max(count, FIRST)))
        pieces(FIRST_PIECES)
    return memoryview(_memory[0])[:count]


def pieces(count: int) -> "list[bytearray]":
    """`count` pieces of PIECE bytes beside the words, whatever is in them."""
    while len(_pieces) < count:
        _pieces.append(bytearray(PIECE))
    return _pieces[:count]


def polynomials(count: int) -> "list[memoryview[int]]":
    """`count` polynomials of 256 coefficients, a word each."""
    whole = words(256 * count)
    return [whole[256 * index : 256 * index + 256] for index in range(count)]


def wipe() -> None:
    """Leave no secret behind."""
    zero_words(_memory[0], len(_memory[0]))
    for piece in _pieces:
        for start in range(0, PIECE, 32):
            piece[start : start + 32] = _ZEROS
