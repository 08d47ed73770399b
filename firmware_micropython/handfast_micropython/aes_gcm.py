"""AES-GCM with a 12-byte nonce and a 16-byte tag (SP 800-38D)."""

from array import array

from handfast.core.errors import AuthenticationError
from handfast_micropython.aes import BlockPair
from handfast_micropython.buffers import equal, xor_into
from handfast_micropython.tier import kernels

absorb = kernels("ghash").absorb
TAG_LENGTH = 16


def seal(key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """Ciphertext and tag; `key` is 16 or 32 bytes."""
    pair = BlockPair(key)
    hash_key, mask = _start(pair, nonce)
    out = _count(pair, nonce, plaintext)
    pair.wipe()
    return bytes(out) + _tag(hash_key, mask, aad, out)


def open_(key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
    """The plaintext; AuthenticationError when the tag is wrong."""
    split = len(ciphertext) - TAG_LENGTH
    if split < 0:
        raise AuthenticationError
    pair = BlockPair(key)
    hash_key, mask = _start(pair, nonce)
    good = equal(_tag(hash_key, mask, aad, ciphertext[:split]), ciphertext[split:])
    out = _count(pair, nonce, ciphertext[:split]) if good else bytearray()
    pair.wipe()
    if not good:
        raise AuthenticationError
    return bytes(out)


def _start(pair: BlockPair, nonce: bytes) -> "tuple[array[int], bytes]":
    """The hash subkey H as four words, and the encryption of J_0 (section 7.1), in one step."""
    blocks = pair.blocks
    blocks[:] = bytes(16) + nonce + b"\x00\x00\x00\x01"
    pair.encrypt()
    words = [int.from_bytes(blocks[at : at + 4], "big") for at in range(0, 16, 4)]
    return array("I", words), bytes(blocks[16:])


def _count(pair: BlockPair, nonce: bytes, data: bytes) -> bytearray:
    """GCTR (section 6.5) from counter 2, two blocks a step."""
    out = bytearray(data)
    blocks = pair.blocks
    for start in range(0, len(data), 32):
        counter = start // 16 + 2
        blocks[:] = nonce + counter.to_bytes(4, "big") + nonce + (counter + 1).to_bytes(4, "big")
        pair.encrypt()
        xor_into(out, start, blocks, 0, min(32, len(data) - start))
    return out


def _tag(hash_key: "array[int]", mask: bytes, aad: bytes, ciphertext: "bytes | bytearray") -> bytes:
    """GHASH over the padded data and the lengths in bits, hidden by `mask` (section 7.1)."""
    state = array("I", bytes(16))
    for data in (aad, ciphertext):
        whole = len(data) // 16 * 16
        for start in range(0, whole, 16):
            absorb(state, hash_key, data, start)
        if len(data) > whole:
            absorb(state, hash_key, bytes(data[whole:]) + bytes(16 - len(data) + whole), 0)
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    absorb(state, hash_key, lengths, 0)
    tag = bytearray(b"".join([word.to_bytes(4, "big") for word in state]))
    xor_into(tag, 0, mask, 0, 16)
    return bytes(tag)
