"""The ports of handfast for a board that runs MicroPython. Imports nothing.

crypto                                            the Crypto port; hashes, MACs and AEADs so far
keccak  kmac  sha384                              hashes
aes_ccm  aes_gcm  aes                             authenticated encryption
buffers                                           combining and comparing bytes
keccak_viper  aes_viper  ghash_viper  buffers_viper            what a chip computes in machine code,
keccak_bytecode  aes_bytecode  ghash_bytecode  buffers_bytecode   and in bytecode where there is none
"""
