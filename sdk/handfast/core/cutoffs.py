"""The cut-offs of the adaptive proportion test: NIST SP 800-90B section 4.4.2, computed exactly.

All of it is integer arithmetic, so that every interpreter computes the same cut-offs.
"""

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


def proportion_cutoff(min_entropy: int, window: int, exponent: int) -> int:
    """SP 800-90B section 4.4.2: C = 1 + CRITBINOM(window, 2^-H, 1 - 2^-exponent)."""
    return critical_count(window, min_entropy, exponent)
