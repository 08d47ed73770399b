"""What polynomials of ML-KEM and ML-DSA have in common."""

from handfast_micropython.tier import kernels

_KERNELS = kernels("coefficients")
add = _KERNELS.add
clear = _KERNELS.clear
pack = _KERNELS.pack
unpack = _KERNELS.unpack
