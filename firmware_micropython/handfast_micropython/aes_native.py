"""AES of two blocks, in C: firmware_micropython/native/aes.c."""

from handfast_native import aes_count_and_mac as count_and_mac
from handfast_native import aes_encrypt_pair as encrypt_pair
from handfast_native import aes_expand as expand

__all__ = ("count_and_mac", "encrypt_pair", "expand")
