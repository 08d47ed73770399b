"""Answers calls of the Crypto port under MicroPython: crypto_calls.py ROOT [TIER], a call a line on stdin.

A call is an operation, an algorithm and the inputs in hexadecimal ("-" for no bytes), or x25519, a
scalar and a coordinate, or name. The answer is one line: its parts in hexadecimal, True or False, or
the class of the error. Ends with its input.
"""

import sys


def bytes_of(text: str) -> bytes:
    """The bytes of one input."""
    return b"" if text == "-" else bytes.fromhex(text)


def answer(crypto: "object", call: str) -> str:
    """The line for one call."""
    words = call.split()
    if words[0] == "x25519":
        from handfast_micropython.x25519 import scalar_multiplication

        return scalar_multiplication(bytes_of(words[1]), bytes_of(words[2])).hex()
    if words[0] == "name":
        return crypto.name.encode().hex()
    algorithm = int(words[1]) if words[1].startswith("-") else words[1]
    try:
        value = getattr(crypto, words[0])(algorithm, *[bytes_of(word) for word in words[2:]])
    except Exception as error:
        return type(error).__name__
    if isinstance(value, tuple):
        return " ".join([part.hex() for part in value])
    return str(value) if isinstance(value, bool) else value.hex()


def main(root: str, wanted: str = "") -> None:
    """Answer until there is no call left, in the tier that is `wanted` or the best there is."""
    for source in ("firmware_micropython", "sdk"):
        sys.path.insert(0, root + "/" + source)
    from handfast_micropython import tier

    tier.TIER = wanted or tier.TIER
    from handfast_micropython.crypto import Crypto

    crypto = Crypto()
    line = sys.stdin.readline()
    while line:
        print(answer(crypto, line))
        line = sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
