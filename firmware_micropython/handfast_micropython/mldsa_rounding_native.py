"""Rounding, bounds and hints of ML-DSA, in C: firmware_micropython/native/mldsa_rounding.c."""

from handfast_native import rounding_high_bits as high_bits
from handfast_native import rounding_low_bits as low_bits
from handfast_native import rounding_make_hints as make_hints
from handfast_native import rounding_not_below as not_below
from handfast_native import rounding_power_2_round as power_2_round
from handfast_native import rounding_shift_13 as shift_13
from handfast_native import rounding_subtract as subtract
from handfast_native import rounding_use_hints as use_hints

__all__ = (
    "high_bits",
    "low_bits",
    "make_hints",
    "not_below",
    "power_2_round",
    "shift_13",
    "subtract",
    "use_hints",
)
