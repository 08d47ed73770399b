"""Keccak-f[1600], in C: firmware_micropython/native/keccak.c."""

from handfast_native import keccak_absorb as absorb
from handfast_native import keccak_permute as permute
from handfast_native import keccak_start_shake as start_shake

__all__ = ("absorb", "permute", "start_shake")
