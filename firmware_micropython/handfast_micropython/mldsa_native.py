"""Arithmetic and sampling of ML-DSA, in C: firmware_micropython/native/mldsa.c."""

from handfast_native import mldsa_inverse_ntt as inverse_ntt
from handfast_native import mldsa_multiply_add as multiply_add
from handfast_native import mldsa_ntt as ntt
from handfast_native import mldsa_reduce as reduce
from handfast_native import mldsa_sample_bounded as sample_bounded
from handfast_native import mldsa_sample_matrix as sample_matrix
from handfast_native import mldsa_sample_ntt as sample_ntt
from handfast_native import mldsa_sample_secret as sample_secret
from handfast_native import mldsa_subtract_from as subtract_from

__all__ = (
    "inverse_ntt",
    "multiply_add",
    "ntt",
    "reduce",
    "sample_bounded",
    "sample_matrix",
    "sample_ntt",
    "sample_secret",
    "subtract_from",
)
