"""AES-CCM (RFC 3610, SP 800-38C), with the nonce and tag lengths that COSE names.

The block that makes key stream and the block that is authenticated travel as one pair, so that a
message of n blocks costs about n steps and not 2n.
"""

from handfast.core.errors import AuthenticationError
from handfast_micropython.aes import BlockPair
from handfast_micropython.buffers import equal, xor_into


def seal(key: bytes, nonce: bytes, aad: bytes, plaintext: bytes, tag_length: int) -> bytes:
    """Ciphertext and tag. `key` is 16 or 32 bytes, `nonce` 7 to 13, `tag_length` even and 4 to 16."""
    out = bytearray(len(plaintext) + tag_length)
    out[: len(plaintext)] = plaintext
    seal_in_place(key, nonce, aad, memoryview(out), tag_length)
    return bytes(out)


def seal_in_place(key: bytes, nonce: bytes, aad: bytes, text: memoryview, tag_length: int) -> None:
    """Ciphertext and tag in `text`, where the plaintext was and room for the tag behind it."""
    text[-tag_length:] = _run(key, nonce, aad, text[:-tag_length], tag_length, False)


def open_(key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes, tag_length: int) -> bytes:
    """The plaintext; AuthenticationError when the tag is wrong."""
    split = len(ciphertext) - tag_length
    if split < 0:
        raise AuthenticationError
    out = bytearray(memoryview(ciphertext)[:split])
    tag = _run(key, nonce, aad, out, tag_length, True)
    if not equal(tag, ciphertext[split:]):
        raise AuthenticationError
    return bytes(out)


def _run(
    key: bytes, nonce: bytes, aad: bytes, out: "bytearray | memoryview", tag_length: int, opening: bool
) -> bytes:
    """Makes the other text of `out`; the tag over the plaintext."""
    pair = BlockPair(key)
    blocks = pair.blocks
    size = 15 - len(nonce)
    counter = bytes((size - 1,)) + nonce
    head = _head(nonce, aad, len(out), tag_length)
    for start in range(0, len(head) - 16, 16):
        xor_into(blocks, 16, head, start, 16)
        pair.encrypt()
    xor_into(blocks, 16, head, len(head) - 16, 16)
    pair.count_and_mac(bytearray(counter + bytes(size)), out, opening)
    # The block that hides the tag (RFC 3610 section 2.3) shares its step with the last block of plaintext.
    blocks[:16] = counter + bytes(size)
    pair.encrypt()
    pair.wipe()
    xor_into(blocks, 16, blocks, 0, 16)
    return bytes(blocks[16 : 16 + tag_length])


def _head(nonce: bytes, aad: bytes, length: int, tag_length: int) -> bytes:
    """B_0 and the additional data with its length, padded (RFC 3610 section 2.2)."""
    size = 15 - len(nonce)
    flags = (64 if aad else 0) + 8 * ((tag_length - 2) // 2) + size - 1
    head = bytes((flags,)) + nonce + length.to_bytes(size, "big")
    if aad:
        count = len(aad)
        head += count.to_bytes(2, "big") if count < 0xFF00 else b"\xff\xfe" + count.to_bytes(4, "big")
        head += bytes(aad)
    return head + bytes(-len(head) % 16)
