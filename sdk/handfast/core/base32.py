"""Base32 as topics and codes have it (RFC 4648 section 6), in lower case and without padding."""

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def b32encode(data: bytes) -> str:
    """Base32 in lower case without padding."""
    text = []
    bits = count = 0
    for byte in data:
        bits = (bits << 8 | byte) & 0xFFF
        count += 8
        while count >= 5:
            count -= 5
            text.append(ALPHABET[bits >> count & 31])
    if count:
        text.append(ALPHABET[bits << (5 - count) & 31])
    return "".join(text)
