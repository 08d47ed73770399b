"""SHA-3 and SHAKE of a board, in every tier."""

from refusal import refused
from tiers import tiers

from handfast_micropython import keccak
from handfast_micropython.keccak import Sponge, sha3_256, sha3_512, shake128, shake256
from handfast_micropython.tier import long_functions

TIERS = tiers("keccak")
# The Keccak team's KeccakF-1600-IntermediateValues.txt: all zeros, permuted once and twice; the first lane.
ONCE = "e7dde140798f25f1"
TWICE = "3ccb6ef94d955c2d"


def test_each_tier_permutes_as_the_keccak_team_says() -> None:
    for tier in TIERS:
        state = bytearray(200)
        tier.permute(state)
        assert bytes(state[:8]).hex() == ONCE, tier.__name__
        tier.permute(state)
        assert bytes(state[:8]).hex() == TWICE, tier.__name__


def test_the_tiers_agree_on_every_lane() -> None:
    states = []
    for tier in TIERS:
        state = bytearray(range(200))
        for _ in range(3):
            tier.permute(state)
        states.append(state)
    for state in states:
        assert state == states[0]


def test_the_long_and_the_short_form_in_viper_agree() -> None:
    if len(TIERS) == 1 or not long_functions():
        return
    from handfast_micropython import keccak_loop_viper, keccak_round_viper

    one, two = bytearray(range(200)), bytearray(range(200))
    keccak_loop_viper.permute(one)
    keccak_round_viper.permute(two)
    assert one == two


def test_each_tier_absorbs_and_starts_alike() -> None:
    results = []
    for tier in TIERS:
        state = bytearray(range(200))
        at = tier.absorb(5, 136, state, bytes(range(256)))
        assert at == (5 + 256) % 136, tier.__name__
        assert tier.absorb(at, 136, state, b"") == at
        assert tier.absorb(at, 136, state, bytes(136 - at)) == 0
        started = bytearray(b"?" * 200)
        tier.start_shake(started, 168, b"seed")
        assert bytes(started[:32]) == shake128(b"seed", 32), tier.__name__
        results.append(state)
    for result in results:
        assert result == results[0]


def test_sha3_gives_the_digests_of_nist() -> None:
    # NIST's SHA3-256 and SHA3-512 example values, and the empty message.
    assert sha3_256(b"").hex() == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
    assert sha3_256(b"abc").hex() == "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"
    assert sha3_512(b"abc").hex() == (
        "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
        "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"
    )


def test_shake_gives_the_output_of_nist() -> None:
    assert shake128(b"", 32).hex() == "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"
    assert shake256(b"", 32).hex() == "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"


def test_it_does_not_matter_in_which_pieces_a_sponge_absorbs_and_squeezes() -> None:
    data = bytes(range(256)) * 3
    whole = shake256(data, 500)
    for size in (1, 7, 135, 136, 137, 500):
        sponge = Sponge(keccak.RATE_SHAKE256, keccak.SUFFIX_SHAKE)
        for start in range(0, len(data), size):
            sponge.absorb(data[start : start + size])
        out = b"".join([sponge.squeeze(min(size, 500 - start)) for start in range(0, 500, size)])
        assert out == whole, size


def test_nothing_is_absorbed_after_the_first_squeeze() -> None:
    sponge = Sponge(keccak.RATE_SHAKE256, keccak.SUFFIX_SHAKE)
    sponge.squeeze(1)
    refused(ValueError, sponge.absorb, b"late")
