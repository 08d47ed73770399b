"""Arithmetic and sampling of ML-KEM, in C: firmware_micropython/native/mlkem.c."""

from handfast_native import mlkem_add_message as add_message
from handfast_native import mlkem_compress as compress
from handfast_native import mlkem_decompress as decompress
from handfast_native import mlkem_inverse_ntt as inverse_ntt
from handfast_native import mlkem_multiply_add as multiply_add
from handfast_native import mlkem_not_below_q as not_below_q
from handfast_native import mlkem_ntt as ntt
from handfast_native import mlkem_reduce as reduce
from handfast_native import mlkem_replace_unless_equal as replace_unless_equal
from handfast_native import mlkem_sample_binomial_2 as sample_binomial_2
from handfast_native import mlkem_sample_binomial_3 as sample_binomial_3
from handfast_native import mlkem_sample_matrix as sample_matrix
from handfast_native import mlkem_sample_ntt as sample_ntt
from handfast_native import mlkem_subtract as subtract
from handfast_native import mlkem_twist as twist

__all__ = (
    "add_message",
    "compress",
    "decompress",
    "inverse_ntt",
    "multiply_add",
    "not_below_q",
    "ntt",
    "reduce",
    "replace_unless_equal",
    "sample_binomial_2",
    "sample_binomial_3",
    "sample_matrix",
    "sample_ntt",
    "subtract",
    "twist",
)
