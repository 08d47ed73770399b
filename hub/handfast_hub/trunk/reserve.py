"""QKD keys that a hub holds for when its KME is down. In memory alone, for a limited time."""

# Seconds after which a key that was held counts no more.
AGE = 1800.0


class Reserve:
    """Keys by key_ID, the oldest first; each leaves it once."""

    def __init__(self, limit: int) -> None:
        """`limit`: how many the initiator wants to have; at most twice as many are held."""
        self.limit = limit
        # How often it was voided; who fetches keys for it reads this before.
        self.voids = 0
        self._keys: dict[bytes, tuple[float, bytes, int]] = {}

    def __repr__(self) -> str:
        return f"Reserve({len(self._keys)} of {self.limit})"

    def put(self, key_id: bytes, key: bytes, now: float, voids: int, ways: int = 1) -> None:
        """Hold a key that came over so many ways; the oldest makes room. One that was asked for before an
        alarm, when `voids` was less, is dropped."""
        if voids != self.voids:
            return
        self._keys[key_id] = (now, key, ways)
        while len(self._keys) > 2 * self.limit:
            self._keys.pop(next(iter(self._keys)))

    def ids(self, now: float) -> list[bytes]:
        """The key_IDs that are held, without those that have become too old."""
        self._keys = {key_id: row for key_id, row in self._keys.items() if now - row[0] <= AGE}
        return list(self._keys)

    def take(self, now: float, least: int = 1) -> tuple[bytes, bytes, int] | None:
        """A key with its key_ID and its ways, at least so many: the oldest of those with the most. None when
        there is none."""
        ids = [key_id for key_id in self.ids(now) if self._keys[key_id][2] >= least]
        if not ids:
            return None
        key_id = max(ids, key=lambda each: self._keys[each][2])
        _, key, ways = self._keys.pop(key_id)
        return key_id, key, ways

    def pick(self, key_id: bytes, now: float) -> bytes | None:
        """The key of `key_id`, None when it is not held."""
        return self._keys.pop(key_id)[1] if key_id in self.ids(now) else None

    def void(self) -> None:
        """Forget all, and what is still on its way: an alarm came over them."""
        self.voids += 1
        self._keys.clear()
