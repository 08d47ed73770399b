"""The health tests of a noise source: NIST SP 800-90B section 4.4, with cut-offs computed exactly.

A source is tested as bits (most significant bit of each byte first) and as bytes, because each
view sees what the other cannot: a byte that repeats has short runs of bits, a slow bias of the
bits hides among 256 byte values. So there are four tests, all of them continuous; any one raises
the alarm. The cut-offs follow from two numbers: the min-entropy that the source claims, and the
false-positive rate 2^-e. All of it is integer arithmetic, so that every interpreter computes the
same cut-offs.
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

# Fixed point: numbers below 1 have 128 bits. LN_2 is the natural logarithm of 2.
_PRECISION = 128
_ONE = 1 << _PRECISION
_LN_2 = 0xB17217F7D1CF79ABC9E3B39803F2F6AF


def _power_of_half(thousandths: int) -> int:
    """2^(-thousandths / 1000) in fixed point: the series of exp, its error is below 2^-120."""
    whole = thousandths // 1000
    x = _LN_2 * (thousandths % 1000) // 1000
    power = term = _ONE
    n = 1
    while term:
        term = term * x // (n * _ONE)
        power += -term if n & 1 else term
        n += 1
    return power >> whole


def critical_count(trials: int, min_entropy: int, exponent: int) -> int:
    """The smallest C with Pr(B >= C) <= 2^-exponent, B binomial with p = 2^(-min_entropy / 1000).

    This is 1 + CRITBINOM(trials, p, 1 - 2^-exponent) in the notation of SP 800-90B. `min_entropy`
    is in thousandths of a bit per sample. The answer may be trials + 1, which is never reached.
    """
    p = _power_of_half(min_entropy)
    q = _ONE - p
    # Each probability is kept relative to the greatest one: their sum stands for 1, and what is
    # too small for the fixed point is too small to matter.
    mode = (trials + 1) * p >> _PRECISION
    below = 0
    weight = _ONE
    for k in range(mode, 0, -1):
        weight = weight * k * q // ((trials - k + 1) * p)
        below += weight
    tail = 0
    weight = _ONE
    for k in range(mode, trials + 1):
        tail += weight
        weight = weight * (trials - k) * p // ((k + 1) * q)
    total = below + tail
    count = mode
    weight = _ONE
    while tail << exponent > total:
        tail -= weight
        weight = weight * (trials - count) * p // ((count + 1) * q)
        count += 1
    return count


def repetition_cutoff(min_entropy: int, exponent: int) -> int:
    """SP 800-90B section 4.4.1: C = 1 + ceil(exponent / H), H in thousandths of a bit per sample."""
    return 1 + (exponent * 1000 + min_entropy - 1) // min_entropy


def proportion_cutoff(min_entropy: int, window: int, exponent: int) -> int:
    """SP 800-90B section 4.4.2: C = 1 + CRITBINOM(window, 2^-H, 1 - 2^-exponent)."""
    return critical_count(window, min_entropy, exponent)


class RepetitionCount:
    """SP 800-90B section 4.4.1 over bytes: one value too often in a row."""

    name = "repetition count over bytes"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._samples = 0
        self._value = -1
        self._run = 0

    def test(self, data: bytes) -> int:
        """The number of the byte that raises the alarm, counted from 1; 0 when there is none."""
        value = self._value
        run = self._run
        for offset in range(len(data)):
            if data[offset] != value:
                value = data[offset]
                run = 1
                continue
            run += 1
            if run >= self.cutoff:
                return self._samples + offset + 1
        self._samples += len(data)
        self._value = value
        self._run = run
        return 0


class AdaptiveProportion:
    """SP 800-90B section 4.4.2 over bytes: the first value of a window too often in it."""

    name = "adaptive proportion over bytes"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._samples = 0
        self._value = 0
        self._count = 0

    def test(self, data: bytes) -> int:
        """The number of the byte that raises the alarm, counted from 1; 0 when there is none."""
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


def _leading_run(byte: int) -> int:
    """How many bits at the front of `byte` equal its first bit: 1 to 8."""
    first = byte >> 7
    run = 1
    while run < 8 and byte >> (7 - run) & 1 == first:
        run += 1
    return run


def _trailing_run(byte: int) -> int:
    """How many bits at the end of `byte` equal its last bit: 1 to 8."""
    run = 1
    while run < 8 and byte >> run & 1 == byte & 1:
        run += 1
    return run


# Whole bytes are looked up: eight times faster than bit by bit, with the same answers.
_LEADING = bytes([_leading_run(byte) for byte in range(256)])
_TRAILING = bytes([_trailing_run(byte) for byte in range(256)])
_ONES = bytes([sum([byte >> i & 1 for i in range(8)]) for byte in range(256)])


class BitRepetitionCount:
    """SP 800-90B section 4.4.1 over bits. The cut-off is above 8, so no run hides inside a byte."""

    name = "repetition count over bits"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._bytes = 0
        self._bit = 2
        self._run = 0

    def test(self, data: bytes) -> int:
        """The number of the bit that raises the alarm, counted from 1; 0 when there is none."""
        bit = self._bit
        run = self._run
        cutoff = self.cutoff
        for offset in range(len(data)):
            byte = data[offset]
            leading = _LEADING[byte]
            if byte >> 7 != bit:
                run = 0
            if run + leading >= cutoff:
                return 8 * (self._bytes + offset) + cutoff - run
            run = run + 8 if leading == 8 else _TRAILING[byte]
            bit = byte & 1
        self._bytes += len(data)
        self._bit = bit
        self._run = run
        return 0


class BitAdaptiveProportion:
    """SP 800-90B section 4.4.2 over bits; a window is 128 whole bytes."""

    name = "adaptive proportion over bits"

    def __init__(self, cutoff: int) -> None:
        self.cutoff = cutoff
        self._bytes = 0
        self._bit = 0
        self._count = 0

    def test(self, data: bytes) -> int:
        """The number of the bit that raises the alarm, counted from 1; 0 when there is none."""
        for byte in data:
            if self._bytes % (BIT_WINDOW // 8) == 0:
                self._bit = byte >> 7
                self._count = 0
            before = self._count
            self._count += _ONES[byte] if self._bit else 8 - _ONES[byte]
            if self._count >= self.cutoff:
                return 8 * self._bytes + self._offset(byte, self.cutoff - before)
            self._bytes += 1
        return 0

    def _offset(self, byte: int, wanted: int) -> int:
        """Where in `byte` the wanted-th bit equal to the window's first one stands: 1 to 8."""
        for position in range(8):
            if byte >> (7 - position) & 1 == self._bit:
                wanted -= 1
                if wanted == 0:
                    return position + 1
        return 8


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
        self._tests = (
            (RepetitionCount(repetition_cutoff(byte_entropy, exponent)), 1),
            (AdaptiveProportion(proportion_cutoff(byte_entropy, BYTE_WINDOW, exponent)), 1),
            (BitRepetitionCount(repetition_cutoff(min_entropy, exponent)), 8),
            (BitAdaptiveProportion(proportion_cutoff(min_entropy, BIT_WINDOW, exponent)), 8),
        )

    def test(self, data: bytes) -> "Alarm | None":
        """The first alarm that the next bytes of the source raise; make new tests after one."""
        first = None
        first_byte = 0
        for health_test, samples_per_byte in self._tests:
            sample = health_test.test(data)
            byte = (sample + samples_per_byte - 1) // samples_per_byte
            if sample and (first is None or byte < first_byte):
                first = Alarm(health_test.name, sample, health_test.cutoff)
                first_byte = byte
        return first

    def cutoffs(self) -> "list[tuple[str, int]]":
        """The name and the cut-off of each test, for people and for tests."""
        return [(health_test.name, health_test.cutoff) for health_test, _ in self._tests]
