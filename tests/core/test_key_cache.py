"""The cache of record keys: bounded in devices, and in epochs for each."""

from host_crypto import crypto
from joined import DEVICE_ID
from rings import key

from handfast.core.key_cache import KeyCache


def test_the_cache_forgets_devices_that_nobody_asks_for() -> None:
    cache = KeyCache(crypto, 4)
    kept = cache.get(b"device 0", key(1, 1, 0), 0, b"\x00")
    for number in range(4):
        assert cache.get(b"device 0", key(1, 1, 0), 0, b"\x00") is kept
        cache.get(b"device-%d" % (number + 1), key(1, 1, 0), 0, b"\x00")
    for number in range(8):
        cache.get(b"other--%d" % number, key(1, 1, 0), 0, b"\x00")
    assert cache.get(b"device 0", key(1, 1, 0), 0, b"\x00") is not kept


def test_the_cache_keeps_a_bounded_number_of_epochs_for_each_device() -> None:
    cache, held = KeyCache(crypto, 4), key(1, 1, 0)
    first = cache.get(DEVICE_ID, held, 0, b"\x00")
    for epoch in range(1, 20):
        cache.get(DEVICE_ID, held, epoch, b"\x00")
    assert cache.get(DEVICE_ID, held, 0, b"\x00") is not first
