"""What polynomials of ML-KEM and ML-DSA have in common, in two tiers."""

try:
    from handfast_micropython.coefficients_viper import add, clear, pack, unpack
except (ImportError, SyntaxError, ValueError):
    # No viper here: a foreign interpreter, a port without a native emitter, or a .mpy of another chip.
    from handfast_micropython.coefficients_bytecode import add, clear, pack, unpack

__all__ = ("add", "clear", "pack", "unpack")
