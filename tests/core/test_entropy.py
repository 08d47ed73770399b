"""The pool: tested bytes in, mixed draws out, and nothing at all from a source in alarm."""

from refusal import refused
from vector_file import load_file

from handfast.core.entropy import QUANTUM, SECOND, STARTUP, SYSTEM, Pool
from handfast.core.errors import EntropyError, LocalError

try:
    from handfast_cpython.crypto import Crypto
except ImportError:
    from handfast_micropython.crypto import Crypto

CRYPTO = Crypto()
# 2000 bytes of SHAKE256.
GOOD = load_file("entropy", "healthy_bits.txt").fields["raw"]
SYSTEM_BYTES = bytes(SYSTEM)


class FailingCrypto:
    """Fails at call number `at` of kmac256, counted from 1."""

    def __init__(self, at: int) -> None:
        self.calls = 0
        self.at = at

    def kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
        self.calls += 1
        if self.calls == self.at:
            raise LocalError("this call was made to fail")
        return CRYPTO.kmac256(key, data, length, custom)


def pool(state: "bytes | None" = None, crypto: object = CRYPTO) -> Pool:
    return Pool(crypto, 3, "a source", 1000, state, b"machine")


def reserve(target: Pool, draws: int) -> bytes:
    """Fill, reserve and start a batch; the state that was to be stored."""
    target.receive(GOOD[: target.needed(draws)])
    state = target.reserve(draws, bytes(SECOND * (draws + 1)), SYSTEM_BYTES)
    target.start_batch()
    return state


def test_the_frozen_draws() -> None:
    for name in ("draws_at_first_boot.txt", "draws_after_a_restart.txt"):
        fields = load_file("entropy", name).fields
        target = Pool(CRYPTO, 1, "a source", 1000, fields["state before"] or None, fields["unique_id"])
        assert target.needed(2) == len(fields["raw"])
        target.receive(fields["raw"])
        assert target.reserve(2, fields["second"], fields["system"]) == fields["state after"]
        target.start_batch()
        for i in ("1", "2"):
            draw = fields["draw " + i]
            assert target.random(len(draw), fields["system " + i]) == draw
        refused(EntropyError, target.random, 1, SYSTEM_BYTES)


def test_nothing_is_drawn_before_the_start_up_test_has_passed() -> None:
    target = pool()
    assert target.needed(1) == STARTUP + 2 * QUANTUM
    target.receive(GOOD[: STARTUP - 1])
    assert target.report([])[3] == 2
    refused(EntropyError, target.reserve, 1, bytes(2 * SECOND), SYSTEM_BYTES)
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)
    target.receive(GOOD[STARTUP - 1 : STARTUP + 2 * QUANTUM - 1])
    assert target.report([])[3] == 0
    refused(EntropyError, target.reserve, 1, bytes(2 * SECOND), SYSTEM_BYTES)
    target.receive(GOOD[:1])
    assert target.needed(1) == 0
    target.reserve(1, bytes(2 * SECOND), SYSTEM_BYTES)
    target.start_batch()
    assert len(target.random(32, SYSTEM_BYTES)) == 32


def test_nothing_is_drawn_before_the_reservation_is_stored() -> None:
    target = pool()
    target.receive(GOOD[: target.needed(1)])
    target.reserve(1, bytes(2 * SECOND), SYSTEM_BYTES)
    assert target.available == 0
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)
    target.start_batch()
    assert target.available == 1


def test_the_start_up_bytes_are_in_no_draw() -> None:
    left, right = pool(), pool()
    left.receive(GOOD[:STARTUP])
    right.receive(GOOD[900 : 900 + STARTUP])
    for target in (left, right):
        reserve(target, 1)
    assert left.random(32, SYSTEM_BYTES) == right.random(32, SYSTEM_BYTES)


def test_an_alarm_says_which_test_and_when_and_drops_all_draws() -> None:
    target = pool()
    reserve(target, 4)
    before = target.random(32, SYSTEM_BYTES)
    seen = STARTUP + 5 * QUANTUM
    error = refused(EntropyError, target.receive, b"\xa5" * 64)
    assert "'repetition count over bytes' at sample %d " % (seen + 6) in str(error), error
    assert "cut-off 6" in str(error) and "2^-40" in str(error) and "'a source'" in str(error)
    assert target.alarm is not None and target.alarm.sample == seen + 6
    assert target.available == 0 and target.failed
    for call in (
        lambda: target.random(32, SYSTEM_BYTES),
        lambda: target.receive(GOOD[:64]),
        lambda: target.reserve(1, bytes(2 * SECOND), SYSTEM_BYTES),
    ):
        again = refused(EntropyError, call)
        assert str(again) == str(error)
    assert target.report(["os"]) == [3, "a source", 1000, 1, 1, seen + 64, ["os"]]
    assert before not in target.state()


def test_a_restart_begins_with_the_start_up_test() -> None:
    target = pool()
    reserve(target, 4)
    refused(EntropyError, target.receive, bytes(64))
    target.restart()
    assert not target.failed and target.alarm is None
    assert target.needed(1) == STARTUP + 2 * QUANTUM
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)
    assert target.report([])[3:5] == [2, 1]
    reserve(target, 1)
    assert len(target.random(16, SYSTEM_BYTES)) == 16
    assert target.report([])[3:5] == [0, 1]


def test_a_source_that_fell_silent_is_an_alarm_without_a_test() -> None:
    target = pool()
    reserve(target, 2)
    error = target.fail("was silent for 5 seconds")
    assert "the source 'a source' was silent for 5 seconds;" in str(error)
    assert target.failed and target.alarm is None and target.available == 0
    assert target.report([])[3:5] == [1, 1]
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)


def test_no_error_holds_raw_bytes() -> None:
    target = pool()
    raw = GOOD[:STARTUP] + b"\xc7" * 64
    error = refused(EntropyError, target.receive, raw)
    assert "c7" not in str(error).lower() and "199" not in str(error)
    assert "object at" in repr(target) or repr(target) == "<Pool>"


def test_every_input_changes_the_draw() -> None:
    def draw(
        unique_id: bytes = b"m", raw: int = 0, second: int = -1, system: int = 0, last: int = 0
    ) -> bytes:
        target = Pool(CRYPTO, 1, "a source", 1000, None, unique_id)
        target.receive(GOOD[:STARTUP])
        own = bytearray(GOOD[STARTUP : STARTUP + 2 * QUANTUM])
        own[raw] ^= 1
        target.receive(bytes(own))
        others = bytearray(2 * SECOND)
        others[second] = 1
        target.reserve(1, bytes(others), bytes(SYSTEM - 1) + bytes([system]))
        target.start_batch()
        return target.random(32, bytes(SYSTEM - 1) + bytes([last]))

    results = [
        draw(),
        draw(unique_id=b"n"),
        draw(raw=QUANTUM - 1),
        draw(raw=QUANTUM),
        draw(second=0),
        draw(second=SECOND),
        draw(system=1),
        draw(last=1),
    ]
    assert len(set(results)) == len(results)


def test_the_same_inputs_after_a_restart_never_give_the_same_draw() -> None:
    first = pool()
    state = reserve(first, 2)
    draws = [first.random(32, SYSTEM_BYTES), first.random(32, SYSTEM_BYTES)]
    for _ in range(3):
        target = pool(state)
        state = reserve(target, 2)
        draws += [target.random(32, SYSTEM_BYTES), target.random(32, SYSTEM_BYTES)]
    assert len(set(draws)) == 8


def test_draws_that_were_reserved_and_lost_are_never_made_again() -> None:
    first = pool()
    state = reserve(first, 5)
    assert int.from_bytes(state[33:41], "big") == 5
    second = pool(state)
    assert int.from_bytes(reserve(second, 3)[33:41], "big") == 8


def test_a_batch_goes_on_until_the_next_one_starts_and_what_it_did_not_use_is_kept() -> None:
    target = pool()
    reserve(target, 4)
    target.random(32, SYSTEM_BYTES)
    target.receive(GOOD[: target.needed(2)])
    target.reserve(2, bytes(3 * SECOND), SYSTEM_BYTES)
    assert target.available == 3
    target.random(32, SYSTEM_BYTES)
    target.start_batch()
    assert target.available == 2
    # Two draws of the first batch were not made: their quantum bytes serve the next one.
    assert target.needed(4) == 3 * QUANTUM
    assert len({target.random(32, SYSTEM_BYTES) for _ in range(2)}) == 2
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)


def test_a_start_without_a_reservation_gives_nothing() -> None:
    target = pool()
    target.start_batch()
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)
    reserve(target, 2)
    target.start_batch()
    assert target.available == 0
    refused(EntropyError, target.random, 32, SYSTEM_BYTES)


def test_what_is_stored_is_not_what_draws() -> None:
    target = pool()
    state = reserve(target, 1)
    stored = state[1:33]
    second = bytes(SECOND)
    quantum = GOOD[STARTUP + QUANTUM : STARTUP + 2 * QUANTUM]
    with_stored = CRYPTO.kmac256(
        stored, b"handfast-draw" + bytes(8) + quantum + second + SYSTEM_BYTES, 32, b""
    )
    assert target.random(32, SYSTEM_BYTES) != with_stored


def test_a_failing_hash_gives_no_draw_and_repeats_none() -> None:
    good = pool()
    reserve(good, 3)
    expected = [good.random(32, SYSTEM_BYTES) for _ in range(3)]
    for at in range(1, 8):
        crypto = FailingCrypto(at)
        draws = []
        failures = 0
        target = None
        for _ in range(4):
            try:
                if target is None:
                    target = pool(None, crypto)
                if target.available == 0 and not draws:
                    reserve(target, 3)
                draws.append(target.random(32, SYSTEM_BYTES))
            except LocalError:
                failures += 1
            except EntropyError:
                break
        assert failures == (1 if at <= 6 else 0), at
        assert len(set(draws)) == len(draws)
        if 4 <= at <= 6:
            # The draw that failed is lost; those after it are the ones that it would have had.
            assert draws == [draw for i, draw in enumerate(expected) if i != at - 4]


def test_wrong_sizes_are_the_callers_fault() -> None:
    target = pool()
    target.receive(GOOD[: target.needed(2)])
    for draws, second, system in ((0, 64, 32), (2, 128, 32), (2, 192, 31), (-1, 0, 32)):
        refused(LocalError, target.reserve, draws, bytes(second), bytes(system))
    reserve(target, 2)
    refused(LocalError, target.random, 0, SYSTEM_BYTES)
    refused(LocalError, target.random, 32, bytes(31))
    assert target.available == 2


def test_a_state_that_cannot_be_is_refused() -> None:
    state = reserve(pool(), 1)
    assert len(state) == 53
    for wrong in (b"", state[:-1], state + b"\x00", b"\x02" + state[1:]):
        error = refused(LocalError, pool, wrong)
        assert state[1:33].hex() not in str(error)


def test_the_counts_survive_in_the_state() -> None:
    target = pool()
    reserve(target, 1)
    refused(EntropyError, target.receive, bytes(64))
    again = pool(target.state())
    assert again.alarms == 1
    assert again.report([])[3:6] == [2, 1, STARTUP + 3 * QUANTUM]
