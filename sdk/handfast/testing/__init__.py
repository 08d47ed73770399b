"""What tests of handfast, and of programs that use it, need instead of a network and a clock.

    clock = FakeClock()
    broker = MemoryBroker(clock)
    host = MemoryHost(crypto, clock, seed=b"1")
    device = Device(host, MemoryLink(broker))

Everything is a function of its seeds: a test that failed once fails again.
"""

from handfast.testing.clock import FakeClock as FakeClock
from handfast.testing.host import MemoryHost as MemoryHost
from handfast.testing.host import MemoryKeystore as MemoryKeystore
from handfast.testing.host import SeededEntropy as SeededEntropy
from handfast.testing.lossy import LossyLink as LossyLink
from handfast.testing.memory import MemoryBroker as MemoryBroker
from handfast.testing.memory import MemoryLink as MemoryLink
