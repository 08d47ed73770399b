"""What polynomials of ML-KEM and ML-DSA have in common, in C: firmware_micropython/native/coefficients.c."""

from handfast_native import coefficients_add as add
from handfast_native import coefficients_clear as clear
from handfast_native import coefficients_pack as pack
from handfast_native import coefficients_unpack as unpack

__all__ = ("add", "clear", "pack", "unpack")
