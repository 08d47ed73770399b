"""The health tests of a noise source: NIST SP 800-90B section 4.4, with cut-offs computed exactly.

A source is tested as bits (most significant bit of each byte first) and as bytes, because each
view sees what the other cannot: a byte that repeats has short runs of bits, a slow bias of the
bits hides among 256 byte values. So there are four tests, all of them continuous; any one raises
the alarm. The cut-offs follow from two numbers: the min-entropy that the source claims, and the
false-positive rate 2^-e (see `handfast.core.cutoffs`).
"""

from collections import namedtuple

from handfast.core.errors import LocalError

# SP 800-90B section 4.4.2: the windows of binary and of other samples.
BIT_WINDOW = 1024
BYTE_WINDOW = 512

# Ours. SP 800-90B section 4.3 wants e between 20 and 40. A device tests about 10^5 bits a day, so
# at 2^-30 ten thousand healthy devices would see an alarm every day or two, at 2^-40 one in years;
# the price is that a stuck bit is noticed ten bits later.
FALSE_POSITIVE_EXPONENT = 40

# A claim is in thousandths of a bit of min-entropy per bit. Below one half, the 64 bytes of a
# draw would hold less than 256 bits.
MIN_CLAIM = 500
MAX_CLAIM = 1000

# `test` names the test, `sample` counts bits or bytes since the source was started, from 1.
Alarm = namedtuple("Alarm", ("test", "sample", "cutoff"))

# The cut-offs of the adaptive proportion tests for the usual false-positive rate, which take a chip 27
# million instructions to compute: that of a claim of 1000 and, bit by bit from the lowest, whether the claim
# that is lower by one has one more. A test compares all of them with `handfast.core.cutoffs`.
_BYTE_CUTOFF = 19
_BYTE_STEPS = int(
    "4488888884442110842108410820820820810204081010202010100804010040"
    "1002004004004002001000400080008000800020000800008000020000040",
    16,
)
_BIT_CUTOFF = 625
_BIT_STEPS = int(
    "954aa54aa54aa54a952a952952a54a94a95295295294a94a52a5294a5294a529"
    "4a525294a4a5292949494a4a4a4a4a4a49494929292524949252494924a49",
    16,
)


def proportion_cutoffs(min_entropy: int, exponent: int) -> "tuple[int, int]":
    """SP 800-90B section 4.4.2: the cut-offs over bytes and over bits; `min_entropy` as HealthTests."""
    if exponent != FALSE_POSITIVE_EXPONENT:
        # A board that uses the usual rate need not load it.
        from handfast.core.cutoffs import proportion_cutoff

        return (
            proportion_cutoff(8 * min_entropy, BYTE_WINDOW, exponent),
            proportion_cutoff(min_entropy, BIT_WINDOW, exponent),
        )
    below = (1 << MAX_CLAIM - min_entropy) - 1
    return (
        _BYTE_CUTOFF + bin(_BYTE_STEPS & below).count("1"),
        _BIT_CUTOFF + bin(_BIT_STEPS & below).count("1"),
    )


def repetition_cutoff(min_entropy: int, exponent: int) -> int:
    """SP 800-90B section 4.4.1: C = 1 + ceil(exponent / H), H in thousandths of a bit per sample."""
    return 1 + (exponent * 1000 + min_entropy - 1) // min_entropy


# Each test has a quick look at a piece of a healthy source, which costs a few calls for all of it, and
# walks sample by sample only where the look cannot exclude an alarm. Both give the same answers.
_PIECE = 128


class RepetitionCount:
    """SP 800-90B section 4.4.1 over bytes: one value too often in a row. The cut-off is above 3."""

    name = "repetition count over bytes"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._samples = 0
        self._value = -1
        self._run = 0

    def test(self, data: bytes) -> int:
        """The number of the byte that raises the alarm, counted from 1; 0 when there is none."""
        if len(data) > 2 and self._run + 2 < self.cutoff:
            whole = int.from_bytes(data, "big")
            changes = (whole ^ whole >> 8).to_bytes(len(data), "big")
            # Two zeros side by side are three equal bytes. The first change is against nothing.
            if changes.find(b"\x00\x00", 1) < 0:
                self._samples += len(data)
                self._value = data[-1]
                self._run = 1 if changes[-1] else 2
                return 0
        for byte in data:
            self._samples += 1
            if byte != self._value:
                self._value = byte
                self._run = 0
            self._run += 1
            if self._run >= self.cutoff:
                return self._samples
        return 0


class AdaptiveProportion:
    """SP 800-90B section 4.4.2 over bytes: the first value of a window too often in it."""

    name = "adaptive proportion over bytes"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._samples = 0
        self._value = -1
        self._count = 0

    def test(self, data: bytes) -> int:
        """The number of the byte that raises the alarm, counted from 1; 0 when there is none."""
        at = self._samples % BYTE_WINDOW
        if data and at + len(data) <= BYTE_WINDOW:
            value, count = (self._value, self._count) if at else (data[0], 0)
            count += data.count(bytes([value]))
            if count < self.cutoff:
                self._samples += len(data)
                self._value = value
                self._count = count
                return 0
        for byte in data:
            if self._samples % BYTE_WINDOW == 0:
                self._value = byte
                self._count = 0
            self._samples += 1
            if byte == self._value:
                self._count += 1
                if self._count >= self.cutoff:
                    return self._samples
        return 0


def _bits(byte: int) -> "list[int]":
    """The eight bits of a byte in their order as samples."""
    return [byte >> shift & 1 for shift in range(7, -1, -1)]


class BitRepetitionCount:
    """SP 800-90B section 4.4.1 over bits. The cut-off is above 14."""

    name = "repetition count over bits"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._samples = 0
        self._bit = 2
        self._run = 0
        # A run of `cutoff` bits, wherever it begins, has this many whole bytes in it.
        self._whole = (cutoff - 7) // 8

    def test(self, data: bytes) -> int:
        """The number of the bit that raises the alarm, counted from 1; 0 when there is none."""
        whole = self._whole
        quick = len(data) > whole and self._run + 8 * whole <= self.cutoff and data[-1] not in (0, 255)
        if quick and data.find(bytes(whole)) < 0 and data.find(b"\xff" * whole) < 0:
            # What goes on into the next piece is inside the last byte.
            self._samples += 8 * len(data)
            self._bit = data[-1] & 1
            self._run = 1
            while data[-1] >> self._run & 1 == self._bit:
                self._run += 1
            return 0
        for byte in data:
            for bit in _bits(byte):
                self._samples += 1
                if bit != self._bit:
                    self._bit = bit
                    self._run = 0
                self._run += 1
                if self._run >= self.cutoff:
                    return self._samples
        return 0


# Every second bit, every second pair, every second half byte, every second byte of 128 bytes.
_MASK_1, _MASK_2, _MASK_4, _MASK_8 = (
    int.from_bytes(pattern * 64, "big") for pattern in (b"\x55\x55", b"\x33\x33", b"\x0f\x0f", b"\x00\xff")
)


def _ones(data: bytes) -> int:
    """How many bits of at most 128 bytes are 1: neighbours are added, all of them at once."""
    x = int.from_bytes(data, "big")
    x = (x & _MASK_1) + (x >> 1 & _MASK_1)
    x = (x & _MASK_2) + (x >> 2 & _MASK_2)
    x = (x & _MASK_4) + (x >> 4 & _MASK_4)
    # The sum of the digits to the base 2^16.
    return ((x & _MASK_8) + (x >> 8 & _MASK_8)) % 0xFFFF


class BitAdaptiveProportion:
    """SP 800-90B section 4.4.2 over bits; a window is 128 whole bytes."""

    name = "adaptive proportion over bits"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._samples = 0
        self._bit = 2
        self._count = 0

    def test(self, data: bytes) -> int:
        """The number of the bit that raises the alarm, counted from 1; 0 when there is none."""
        at = self._samples % BIT_WINDOW
        if 0 < len(data) <= _PIECE and at + 8 * len(data) <= BIT_WINDOW:
            bit, count = (self._bit, self._count) if at else (data[0] >> 7, 0)
            ones = _ones(data)
            count += ones if bit else 8 * len(data) - ones
            if count < self.cutoff:
                self._samples += 8 * len(data)
                self._bit = bit
                self._count = count
                return 0
        for byte in data:
            for bit in _bits(byte):
                if self._samples % BIT_WINDOW == 0:
                    self._bit = bit
                    self._count = 0
                self._samples += 1
                if bit == self._bit:
                    self._count += 1
                    if self._count >= self.cutoff:
                        return self._samples
        return 0


class HealthTests:
    """The four tests of one source, from its start."""

    def __init__(self, min_entropy: int, exponent: int = FALSE_POSITIVE_EXPONENT) -> None:
        """`min_entropy`: claimed thousandths of a bit per bit, 500 to 1000; `exponent`: 20 to 40."""
        if not MIN_CLAIM <= min_entropy <= MAX_CLAIM:
            raise LocalError(
                "a claim of %d/1000 bit of min-entropy per bit was given; claim 500 to 1000, and feed "
                "a weaker source through its vendor's conditioning" % min_entropy
            )
        if not 20 <= exponent <= 40:
            raise LocalError(
                "a false-positive rate of 2^-%d was given; 2^-20 to 2^-40 are allowed" % exponent
            )
        byte_entropy = 8 * min_entropy
        bytes_cutoff, bits_cutoff = proportion_cutoffs(min_entropy, exponent)
        self._bytes = 0
        self._tests = (
            (RepetitionCount(repetition_cutoff(byte_entropy, exponent)), 1),
            (AdaptiveProportion(bytes_cutoff), 1),
            (BitRepetitionCount(repetition_cutoff(min_entropy, exponent)), 8),
            (BitAdaptiveProportion(bits_cutoff), 8),
        )

    def test(self, data: bytes) -> "Alarm | None":
        """The first alarm that the next bytes of the source raise; make new tests after one."""
        at = 0
        while at < len(data):
            # Pieces that end with the windows keep the quick looks quick.
            piece = data[at : at + _PIECE - self._bytes % _PIECE]
            alarm = self._test_piece(piece)
            if alarm is not None:
                return alarm
            at += len(piece)
            self._bytes += len(piece)
        return None

    def cutoffs(self) -> "list[tuple[str, int]]":
        """The name and the cut-off of each test, for people and for tests."""
        return [(health_test.name, health_test.cutoff) for health_test, _ in self._tests]

    def _test_piece(self, piece: bytes) -> "Alarm | None":
        first = None
        first_byte = 0
        for health_test, samples_per_byte in self._tests:
            sample = health_test.test(piece)
            if sample:
                byte = (sample + samples_per_byte - 1) // samples_per_byte
                if first is None or byte < first_byte:
                    first = Alarm(health_test.name, sample, health_test.cutoff)
                    first_byte = byte
        return first
