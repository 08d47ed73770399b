"""X25519 (RFC 7748 section 5) in plain Python, where MicroPython compiles no viper.

With the large integers of the interpreter, whose operations take a time that depends on their
operands: only the sequence of operations is the same for every scalar.
"""

_P = (1 << 255) - 19


def scalar_multiplication(scalar: bytes, u: bytes) -> bytes:
    """The u-coordinate of `scalar` times the point at `u`, 32 bytes each; zero for points of small order."""
    # decodeScalar25519 and decodeUCoordinate.
    k = int.from_bytes(scalar, "little") & ((1 << 255) - 8) | (1 << 254)
    x_1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    pairs = [(1, 0), (x_1, 1)]
    for position in range(254, -1, -1):
        bit = k >> position & 1
        x_2, z_2 = pairs[bit]
        x_3, z_3 = pairs[1 - bit]
        a, b = x_2 + z_2, x_2 - z_2
        aa, bb = a * a % _P, b * b % _P
        e = aa - bb
        da, cb = (x_3 - z_3) * a % _P, (x_3 + z_3) * b % _P
        pairs[bit] = (aa * bb % _P, e * (aa + 121665 * e) % _P)
        pairs[1 - bit] = ((da + cb) * (da + cb) % _P, x_1 * ((da - cb) * (da - cb) % _P) % _P)
    x_2, z_2 = pairs[0]
    # Some boards have no pow with three arguments.
    inverse = 1
    for position in range(254, -1, -1):
        inverse = inverse * inverse % _P
        if (_P - 2) >> position & 1:
            inverse = inverse * z_2 % _P
    return (x_2 * inverse % _P).to_bytes(32, "little")
