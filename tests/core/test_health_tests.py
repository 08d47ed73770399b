"""The health tests of SP 800-90B section 4.4 and their cut-offs."""

from refusal import refused
from vector_file import load, load_file

from handfast.core.cutoffs import critical_count, proportion_cutoff
from handfast.core.errors import LocalError
from handfast.core.health_tests import HealthTests, proportion_cutoffs, repetition_cutoff


def number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def claims(name: str) -> "tuple[int, int]":
    """The two numbers of a name such as "W 1024, H 200"."""
    left, right = name.split(", ")
    return int(left.split(" ")[1]), int(right.split(" ")[1])


def test_the_cutoffs_of_the_adaptive_proportion_test_are_those_of_the_standard() -> None:
    vector = load_file("entropy", "cutoffs_sp_800_90b_table_2.txt")
    assert len(vector.fields) == 10
    for name in vector.fields:
        window, min_entropy = claims(name)
        assert proportion_cutoff(min_entropy, window, 20) == number(vector.fields[name]), name


def test_the_binomial_tail_is_right_for_other_windows_and_rates() -> None:
    vector = load_file("entropy", "cutoffs_counting_the_first_sample.txt")
    assert len(vector.fields) == 10
    for name in vector.fields:
        exponent, min_entropy = claims(name)
        assert 1 + critical_count(511, min_entropy, exponent) == number(vector.fields[name]), name


def test_the_binomial_tail_is_exact_where_it_can_be_counted_by_hand() -> None:
    # Four fair coins: 16 outcomes, one with 4 heads, four with 3.
    assert critical_count(4, 1000, 4) == 4
    assert critical_count(4, 1000, 5) == 5
    # Pr(B >= 3) = 5/16 <= 1/2 < Pr(B >= 2) = 11/16.
    assert critical_count(4, 1000, 1) == 3
    # Three samples of 2 bits: 1/64 that all three are the wanted value.
    assert critical_count(3, 2000, 6) == 3
    assert critical_count(3, 2000, 7) == 4


def test_the_cutoffs_of_the_repetition_count_test_are_those_of_the_standard() -> None:
    # SP 800-90B section 4.4.1: H = 2.0 and 2^-20 give 11.
    assert repetition_cutoff(2000, 20) == 11
    assert [repetition_cutoff(1000, e) for e in (20, 30, 40)] == [21, 31, 41]
    assert [repetition_cutoff(8000, e) for e in (20, 30, 40)] == [4, 5, 6]
    assert [repetition_cutoff(700, e) for e in (20, 30, 40)] == [30, 44, 59]


def test_each_alarm_comes_at_its_sample() -> None:
    alarms = 0
    for vector in load("entropy"):
        if "raw" not in vector.fields or "claim" not in vector.fields:
            continue
        fields = vector.fields
        tests = HealthTests(number(fields["claim"]), number(fields["exponent"]))
        alarm = tests.test(fields["raw"])
        if vector.expect == "success":
            assert alarm is None, vector.name
        else:
            alarms += 1
            assert alarm is not None, vector.name
            assert alarm.test == fields["test"].decode(), vector.name
            assert alarm.sample == number(fields["sample"]), vector.name
    assert alarms == 6


def test_the_size_of_the_reads_makes_no_difference() -> None:
    for vector in load("entropy"):
        if vector.expect == "success":
            continue
        fields = vector.fields
        for size in (1, 7, 64):
            tests = HealthTests(number(fields["claim"]), number(fields["exponent"]))
            alarm = None
            at = 0
            while alarm is None:
                assert at < len(fields["raw"]), vector.name
                alarm = tests.test(fields["raw"][at : at + size])
                at += size
            assert (alarm.test, alarm.sample) == (fields["test"].decode(), number(fields["sample"]))


def test_every_window_starts_with_a_new_value() -> None:
    # 19 equal bytes in a window of 512 are the cut-off of a full claim at 2^-40.
    filler = bytes(list(range(1, 256))) * 3
    window = b"".join([filler[31 * i : 31 * i + 27] + b"\x00" for i in range(18)])
    window = b"\x00" + filler[500 : 500 + 511 - len(window)] + window
    assert len(window) == 512 and window.count(b"\x00") == 19
    cutoffs = dict(HealthTests(1000, 40).cutoffs())
    assert cutoffs["adaptive proportion over bytes"] == 19
    alarm = HealthTests(1000, 40).test(window)
    assert alarm is not None and (alarm.test, alarm.sample) == ("adaptive proportion over bytes", 512)
    assert HealthTests(1000, 40).test(window[:-1] + b"\x55") is None
    # Two halves of such a window, on both sides of a border, are no alarm.
    border = b"\x55" + window[257:] + filler[:255] + window[:257]
    assert HealthTests(1000, 40).test(border) is None


def test_a_claim_or_a_rate_out_of_range_is_refused() -> None:
    for claim in (0, 499, 1001):
        refused(LocalError, HealthTests, claim)
    for exponent in (0, 19, 41):
        refused(LocalError, HealthTests, 1000, exponent)


def test_the_cutoffs_that_are_kept_are_those_that_are_computed() -> None:
    # A test of properties asks for every claim.
    for claim in (500, 765, 800, 930, 1000):
        computed = (proportion_cutoff(8 * claim, 512, 40), proportion_cutoff(claim, 1024, 40))
        assert proportion_cutoffs(claim, 40) == computed
