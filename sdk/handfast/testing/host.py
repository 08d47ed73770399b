"""The ports of a simulated device: entropy out of a seed, a keystore in memory."""

from handfast.core.constants import HEALTH_OK, SOURCE_SIMULATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Clock, Crypto


class SeededEntropy:
    """The Entropy port out of a seed; calls itself simulated, as it is.

    A new one with the same seed gives the same bytes again, as no generator may: when a test starts a
    device anew over its old keystore, it gives another seed.
    """

    def __init__(self, crypto: "Crypto", seed: bytes) -> None:
        self._crypto = crypto
        self._seed = seed
        self._draws = 0

    async def prepare(self, draws: int) -> None:
        """Nothing to do: a seed has no health."""

    def random(self, length: int) -> bytes:
        """`length` bytes, a function of the seed and of how often this was called."""
        self._draws += 1
        data = self._draws.to_bytes(8, "big")
        return self._crypto.kmac256(self._seed, data, length, b"handfast testing")

    def report(self) -> "list[object]":
        """Entry 2 of DEVINFO."""
        return [SOURCE_SIMULATED, "seeded test source", 1000, HEALTH_OK, 0, self._draws * 64, []]


class MemoryKeystore:
    """The Keystore port in a dict. `values` survives `close`, as a flash survives a power cut."""

    def __init__(self, values: "dict[str, bytes] | None" = None) -> None:
        self.values: "dict[str, bytes]" = {} if values is None else values
        self.writes = 0

    def load(self, name: str) -> "bytes | None":
        """The value last saved, or None."""
        return self.values.get(name)

    def save(self, name: str, value: bytes) -> None:
        """Replace `name`."""
        self.writes += 1
        self.values[name] = bytes(value)

    def erase(self, name: str) -> None:
        """Forget `name`."""
        self.values.pop(name, None)

    def close(self) -> None:
        """Nothing is locked."""


class MemoryHost:
    """The Host bundle of a simulated device."""

    def __init__(
        self, crypto: "Crypto", clock: "Clock", seed: bytes, keystore: "MemoryKeystore | None" = None
    ) -> None:
        self.crypto = crypto
        self.clock = clock
        self.entropy = SeededEntropy(crypto, seed)
        self.keystore = MemoryKeystore() if keystore is None else keystore
