"""Connection and credential identifiers on the wire (RFC 9528 section 3.3.2).

An identifier is a byte string. One whose only byte is itself the CBOR encoding of an integer
(-24..23) travels as that integer, any other as a byte string; each has exactly one form.
"""

from handfast.core.errors import DecodeError


def encode_identifier(identifier: bytes) -> "int | bytes":
    """The CBOR value that stands for `identifier`: an int for 24 + 24 one-byte strings."""
    if len(identifier) == 1:
        byte = identifier[0]
        if byte < 0x18:
            return byte
        if 0x20 <= byte < 0x38:
            return 0x1F - byte
    return identifier


def decode_identifier(item: object) -> bytes:
    """The byte string that `item` stands for; DecodeError for another type or the longer form."""
    if isinstance(item, bytes):
        if encode_identifier(item) is not item:
            raise DecodeError("the identifier %s is an integer on the wire" % item.hex())
        return item
    # type() and not isinstance(): CBOR true is a Python int.
    if type(item) is int and -24 <= item < 24:
        return bytes([item if item >= 0 else 0x1F - item])
    raise DecodeError("an identifier is a byte string or an integer from -24 to 23")
